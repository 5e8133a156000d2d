"""Checkpoints whose tensors or bytes are of a kind that no module can load as they are."""

from __future__ import annotations

import logging
import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgeconv.errors import DataError, UsageError
from edgeconv.export.capture.weights import load_weights

State = dict[str, torch.Tensor]


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def state() -> State:
    return {name: tensor.clone() for name, tensor in network().state_dict().items()}


def changed(change: Callable[[torch.Tensor], Any], name: str = "0.weight") -> dict[str, Any]:
    return state() | {name: change(state()[name])}


def loaded(path: Path) -> State:
    fresh = network()
    load_weights(fresh, path)
    return fresh.state_dict()


def refused(path: Path) -> str:
    """The refusal of a file, after which the network has its own weights."""
    fresh = network()
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    with pytest.raises((DataError, UsageError)) as caught:
        load_weights(fresh, path)
    assert all(torch.equal(before[name], own) for name, own in fresh.state_dict().items())
    return str(caught.value)


def quantized(tensor: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and in files all the same
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: changed(lambda t: t.to("meta")), "'0.weight' has a shape but no values"),
        (lambda: changed(quantized), r"'0.weight' is quantized (qint8)"),
        (lambda: changed(lambda t: t + 1j), "'0.weight' has an imaginary part (complex64)"),
        (
            lambda: changed(lambda t: torch.full_like(t, 1e300, dtype=torch.float64)),
            "'0.weight' has 12 values that are too large (float64), which the network's float32",
        ),
        (
            lambda: changed(lambda t: t + 0.5, "1.num_batches_tracked"),
            "'1.num_batches_tracked' has fractions (float32), which the network's int64 cannot",
        ),
        (lambda: [*network().parameters()], "no state dict but tensors without names"),
        (lambda: {"state": {}, "param_groups": []}, "a dict with the keys 'state', 'param_groups'"),
        (lambda: changed(lambda _: np.array(["a"])), "it lacks '0.weight'"),
        (lambda: changed(lambda _: torch.eye(9).to_sparse()), "'0.weight' is 9×9 in the file"),
    ],
)
def test_values_that_no_module_takes(
    content: Callable[[], Any], message: str, tmp_path: Path
) -> None:
    torch.save(content(), tmp_path / "c.pth")
    assert message in refused(tmp_path / "c.pth")


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.to_sparse(),
        lambda t: t.double(),
        lambda t: t.double() + 1e-12,
        lambda t: t.numpy()[::-1][::-1],
        lambda t: t.numpy().astype(">f4"),
    ],
)
def test_other_forms_of_the_same_values(
    change: Callable[[torch.Tensor], Any], tmp_path: Path
) -> None:
    whole = state()
    torch.save(whole | {"0.weight": change(whole["0.weight"])}, tmp_path / "c.pth")
    got = loaded(tmp_path / "c.pth")["0.weight"]
    assert torch.allclose(got, whole["0.weight"], rtol=0, atol=1e-11)  # 1e-12 is added above


def test_integers_in_place_of_reals_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(changed(lambda t: torch.ones_like(t, dtype=torch.uint8)), tmp_path / "c.pth")
    with caplog.at_level(logging.WARNING, "edgeconv"):
        assert (loaded(tmp_path / "c.pth")["0.weight"] == 1).all()
    assert "'0.weight' has integers (uint8)" in caplog.text


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    whole = state()
    save_file(whole, tmp_path / "safetensors.pth")
    torch.save(whole, tmp_path / "torch.safetensors")
    torch.save(whole, tmp_path / "without_suffix")
    torch.save(whole, tmp_path / "old.model", _use_new_zipfile_serialization=False)
    for path in sorted(tmp_path.iterdir()):
        assert all(torch.equal(loaded(path)[name], whole[name]) for name in whole), path


def write_truncated(path: Path, whole: Callable[[Path], Any]) -> None:
    whole(path)
    path.write_bytes(path.read_bytes()[:-40])


def write_archive(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")


def write_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: write_truncated(p, lambda p: torch.save(state(), p)), "c.pth is not whole"),
        (lambda p: write_truncated(p, lambda p: save_file(state(), p)), "c.pth is not whole"),
        (lambda p: p.write_bytes(pickle.dumps(state())), "a pickle that torch.save did not write"),
        (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n"), "an HDF5 file, as Keras writes them"),
        (lambda p: p.write_bytes(b"\0\0\0\0TFL3"), "a TFLite file"),
        (lambda p: p.write_bytes(b"GGUF\3\0\0\0"), "a GGUF file"),
        (lambda p: p.write_bytes(b"0" * 99), "neither what torch.save nor what safetensors"),
        (lambda p: p.write_text("<!DOCTYPE html>"), "a web page, not the file itself"),
        (lambda p: write_archive(p, "0.weight.npy"), "c.pth is not a readable NumPy file"),
        (lambda p: write_archive(p, "config.json", "model.weights.h5"), "a network of Keras"),
        (lambda p: write_archive(p, "m/archive_format"), "a program of torch.export"),
        (lambda p: write_archive(p, "weights.pth"), "a ZIP archive without weights of PyTorch"),
        (write_tar, "a tar archive"),
        (lambda p: p.mkdir(), "c.pth is a folder\nhint: name a file of weights in it"),
    ],
)
def test_files_of_other_kinds(
    write: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    write(tmp_path / "c.pth")
    assert message in refused(tmp_path / "c.pth")


def test_how_the_state_dict_of_a_whole_module_is_saved(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "whole.pth")
    assert (
        "torch.save(torch.load('whole.pth', weights_only=False).state_dict(), 'weights.pth')"
        in refused(tmp_path / "whole.pth")
    )
    torch.save({"model": network(), "epoch": 3}, tmp_path / "within.pth")
    assert "save the state_dict in it with torch.save" in refused(tmp_path / "within.pth")
