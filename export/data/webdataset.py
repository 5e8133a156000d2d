"""WebDataset's convention: the files of a sample lie in a tar under one name with many endings.

The key of a sample is the path up to the first dot of the file's name; what follows says what the
file is, so that ``a/0001.jpg`` and ``a/0001.cls`` are an image and the index of its class. Nothing
else of a sample is read; pickles least of all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from edgeconv.errors import DataError
from edgeconv.tar_file import TarMember

_LABEL = "cls"
_LABEL_BYTES = 32  # of a number with white space around it


def is_webdataset(members: Sequence[TarMember]) -> bool:
    """Whether an archive has the classes of images beside them."""
    return any(_key(member)[1] == _LABEL for member in members)


def samples_in(
    members: Sequence[TarMember], suffixes: Collection[str], *, labeled: bool
) -> list[tuple[TarMember, TarMember | None]]:
    """The images of an archive, each with its label if there is one.

    Args:
        members: The files of the archive.
        suffixes: The suffixes of images.
        labeled: Whether the data is a WebDataset with classes. Otherwise every image counts, and
            none has a label.

    Raises:
        DataError: A sample of a WebDataset has several images, or a label without an image.
    """
    if not labeled:
        return [(m, None) for m in members if PurePosixPath(m.name).suffix.lower() in suffixes]
    images: dict[str, TarMember] = {}
    labels: dict[str, TarMember] = {}
    for member in members:
        key, kind = _key(member)
        if kind == _LABEL:
            labels[key] = member
        elif f".{kind}" in suffixes:
            if key in images:
                raise DataError(
                    f"{member} is the second image of its sample, after {images[key].name}",
                    hint="keep one image beside each .cls",
                )
            images[key] = member
    lonely = next((label for key, label in labels.items() if key not in images), None)
    if lonely is not None:
        raise DataError(
            f"{lonely} has no image beside it", hint="store it as .jpg, .png or .webp of that name"
        )
    return [(image, labels.get(key)) for key, image in images.items()]


def class_of(label: TarMember) -> int:
    """The index of a class that a file states in decimal digits.

    Raises:
        DataError: It states something else.
    """
    text = label.read().strip() if label.size <= _LABEL_BYTES else b""
    if not text.isdigit():
        raise DataError(f"{label} states no class", hint="store its index in decimal digits")
    return int(text)


def _key(member: TarMember) -> tuple[str, str]:
    """The key of the sample, and what the file is."""
    folder, slash, file = member.name.rpartition("/")
    stem, _, kind = file.partition(".")
    return f"{folder}{slash}{stem}", kind.lower()
