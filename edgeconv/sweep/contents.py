"""Hashes of what goes into a job: files, folders, models and the versions of the tools."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import stat
from pathlib import Path

from edgeconv.bundle import sha256_of
from edgeconv.errors import UsageError
from edgeconv.export.capture.shards import is_index, shards_of
from edgeconv.near_names import near_paths
from edgeconv.tar_file import archives_of, is_tar

# What computes files and figures; a network of a library depends on that library as well.
_TOOLS = (
    *("torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "ai-edge-litert"),
    *("flatbuffers", "numpy", "pillow"),
)


def digest(*parts: str) -> str:
    """The SHA-256 of texts, each apart from the others."""
    hashed = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape")
        hashed.update(len(data).to_bytes(8, "big") + data)
    return hashed.hexdigest()


@functools.cache
def tools() -> str:
    """A hash of edgeconv's own sources and of the versions of what it computes with."""
    versions = [f"{name} {_version(name)}" for name in _TOOLS]
    sources = [
        f"{folder.name}/{file.relative_to(folder).as_posix()} {sha256_of(file)}"
        for folder in _own_folders()
        for file in sorted(folder.rglob("*.py"))
    ]
    return digest(*versions, *sources)


def content_of(path: Path) -> str:
    """A hash of a file, or of all files of a folder or a range of archives with their names.

    Raises:
        UsageError: There is none, or it cannot be read.
    """
    if is_tar(path) and not path.exists():
        return digest(*(f"{each.name} {content_of(each)}" for each in archives_of(path)))
    try:
        if not path.is_dir():
            return content_of_file(path)
        files = sorted(file for file in path.rglob("*") if file.is_file())
        named = [f"{file.relative_to(path).as_posix()} {sha256_of(file)}" for file in files]
    except OSError as error:
        raise _unreadable(path, error) from error
    return digest(*named)


def check_there(path: Path) -> None:
    """Refuse data that is not there, without reading it.

    Raises:
        UsageError: It is so.
    """
    if is_tar(path) and not path.exists():
        archives_of(path)
    elif not path.exists():
        raise _unreadable(path, FileNotFoundError())


def content_of_file(path: Path) -> str:
    """A hash of a file.

    Raises:
        UsageError: There is none, it is something else, such as a pipe that never ends, or it
            cannot be read.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path} is no file", hint="check the path in the plan")
        return _of_file(path, found.st_mtime_ns, found.st_size)
    except OSError as error:
        raise _unreadable(path, error) from error


def content_of_weights(path: Path) -> str:
    """A hash of a file of weights, or of an index of shards with all of them.

    Raises:
        UsageError: There is none, or it cannot be read.
        DataError: The index is damaged.
    """
    own = content_of_file(path)
    return digest(own, *map(content_of_file, shards_of(path))) if is_index(path) else own


def _unreadable(path: Path, error: OSError) -> UsageError:
    if isinstance(error, FileNotFoundError):
        hint = near_paths(path, "check the path in the plan")
        return UsageError(f"{path} does not exist", hint=hint)
    return UsageError(f"{path} cannot be read: {error.strerror}", hint="check its permissions")


def content_of_data(spec: str) -> str:
    """A hash of data: of a path, of the file of ``file.py:function``, or of a word for itself."""
    if spec == "random":
        return spec
    path, _, function = spec.partition(":") if ".py:" in spec else (spec, "", "")
    return digest(content_of(Path(path)), function)


def content_of_model(spec: str) -> str:
    """A hash of what a model specification names.

    Of a Python file or module only that file counts, not what it imports.

    Raises:
        UsageError: It names a file that is not there.
    """
    file, _, rest = spec.partition(":")
    if Path(file).suffix in (".py", ".onnx", ".pt2"):
        return digest(content_of(Path(file)), rest)
    if file in ("timm", "torchvision"):
        return digest(spec, _version(file))
    if rest:
        try:
            found = importlib.util.find_spec(file)
        except (ImportError, ValueError):  # the export says that it is not there
            found = None
        if found is not None and found.origin is not None:
            return digest(spec, content_of(Path(found.origin)))
    return spec


@functools.lru_cache(maxsize=4096)
def _of_file(path: Path, changed: int, size: int) -> str:
    return sha256_of(path)


def _own_folders() -> list[Path]:
    found = (importlib.util.find_spec(f"edgeconv{part}") for part in ("", ".export", ".models"))
    return [Path(spec.origin).parent for spec in found if spec is not None and spec.origin]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
