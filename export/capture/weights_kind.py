"""What a file that is passed for weights is, by its content; its name may be another's."""

from __future__ import annotations

import zipfile
from enum import Enum
from pathlib import Path

from edgeconv.errors import DataError
from edgeconv.stand_in import first_bytes, refuse_stand_in

# How torch.save began its files before it wrote ZIP archives: a pickle of this number.
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_ZIP, _PICKLE, _HDF5, _TFLITE, _GGUF = b"PK\x03\x04", b"\x80", b"\x89HDF", b"TFL3", b"GGUF"
_TAR, _TAR_AT = b"ustar", 257
_READ = 512


class WeightsKind(Enum):
    """The two forms of files of weights."""

    SAFETENSORS = "safetensors"
    TORCH = "torch"


def weights_kind(path: Path) -> WeightsKind | None:
    """The form of a file of weights; None for content that is not known.

    Raises:
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
    if begin.startswith(_HDF5):
        raise DataError(
            f"{path} is an HDF5 file, as Keras writes them",
            hint="convert the network to ONNX with tf2onnx, and pass the .onnx file as MODEL",
        )
    if begin[4:8] == _TFLITE:
        raise DataError(
            f"{path} is a TFLite file", hint="convert it to ONNX with tf2onnx, and pass it as MODEL"
        )
    if begin.startswith(_GGUF):
        raise DataError(
            f"{path} is a GGUF file, whose weights are quantized for llama.cpp",
            hint="pass the checkpoint that it was made from",
        )
    if begin[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        raise DataError(
            f"{path} is a tar archive", hint="unpack it, and pass the file of weights in it"
        )
    if begin.startswith(_PICKLE):
        raise DataError(
            f"{path} is a pickle that torch.save did not write",
            hint="where you trust it, load it with pickle, and save the state dict with torch.save",
        )


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
    if "constants.pkl" in last:
        raise DataError(
            f"{path} is a TorchScript archive",
            hint="load it with torch.jit.load, and save its state_dict with torch.save",
        )
    if "archive_format" in last:
        raise DataError(
            f"{path} is a program of torch.export, which has its weights",
            hint="name it .pt2, and pass it as MODEL",
        )
    if "data.pkl" in last:
        return WeightsKind.TORCH
    if "model.weights.h5" in last:
        raise DataError(
            f"{path} is a network of Keras",
            hint="convert it to ONNX with tf2onnx, and pass the .onnx file as MODEL",
        )
    if names and all(name.endswith(".npy") for name in names):
        raise DataError(
            f"{path} is an archive of NumPy arrays",
            hint="save them by the network's names: torch.save({name: torch.from_numpy(array) for "
            "name, array in numpy.load(FILE).items()}, 'weights.pth')",
        )
    raise DataError(
        f"{path} is a ZIP archive without weights of PyTorch",
        hint="unpack it, and pass the file of weights in it",
    )
