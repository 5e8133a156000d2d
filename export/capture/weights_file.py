"""What files of weights hold, read without running anything that is in them."""

from __future__ import annotations

import argparse
import pickletools
import re
import warnings
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from edgeconv.array_file import stored_arrays
from edgeconv.errors import DataError, UsageError, first_line
from edgeconv.export.capture.shards import INDEX_SUFFIX, is_index, shards_of
from edgeconv.export.capture.weights_kind import WeightsKind, WholeNetworkError, weights_kind
from edgeconv.near_names import near_paths

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".pth.tar", ".npz")
_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")  # NumPy 1 and 2
_PATHS, _KINDS = ("pathlib", "pathlib._local"), ("Posix", "Windows", "PurePosix", "PureWindows")
_ROOT_BYTES = 512
_NOT_ALLOWED = re.compile(r"Unsupported (?:global|class): ?(?:GLOBAL )?([\w.]+)")


def read_weights_file(path: Path) -> Any:
    """Read what a file of weights holds: tensors by name, or whatever a training saved.

    The content decides which form it has, not the end of its name. An index of shards
    (``model.safetensors.index.json``) stands for the files that it names.

    Args:
        path: The file. A pickle is never executed, and tensors of any device come to the CPU.

    Raises:
        UsageError: The file is missing or of another kind.
        DataError: It is damaged, or holds more than plain data.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="name a file of weights in it")
    if not path.is_file():
        raise UsageError(f"{path}: no such file", hint=near_paths(path, "name a file of weights"))
    if is_index(path):
        return _read_shards(path)
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty", hint="make or copy it again")
    kind = weights_kind(path)
    if kind is WeightsKind.TORCH:
        return _read_pickle(path)
    if kind is WeightsKind.SAFETENSORS:
        return _read_safetensors(path)
    if kind is WeightsKind.NUMPY:
        return _read_npz(path)
    hint = f"pass a file in {', '.join(SUFFIXES)}, or an index of shards in {INDEX_SUFFIX}"
    if not path.name.lower().endswith(SUFFIXES):
        raise UsageError(f"{path} is not a file of weights", hint=hint)
    raise DataError(
        f"{path} holds neither what torch.save nor what safetensors writes",
        hint="make or copy it again: torch.save(model.state_dict(), …) makes one",
    )


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays that numpy.savez stored by the names of weights, in this machine's byte order."""
    arrays = {name: stored.whole() for name, stored in stored_arrays(path).items()}
    return {
        name: array.astype(array.dtype.newbyteorder("="), copy=False)
        for name, array in arrays.items()
    }


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        what = "is not whole" if "not fully covered" in str(error) else "is damaged"
        raise DataError(
            f"{path} {what}: {first_line(error)}", hint="make it, or copy or download it again"
        ) from error


def _read_shards(index: Path) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for shard in shards_of(index):
        content = read_weights_file(shard)
        if not isinstance(content, dict):
            raise DataError(
                f"{shard} holds no state dict but something of type {type(content).__name__}",
                hint="copy or download it again",
            )
        whole |= content
    return whole


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_plain_types()):
            warnings.simplefilter("ignore")  # of types of tensors that are refused later
            with path.open("rb") as file:  # by its name torch.load would take some for safetensors
                return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a damaged or unsafe file
        raise _refusal(path, error) from error


def _plain_types() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What trainings save beside tensors: settings and counters, which hold data only."""
    array, scalar = np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    numbers = [getattr(np.dtypes, name) for name in np.dtypes.__all__]
    return [
        *(argparse.Namespace, dict, list, np.ndarray, np.dtype, *numbers),
        (_empty, "collections.defaultdict"),
        *((array, f"{module}._reconstruct") for module in _ARRAYS),
        *((scalar, f"{module}.scalar") for module in _ARRAYS),
        # A path of the other kind of system cannot be made here, and none is used.
        *((PurePath, f"{module}.{kind}Path") for module in _PATHS for kind in _KINDS),
    ]


def _empty(_factory: object = None) -> OrderedDict[Any, Any]:
    """A dict that torch.load fills, in place of a defaultdict, which it does not."""
    return OrderedDict()


def _refusal(path: Path, error: Exception) -> DataError:
    """What is wrong with a file that cannot be read as plain data."""
    found = _NOT_ALLOWED.search(str(error))
    if found is not None and _root(path) == found[1]:
        return WholeNetworkError(
            f"{path} holds a whole {found[1]}, and loading that could run code of the file",
            hint="save its state_dict alone: where you trust the file, torch.save(torch.load("
            f"{path.name!r}, weights_only=False).state_dict(), 'weights.pth') does so",
        )
    if found is not None:
        return DataError(
            f"{path} holds {found[1]}, and loading that could run code of the file",
            hint="where you trust it, load it with torch.load(…, weights_only=False), and save the "
            "state_dict in it with torch.save",
        )
    return DataError(
        f"{path} is damaged: {first_line(error)}",
        hint="make or copy it again: torch.save(model.state_dict(), …) makes one",
    )


def _root(path: Path) -> str | None:
    """The class of the object that torch.save was given, if it is not a plain container."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(each for each in archive.namelist() if each.endswith("data.pkl"))
            with archive.open(name) as member:
                begin = member.read(_ROOT_BYTES)
        for code, argument, _ in pickletools.genops(begin):
            if code.name == "GLOBAL":
                return str(argument).replace(" ", ".")
            if code.name not in ("PROTO", "FRAME"):
                return None
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile, zlib.error):
        pass  # the pickle ends within what was read, or is damaged: nothing is known
    return None
