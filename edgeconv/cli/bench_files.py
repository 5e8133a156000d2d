"""The model files that a command line names, by themselves or as those of bundles."""

from __future__ import annotations

from pathlib import Path

from edgeconv.bench import BenchOptions
from edgeconv.bundle import MANIFEST_NAME, Bundle
from edgeconv.errors import UsageError


def files_named(paths: tuple[Path, ...], options: BenchOptions) -> list[Path]:
    """The files named, and those of the bundles named."""
    files: list[Path] = []
    for path in paths:
        if path.name == MANIFEST_NAME:
            raise UsageError(
                f"{path} is the manifest of a bundle", hint=f"name the folder {path.parent}"
            )
        if not path.is_dir():
            files.append(path)
            continue
        inside = inside_of(path)
        if options.runtime is not None:
            inside = [file for file in inside if file.suffix == options.runtime.suffix]
        if not inside:
            raise UsageError(
                f"{path} has no file to measure with these options",
                hint="leave --runtime out, or name a file that it reads",
            )
        files += inside
    return files


def inside_bundles(paths: tuple[Path, ...]) -> set[Path]:
    """The files that were not named themselves."""
    return {file for path in paths if path.is_dir() for file in inside_of(path)} - set(paths)


def inside_of(folder: Path) -> list[Path]:
    """The files of a bundle.

    Raises:
        BundleError: It is none.
    """
    bundle = Bundle.load(folder)
    return [bundle.file(artifact) for artifact in bundle.manifest.artifacts]
