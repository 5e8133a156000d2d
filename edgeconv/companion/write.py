"""Write ``run.py``, ``run.cc`` with its ``CMakeLists.txt``, and ``README.md`` of a bundle.

Names and labels may come from a stranger's file. In ``run.py`` they are literals of Python, and in
``README.md`` text without markup; nothing of them is ever code.
"""

from __future__ import annotations

from pathlib import Path

from edgeconv.bundle import BUILD_NAME, NATIVE_NAME, README_NAME, RUN_NAME, Manifest, OutputKind
from edgeconv.companion.card import card_values
from edgeconv.companion.native import native_sources
from edgeconv.companion.network import (
    boxes_order,
    classes_axis,
    file_tensors,
    image_input,
    input_values,
    shown,
)
from edgeconv.companion.template import rendered
from edgeconv.printable import printable


def write_companions(folder: Path, manifest: Manifest) -> None:
    """Write the files into the folder of a bundle."""
    (folder / RUN_NAME).write_text(run_script(manifest), "utf-8")
    (folder / README_NAME).write_text(rendered("README.md.jinja", card_values(manifest)), "utf-8")
    if (sources := native_sources(manifest)) is not None:
        for name, text in zip((NATIVE_NAME, BUILD_NAME), sources, strict=True):
            (folder / name).write_text(text, "utf-8")


def run_script(manifest: Manifest, folder: Path | None = None) -> str:
    """The text of ``run.py``.

    Args:
        manifest: Describes the network and its files.
        folder: Where the files are; by default beside the script.
    """
    image = image_input(manifest)
    files = [file_tensors(artifact, manifest) for artifact in manifest.artifacts]
    values = {
        "model": manifest.model,
        "version": manifest.edgeconv_version,
        "folder": None if folder is None else str(folder),
        "image": image,
        "task": shown(manifest).value,
        "ranked": manifest.output is OutputKind.TOP5,
        "files": files,
        "formats": {artifact.format.value for artifact in manifest.artifacts},
        "quantized": any(each[3] is not None for file in files for each in (*file[1], *file[2])),
        "labels": None if not manifest.labels else [printable(each) for each in manifest.labels],
        "sampled": image is not None and image.sampled,
        "inputs": input_values(manifest),
        "order": boxes_order(manifest),
        "classes_axis": classes_axis(manifest),
    }
    return rendered("run.py.jinja", values)
