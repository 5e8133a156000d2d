"""What files of weights hold, read without running anything that is in them."""

from __future__ import annotations

import argparse
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from edgeconv.errors import DataError, UsageError
from edgeconv.export.capture.shards import INDEX_SUFFIX, is_index, shards_of
from edgeconv.near_names import near_paths

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".pth.tar")
_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")  # NumPy 1 and 2
_PATHS, _KINDS = ("pathlib", "pathlib._local"), ("Posix", "Windows", "PurePosix", "PureWindows")
_NOT_ALLOWED = re.compile(r"Unsupported (?:global|class): ?(?:GLOBAL )?([\w.]+)")


def read_weights_file(path: Path) -> Any:
    """Read what a file of weights holds: tensors by name, or whatever a training saved.

    An index of shards (``model.safetensors.index.json``) stands for the files that it names.

    Args:
        path: The file. A pickle is never executed, and tensors of any device come to the CPU.

    Raises:
        UsageError: The file is missing or of another kind.
        DataError: It is damaged, or holds more than plain data.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file", hint=near_paths(path, "name a file of weights"))
    name = path.name.lower()
    if is_index(path):
        return _read_shards(path)
    if not name.endswith(SUFFIXES):
        raise UsageError(
            f"{path} is not a file of weights",
            hint=f"pass a file in {', '.join(SUFFIXES)}, or an index of shards in {INDEX_SUFFIX}",
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty", hint="make or copy it again")
    return _read_safetensors(path) if name.endswith(".safetensors") else _read_pickle(path)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise DataError(
            f"{path} is not a readable safetensors file: {error}", hint="make or copy it again"
        ) from error


def _read_shards(index: Path) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for shard in shards_of(index):
        whole |= read_weights_file(shard)
    return whole


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_plain_types()):
            warnings.simplefilter("ignore")  # of TorchScript, which is refused below
            return torch.load(path, map_location="cpu", weights_only=True)
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
    if found is not None:
        return DataError(
            f"{path} holds {found[1]}, and loading that could run code of the file",
            hint="where you trust it, load it with torch.load(…, weights_only=False), and save the "
            "state_dict in it with torch.save",
        )
    names = _members(path)
    if any(name.endswith("/constants.pkl") for name in names):
        return DataError(
            f"{path} is a TorchScript archive",
            hint="load it with torch.jit.load, and save its state_dict with torch.save",
        )
    if any(name.endswith("/archive_format") for name in names):
        return DataError(
            f"{path} is a program of torch.export, which has its weights",
            hint="name it .pt2, and pass it as MODEL",
        )
    return DataError(
        f"{path} cannot be read as plain weights ({type(error).__name__})",
        hint="make or copy it again: torch.save(model.state_dict(), …) makes one",
    )


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return []
