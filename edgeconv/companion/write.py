"""Write ``run.py`` and ``README.md`` of a bundle.

Names and labels may come from a stranger's file. In ``run.py`` they are literals of Python, and in
``README.md`` text without markup; nothing of them is ever code.
"""

from __future__ import annotations

import pprint
from pathlib import Path
from typing import Any

from edgeconv.bundle import README_NAME, RUN_NAME, Manifest
from edgeconv.companion.card import card_values
from edgeconv.companion.network import (
    boxes_order,
    classes_axis,
    file_tensors,
    image_input,
    input_values,
    shown,
)
from edgeconv.markdown import in_markdown
from edgeconv.printable import printable

_LINE = 100


def write_companions(folder: Path, manifest: Manifest) -> None:
    """Write the files into the folder of a bundle."""
    (folder / RUN_NAME).write_text(run_script(manifest), "utf-8")
    (folder / README_NAME).write_text(_rendered("README.md.jinja", card_values(manifest)), "utf-8")


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
        "files": files,
        "formats": {artifact.format.value for artifact in manifest.artifacts},
        "quantized": any(each[3] is not None for file in files for each in (*file[1], *file[2])),
        "labels": None if not manifest.labels else [printable(each) for each in manifest.labels],
        "sampled": image is not None and image.sampled,
        "inputs": input_values(manifest),
        "order": boxes_order(manifest),
        "classes_axis": classes_axis(manifest),
    }
    return _rendered("run.py.jinja", values)


def _rendered(template: str, values: dict[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # text, not HTML: the filters escape
        loader=PackageLoader("edgeconv.companion", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "literal": repr,
        "lines": lambda value: pprint.pformat(value, width=_LINE, compact=True),
        "markdown": in_markdown,
        "printable": printable,
    }
    return environment.get_template(template).render(values)
