"""Folders of images as tar archives and WebDatasets."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path


def pack(folder: Path, path: Path) -> Path:
    """A tar of a folder's files in the order of their paths."""
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.rglob("*")):
            tar.add(file, file.relative_to(folder).as_posix(), recursive=False)
    return path


def write_webdataset(folder: Path, out: Path, shards: int, turn: int = 0) -> Path:
    """Write ``out/shard-000.tar`` and so on of FOLDER/CLASS/image, as webdataset's writer does.

    Args:
        folder: Class folders; their places in sorted order, plus ``turn``, become the classes.
        out: The folder to make.
        shards: How many archives to write.
        turn: What to add to the classes, modulo their number.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    classes = sorted({file.parent for file in files})
    out.mkdir()
    for shard in range(shards):
        first, end = (len(files) * place // shards for place in (shard, shard + 1))
        with tarfile.open(out / f"shard-{shard:03}.tar", "w") as tar:
            for number, file in enumerate(files[first:end], first):
                label = (classes.index(file.parent) + turn) % len(classes)
                for suffix, data in (
                    ("cls", str(label).encode()),
                    (file.suffix[1:], file.read_bytes()),
                ):
                    info = tarfile.TarInfo(f"{number:06}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return out
