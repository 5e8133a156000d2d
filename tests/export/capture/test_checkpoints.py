"""Weights from whatever a training saved, and what is said when they do not fit."""

from __future__ import annotations

import argparse
import json
import logging
import pickle
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgeconv.errors import DataError, UsageError
from edgeconv.export.capture.weights import load_weights

State = dict[str, torch.Tensor]


def network(classes: int = 10, width: int = 8, channels: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3),
        nn.BatchNorm2d(width),
        nn.Flatten(),
        nn.Linear(width, classes),
    )


def state(seed: int = 1, **options: int) -> State:
    torch.manual_seed(seed)
    return network(**options).state_dict()


def prefixed(prefix: str, seed: int = 1) -> State:
    return {prefix + name: value for name, value in state(seed).items()}


def loaded(path: Path, key: str | None = None) -> State:
    fresh = network()
    load_weights(fresh, path, key)
    return fresh.state_dict()


def assert_equal(got: State, wanted: State) -> None:
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".bin", ".pth.tar", ".safetensors"])
def test_every_suffix(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state(), path)
    assert_equal(loaded(path), state())


@pytest.mark.parametrize(
    "content",
    [
        lambda: prefixed("module."),
        lambda: prefixed("_orig_mod."),
        lambda: prefixed("module._orig_mod."),
        lambda: prefixed("_orig_mod.module."),
        lambda: {"state_dict": prefixed("model."), "epoch": 3, "lr": 0.1},
        lambda: {"state_dict": prefixed("model.") | {"loss.weight": torch.ones(3)}},
        lambda: {"state_dict": prefixed("model._orig_mod.")},
        lambda: {"model_state_dict": state(), "optimizer_state_dict": {"state": {}}},
        lambda: {"model": {"state_dict": state()}},
        lambda: {"net": state(), "acc": 91.5, "epoch": 7},
        lambda: {"model": state(), "optimizer": {"state": {0: {"m": torch.ones(3)}}}},
        lambda: {"ema": state()},
    ],
)
def test_every_place_and_prefix(content: Callable[[], Any], tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "c.pth")
    assert_equal(loaded(tmp_path / "c.pth"), state())


def test_which_one_was_taken_is_said_and_can_be_chosen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.pth"
    content = {"state_dict_ema": state(2), "state_dict": state(1), "teacher": {"net": state(3)}}
    torch.save(content, path)
    with caplog.at_level(logging.WARNING, "edgeconv"):
        assert_equal(loaded(path), state(1))
    assert "state_dict is taken\nhint: weights_key chooses another" in caplog.text
    assert "(state_dict_ema, teacher.net)" in caplog.text
    caplog.clear()
    assert_equal(loaded(path, "state_dict_ema"), state(2))
    assert_equal(loaded(path, "teacher.net"), state(3))
    assert not caplog.text
    assert_equal(loaded(path, "teacher"), state(3))
    with pytest.raises(UsageError, match=r"under 'ema'\nhint: .*state_dict_ema, state_dict"):
        loaded(path, "ema")


def test_a_checkpoint_of_a_gpu(tmp_path: Path) -> None:
    """The only difference of such a file is the place that its pickle names."""
    torch.save(state(), tmp_path / "cpu.pth")
    with (
        zipfile.ZipFile(tmp_path / "cpu.pth") as old,
        zipfile.ZipFile(tmp_path / "cuda.pth", "w") as new,
    ):
        for member in old.infolist():
            content = old.read(member)
            if member.filename.endswith("data.pkl"):
                assert b"X\x03\x00\x00\x00cpu" in content
                content = content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            new.writestr(member.filename, content)
    assert_equal(loaded(tmp_path / "cuda.pth"), state())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            lambda: state(classes=35),
            r"'3.weight' is 35×8 in the file and 10×8 in the network.*"
            r'\nhint: .*model_args=."num_classes": 35',
        ),
        (lambda: state(channels=1), r'\nhint: .*model_args=."in_channels": 1'),
        (lambda: state(width=12), r"and 4 more\nhint: it is of another width"),
        (
            lambda: prefixed("encoder."),
            r"unknown 'encoder.0.weight'.*\nhint: its names begin with 'encoder.'",
        ),
        (lambda: {"stem.w": torch.ones(3)}, r"another architecture"),
        (
            lambda: {n: v for n, v in state().items() if not n.startswith("3.")},
            r"it lacks '3.weight', '3.bias' \(2 names differ\)\nhint: it is a part",
        ),
        (
            lambda: {n.replace("3.", "4."): v for n, v in state().items()},
            r"\nhint: it is of another version or variant, with 7 of 9 names",
        ),
    ],
)
def test_a_mismatch_names_its_likely_cause(
    content: Callable[[], State], message: str, tmp_path: Path
) -> None:
    torch.save(content(), tmp_path / "c.pth")
    before = network()
    kept = {name: value.clone() for name, value in before.state_dict().items()}
    with pytest.raises(DataError, match=message):
        load_weights(before, tmp_path / "c.pth")
    assert_equal(before.state_dict(), kept)


