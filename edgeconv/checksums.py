"""The checksums of a bundle, by which any changed byte of it is found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from edgeconv.bundle import (
    COMPANION_NAMES,
    EDITABLE_NAMES,
    MANIFEST_NAME,
    RANGES_NAME,
    RECIPE_NAME,
    REFERENCE_NAME,
    SUMS_NAME,
    Bundle,
    sha256_of,
)
from edgeconv.errors import BundleError
from edgeconv.versioned import Head

# Bundles with an older manifest have no checksums.
_FIRST_SCHEMA = 2
_MOST_BYTES = 1 << 20
_LINE = re.compile(rb"([0-9a-f]{64})  ([^\x00-\x20\x7f]+)\n")


def write_checksums(folder: Path) -> None:
    """Write ``SHA256SUMS`` with a line for every other file, as ``sha256sum --check`` reads it."""
    names = {file.name for file in folder.iterdir()} - {SUMS_NAME}
    (folder / SUMS_NAME).write_text(_lines(folder, names), "utf-8")


def check_checksums(bundle: Bundle) -> tuple[str, ...]:
    """Check that a bundle holds what the export wrote, byte for byte, and nothing else.

    The checksums find damage and changes by accident; they are no signature.

    Returns:
        The names of its files, in order.

    Raises:
        BundleError: A file is missing, was changed, or does not belong to the bundle.
    """
    folder = bundle.path
    ours = {MANIFEST_NAME, REFERENCE_NAME, *(a.path for a in bundle.manifest.artifacts)}
    found = {file.name for file in folder.iterdir()}
    ours |= _companions(folder, found)
    if foreign := sorted(found - ours - {SUMS_NAME}):
        raise BundleError(
            f"{folder / foreign[0]} is not part of the bundle", hint="move it elsewhere"
        )
    # What is read without end, such as a pipe, is no file; nor is a link to nothing.
    if odd := sorted(name for name in found if not (folder / name).is_file()):
        raise BundleError(f"{folder / odd[0]} is not a file", hint="export again")
    if missing := sorted(ours - found):
        raise BundleError(f"{folder / missing[0]} is missing from the bundle", hint="export again")
    return tuple(sorted(_check_sums(bundle, ours)))


def _companions(folder: Path, found: set[str]) -> set[str]:
    """The files beside the model files that are there or have a checksum; older bundles lack them.

    One that is there without a checksum makes the checksums differ.
    """
    names, sums = {RANGES_NAME, RECIPE_NAME, *COMPANION_NAMES}, folder / SUMS_NAME
    stored = _stored(sums).splitlines() if sums.is_file() else []
    return (names & found) | {
        name for name in names if any(line.endswith(f"  {name}".encode()) for line in stored)
    }


def listed_sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file that ``SHA256SUMS`` lists, by its name; empty if there is none."""
    sums = folder / SUMS_NAME
    found = _LINE.findall(_stored(sums)) if sums.is_file() else []
    # Bytes that are not UTF-8 are damage, and differ from what a file is called.
    return {name.decode("utf-8", "replace"): digest.decode() for digest, name in found}


def _stored(sums: Path) -> bytes:
    with sums.open("rb") as file:
        return file.read(_MOST_BYTES)


def _check_sums(bundle: Bundle, ours: set[str]) -> set[str]:
    """Compare the checksums with the files, name what was changed, and return what was not.

    The manifest has the hashes of some files, too. Of another file whose hash differs nothing says
    whether the file was changed or the checksum.
    """
    folder, manifest = bundle.path, bundle.manifest
    sums = folder / SUMS_NAME
    if not sums.is_file():
        head = Head.model_validate_json((folder / MANIFEST_NAME).read_bytes())
        if head.schema_version < _FIRST_SCHEMA:
            return _check_by_manifest(bundle)
        raise BundleError(f"{sums} is missing from the bundle", hint="export again")
    stored = _stored(sums)
    known = {REFERENCE_NAME: manifest.reference_sha256}
    known |= {artifact.path: artifact.sha256 for artifact in manifest.artifacts}
    listed = listed_sums(folder)
    whole = "".join(f"{digest}  {name}\n" for name, digest in listed.items()).encode() == stored
    complete = {MANIFEST_NAME, *known} <= {*listed} <= ours
    if not whole or not complete or list(listed) != sorted(listed):
        raise _changed(sums)
    for name in sorted(ours):
        digest = sha256_of(folder / name)
        if digest == listed.get(name):
            continue
        if digest == known.get(name):
            raise _changed(sums)
        raise _changed(folder / name, f", or its line in {SUMS_NAME}")
    return {*ours, SUMS_NAME}


def _check_by_manifest(bundle: Bundle) -> set[str]:
    """Compare the files of a bundle without checksums whose hashes are in the manifest."""
    known = {artifact.path: artifact.sha256 for artifact in bundle.manifest.artifacts}
    known[REFERENCE_NAME] = bundle.manifest.reference_sha256
    for name, digest in known.items():
        if sha256_of(bundle.path / name) != digest:
            raise _changed(bundle.path / name)
    return {*known}


def _changed(path: Path, or_else: str = "") -> BundleError:
    # An export does not replace a text that a person may have edited.
    again = "move it away, and export again" if path.name in EDITABLE_NAMES else "export again"
    return BundleError(f"{path} was changed after the export{or_else}", hint=again)


def _lines(folder: Path, names: Iterable[str]) -> str:
    return "".join(f"{sha256_of(folder / name)}  {name}\n" for name in sorted(names))
