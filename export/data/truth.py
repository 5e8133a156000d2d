"""Samples with what is true of them: a class, a mask, an array of targets, or boxes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from edgeconv.array_file import StoredArray, listed, open_arrays
from edgeconv.bundle import Manifest, sha256_of
from edgeconv.errors import DataError, MismatchedData, UsageError
from edgeconv.export.data.arrays import ArrayFile
from edgeconv.export.data.images import ImageFolder, one_image_input
from edgeconv.export.data.samples import Sample

T = TypeVar("T")


@dataclass(frozen=True)
class Labeled(Generic[T]):
    """Samples with what is true of each.

    Attributes:
        read: Yields each of the samples of some indices with its truth.
        total: How many there are, if all are readable.
        skipped: The names of unreadable samples, complete when all pairs were read.
        sha256: Hashes the data, when all pairs were read.
    """

    read: Callable[[range], Iterator[tuple[Sample, T]]]
    total: int
    skipped: list[str]
    sha256: Callable[[], str]

    @property
    def pairs(self) -> Iterator[tuple[Sample, T]]:
        """Each sample with its truth."""
        return self.read(range(self.total))


def folder_with_truths(
    folder: ImageFolder, truth_of: Callable[[int], T], *others: Path
) -> Labeled[T]:
    """The images of a folder with what is true of each.

    Args:
        folder: The images.
        truth_of: The truth of an image, by its index.
        others: The files that the truths are from.
    """
    indices = {file.relative_to(folder.path).as_posix(): i for i, file in enumerate(folder.files)}
    return Labeled(
        lambda asked: ((sample, truth_of(indices[name])) for name, sample in folder.read(asked)),
        len(folder),
        folder.skipped,
        lambda: fingerprint(folder, others),
    )


def image_folder(path: Path, manifest: Manifest) -> ImageFolder:
    """Open a folder of images for a network.

    Raises:
        UsageError: There is none, or the network does not take one image.
    """
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder of images", hint="pass one with --data")
    return ImageFolder(path, one_image_input(manifest.inputs, path), manifest.preprocessing)


def fingerprint(folder: ImageFolder, others: Sequence[Path] = ()) -> str:
    """The SHA-256 of the names of all files and the SHA-256 of each."""
    digest = hashlib.sha256()
    for file in folder.files:
        name = file.relative_to(folder.path).as_posix()
        digest.update(f"{name}\0{sha256_of(file)}\n".encode())
    for file in others:
        digest.update(f"\0{sha256_of(file)}\n".encode())
    return digest.hexdigest()


def npz_with_truths(
    path: Path, manifest: Manifest, kinds: str, wanted: str
) -> tuple[ArrayFile, StoredArray]:
    """Open the samples of an ``.npz`` file, and its array ``y``.

    Args:
        path: The file.
        manifest: Describes the network.
        kinds: The kinds of dtype that ``y`` may have, as NumPy's letters.
        wanted: What ``y`` holds, for the message.

    Raises:
        UsageError: There is no such file.
        DataError: An array is missing, damaged or of another length.
    """
    truths = open_arrays(path).get("y")
    if truths is None or truths.dtype.kind not in kinds:
        raise MismatchedData(
            f"{path} has no array 'y' of {wanted}; it has {listed(open_arrays(path))}",
            hint=f"store {wanted} as 'y' beside 'x', a row for each sample",
        )
    samples = ArrayFile(path, manifest.inputs, manifest.preprocessing)
    if len(truths) != len(samples):
        raise DataError(
            f"{path} has {len(samples)} samples and {len(truths)} labels",
            hint="store a row of y for each row of x",
        )
    return samples, truths


def rows_with_truths(samples: ArrayFile, truths: StoredArray) -> Labeled[npt.NDArray[np.generic]]:
    """The samples of an ``.npz`` file, each with its row of ``y``."""
    return Labeled(
        lambda asked: ((sample, truths.row(int(name))[0]) for name, sample in samples.read(asked)),
        len(samples),
        samples.skipped,
        lambda: sha256_of(samples.path),
    )


def as_path(data: Any, what: str) -> Path:
    """The path that ``data`` is.

    Raises:
        UsageError: It is another object.
    """
    if isinstance(data, (str, Path)):
        return Path(data)
    raise UsageError(
        f"{what} cannot be read from a {type(data).__name__}", hint="pass the path of a file"
    )
