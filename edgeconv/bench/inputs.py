"""The user's own inputs: whether a file of them can be read, and their order of dimensions."""

from __future__ import annotations

import zipfile
from pathlib import Path

from edgeconv.array_file import stored_arrays
from edgeconv.bundle import MANIFEST_NAME, Artifact, Layout, Manifest
from edgeconv.errors import BundleError, DataError, UsageError


def check_inputs(path: Path) -> None:
    """Refuse a file that is not an .npz file of plain arrays.

    Raises:
        UsageError: It is missing or something else.
    """
    if not path.is_file():
        raise UsageError(
            f"{path} does not exist or is not a file",
            hint="name an .npz file with one array per input",
        )
    try:
        stored_arrays(path)
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # what is not compressed was not read yet
    except (DataError, zipfile.BadZipFile) as error:
        raise _not_inputs(path) from error
    if damaged is not None:
        raise UsageError(f"{path} is damaged", hint="write it again")


def _not_inputs(path: Path) -> UsageError:
    return UsageError(
        f"{path} is not an .npz file of plain arrays",
        hint='write one with numpy.savez("inputs.npz", x=array)',
    )


def channels_first(model: Path) -> tuple[str, ...]:
    """Find the inputs that a bundle's file takes as NHWC although the network takes NCHW.

    Arrays made for the network have these dimensions in the other order. A file outside of a
    bundle has no such inputs.
    """
    found = described(model)
    if found is None:
        return ()
    manifest, artifact = found
    return tuple(
        taken.name
        for given, taken in zip(manifest.inputs, artifact.inputs, strict=False)
        if given.layout is Layout.NCHW and taken.layout is Layout.NHWC
    )


def pixels(model: Path) -> tuple[str, ...]:
    """Find the float inputs of a bundle's file that take the bytes of a picture."""
    found = described(model)
    if found is None:
        return ()
    manifest, artifact = found
    if manifest.preprocessing is None or not manifest.preprocessing.inside:
        return ()
    return tuple(info.name for info in artifact.inputs if info.dtype.startswith("float"))


def described(model: Path) -> tuple[Manifest, Artifact] | None:
    """Find the manifest beside a file, and what it says of the file; None outside of a bundle."""
    path = model.parent / MANIFEST_NAME
    if not path.is_file():
        return None
    try:
        manifest = Manifest.load(path)
    except BundleError:  # other programs have files of the name manifest.json too
        return None
    artifact = next((a for a in manifest.artifacts if a.path == model.name), None)
    return None if artifact is None else (manifest, artifact)