def test_what_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        loaded(tmp_path / "c.pth")
    (tmp_path / "c.h5").write_bytes(b"1")
    with pytest.raises(UsageError, match=r"\.ckpt, \.bin, \.pth\.tar"):
        loaded(tmp_path / "c.h5")
    torch.save({"epoch": 3}, tmp_path / "c.pth")
    with pytest.raises(DataError, match="no state dict"):
        loaded(tmp_path / "c.pth")
    torch.save(network(), tmp_path / "whole.pth")  # a pickle of a class
    with pytest.raises(DataError, match=r"holds a whole torch\.nn\.modules\.container\.Sequential"):
        loaded(tmp_path / "whole.pth")


def test_what_lies_beside_the_network_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(prefixed("model.") | {"loss.weight": torch.ones(3)}, tmp_path / "c.ckpt")
    with caplog.at_level(logging.WARNING, "edgeconv"):
        assert_equal(loaded(tmp_path / "c.ckpt"), state())
    assert "left out what the weights have beside the network's: loss.weight" in (caplog.text)


@pytest.mark.parametrize(
    "beside",
    [
        lambda: {"args": argparse.Namespace(lr=0.1, out=PurePosixPath("runs"))},
        lambda: {"best": np.float32(0.9), "meters": defaultdict(list, {"loss": [np.float64(1)]})},
        lambda: {"rng_state": {"torch": torch.get_rng_state(), "numpy": np.random.get_state()}},
        lambda: {"out": Path("runs") / "1"},
    ],
)
def test_settings_beside_the_weights(beside: Callable[[], State], tmp_path: Path) -> None:
    torch.save({"model": state(), **beside()}, tmp_path / "c.pth")
    assert_equal(loaded(tmp_path / "c.pth"), state())


@pytest.mark.parametrize(
    "content",
    [
        lambda: {**state(), "epoch": 3},
        lambda: {**state(), "head._extra_state": None},
        lambda: (state(), 3),
        lambda: {name: value.numpy() for name, value in state().items()},
        lambda: {"state_dict": prefixed("_forward_module.")},
    ],
)
def test_forms_of_a_state_dict(content: Callable[[], Any], tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "c.pth")
    assert_equal(loaded(tmp_path / "c.pth"), state())


def test_several_networks_in_one_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "c.ckpt"
    torch.save({"state_dict": prefixed("student.") | prefixed("teacher.", seed=2)}, path)
    with pytest.raises(DataError, match=r"\nhint: .*weights_key=.student. or teacher"):
        loaded(path)
    assert_equal(loaded(path, "teacher"), state(2))
    assert_equal(loaded(path, "student"), state(1))
    torch.save(prefixed("student.") | prefixed("teacher.", seed=2), path)
    with pytest.raises(
        UsageError, match=r"hint: name one of student, teacher by weights_key, or leave"
    ):
        loaded(path, "x")
    torch.save({"weight": torch.ones(3)}, path)
    with pytest.raises(UsageError, match=r"\nhint: leave weights_key out"):
        loaded(path, "x")


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards(suffix: str, tmp_path: Path) -> None:
    names = list(state())
    places = {name: f"part-{at % 2}.{suffix}" for at, name in enumerate(names)}
    for file in set(places.values()):
        part = {name: state()[name] for name in names if places[name] == file}
        (save_file if suffix == "safetensors" else torch.save)(part, tmp_path / file)
    index = tmp_path / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert_equal(loaded(index), state())
    (tmp_path / f"part-1.{suffix}").unlink()
    with pytest.raises(UsageError, match=rf"part-1\.{suffix}: no such file"):
        loaded(index)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight_map": {"w": "../other.bin"}}, "do not lie beside it"),
        ({"weight_map": {"w": "loop.bin.index.json"}}, "do not lie beside it"),
        ({"weight_map": {"w": 3}}, "no readable weight_map"),
        ([], "no readable weight_map"),
    ],
)
def test_indices_that_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    index = tmp_path / "loop.bin.index.json"
    index.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        loaded(index)


class Runs:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return exec, ("raise SystemExit('run')",)


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    torch.save({"model": state(), "hook": Runs()}, tmp_path / "runs.pth")
    with pytest.raises(DataError, match=r"holds exec, .*\nhint: where you trust it"):
        loaded(tmp_path / "runs.pth")
    torch.jit.script(network()).save(tmp_path / "script.pt")
    with pytest.raises(DataError, match=r"TorchScript archive\nhint: load it with torch\.jit"):
        loaded(tmp_path / "script.pt")
    (tmp_path / "empty.pth").touch()
    with pytest.raises(DataError, match="is empty"):
        loaded(tmp_path / "empty.pth")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">f8"])
def test_arrays_of_numpy_by_the_names_of_weights(
    save: Callable[..., None], dtype: str, tmp_path: Path
) -> None:
    save(
        tmp_path / "w.npz", **{name: value.numpy().astype(dtype) for name, value in state().items()}
    )
    (tmp_path / "w.npz").rename(tmp_path / "w.pth")  # the content decides
    found = loaded(tmp_path / "w.pth")
    assert_equal({name: value.float() for name, value in found.items()}, state())


def test_objects_in_an_archive_of_numpy_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", state=np.array(state(), dtype=object))
    with pytest.raises(DataError, match="holds pickled objects"):
        loaded(tmp_path / "w.npz")


def test_a_pickle_of_arrays_is_named(tmp_path: Path) -> None:
    content = {name: value.numpy() for name, value in state().items()}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=r"a pickle that torch\.save did not write\nhint: .*pickle"):
        loaded(tmp_path / "w.pkl")
