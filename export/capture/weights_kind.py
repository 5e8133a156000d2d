"""What a file that is passed for weights is, by its content; its name may be another's."""

from __future__ import annotations

import zipfile
from enum import Enum
from pathlib import Path

from edgeconv.errors import DataError
from edgeconv.stand_in import StandIn, first_bytes, refuse_stand_in

# How torch.save began its files before it wrote ZIP archives: a pickle of this number.
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_ZIP = b"PK\x03\x04"
_READ = 512
_TO_ONNX = "convert the network to ONNX with tf2onnx, and pass the .onnx file as MODEL"
_UNPACK = "unpack it, and pass the file of weights in it"

# What other files begin with, and where.
_OTHERS = {
    (0, b"\x89HDF"): StandIn("an HDF5 file, as Keras writes them", _TO_ONNX),
    (4, b"TFL3"): StandIn("a TFLite file", _TO_ONNX),
    (0, b"GGUF"): StandIn(
        "a GGUF file, whose weights are quantized for llama.cpp",
        "pass the checkpoint that it was made from",
    ),
    (257, b"ustar"): StandIn("a tar archive", _UNPACK),
    (0, b"\x80"): StandIn(
        "a pickle that torch.save did not write",
        "where you trust it, load it with pickle, and save the state dict with torch.save",
    ),
}
# What other ZIP archives have in them.
_TORCHSCRIPT = "constants.pkl"
_OTHER_ARCHIVES = {
    _TORCHSCRIPT: StandIn(
        "a TorchScript archive",
        "load it with torch.jit.load, and save its state_dict with torch.save",
    ),
    "archive_format": StandIn(
        "a program of torch.export, which has its weights", "name it .pt2, and pass it as MODEL"
    ),
    "model.weights.h5": StandIn("a network of Keras", _TO_ONNX),
}


class WholeNetworkError(DataError):
    """A file holds a network, in a form that is neither weights alone nor exported."""


class WeightsKind(Enum):
    """The forms of files of weights; that of NumPy is an archive of arrays."""

    SAFETENSORS = "safetensors"
    TORCH = "torch"
    NUMPY = "numpy"


def weights_kind(path: Path) -> WeightsKind | None:
    """The form of a file of weights; None for content that is not known.

    Raises:
        WholeNetworkError: It is a TorchScript archive.
        DataError: It is a file of another kind, which is named.
    """
    refuse_stand_in(path)
    begin = first_bytes(path, _READ)
    if begin.startswith(_ZIP):
        return _in_archive(path)
    if begin.startswith(_OLD_TORCH):
        return WeightsKind.TORCH
    if begin[8:9] == b"{" and int.from_bytes(begin[:8], "little") < 2**32:
        return WeightsKind.SAFETENSORS
    _refuse(path, begin)
    return None


def _refuse(path: Path, begin: bytes) -> None:
    """Raise DataError for what is known, and is not a file of weights of PyTorch."""
    for (at, magic), other in _OTHERS.items():
        if begin[at : at + len(magic)] == magic:
            raise DataError(f"{path} is {other.what}", hint=other.hint)


def _in_archive(path: Path) -> WeightsKind:
    """The kind of a ZIP archive, which several tools write."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(
            f"{path} is not whole: its end, which lists what is in it, is missing or damaged",
            hint="copy or download it again",
        ) from error
    last = [name.rpartition("/")[2] for name in names]
    for member, other in _OTHER_ARCHIVES.items():
        if member in last:
            kind = WholeNetworkError if member == _TORCHSCRIPT else DataError
            raise kind(f"{path} is {other.what}", hint=other.hint)
    if "data.pkl" in last:
        return WeightsKind.TORCH
    if names and all(name.endswith(".npy") for name in names):
        return WeightsKind.NUMPY
    raise DataError(f"{path} is a ZIP archive without weights of PyTorch", hint=_UNPACK)
