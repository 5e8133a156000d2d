"""Data that no network could use is refused before one is built."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from edgeconv.cli import cli
from edgeconv.errors import DataError, MismatchedData, NoSamples, UsageError
from edgeconv.export import export
from edgeconv.export.data.there import refuse_unusable


def ramp(rows: int) -> np.ndarray[Any, Any]:
    return np.linspace(-1, 1, rows * 12, dtype=np.float32).reshape(rows, 12)


def npz(path: Path, **arrays: np.ndarray[Any, Any]) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def folder(path: Path, *files: str) -> Path:
    path.mkdir()
    for name in files:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("text", "utf-8")
    return path


CALIBRATION: list[tuple[Callable[[Path], Any], str]] = [
    (lambda path: folder(path / "a"), "a holds no images"),
    (lambda path: folder(path / "a", "notes.txt", "more/notes.txt"), "a holds no images"),
    (lambda path: npz(path / "a.npz", x=ramp(0)), "a.npz holds no samples"),
    (lambda path: npz(path / "a.npz"), "a.npz holds no samples"),
    (lambda path: [], "the list is empty"),
    (lambda path: ramp(0), "the ndarray is empty"),
]
LABELED: list[tuple[Callable[[Path], Any], str]] = [
    *CALIBRATION[:3],
    (lambda path: npz(path / "a.npz", x=ramp(4), y=np.arange(3)), "4 samples and 3 labels"),
    (lambda path: npz(path / "a.npz", a=ramp(4), b=ramp(4), y=np.arange(5)), "4 samples and 5"),
    (lambda path: (ramp(4), np.arange(3)), "the tuple has 4 samples and 3 labels"),
    (lambda path: (torch.zeros(4, 3), [0, 1]), "the tuple has 4 samples and 2 labels"),
]


class Network(torch.nn.Module):
    """It fails where it is run, and so where it is captured."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the network is built")


@pytest.mark.parametrize(("made", "message"), CALIBRATION)
def test_calibration_data(made: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(NoSamples, match=message):
        export(Network(), input_size=(12,), calibration=made(tmp_path), out=tmp_path / "out")


@pytest.mark.parametrize(("made", "message"), LABELED)
def test_labeled_data(made: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    with pytest.raises((NoSamples, MismatchedData), match=message):
        export(
            Network(),
            input_size=(12,),
            calibration="random",
            labeled=made(tmp_path),
            accuracy_budget=0.01,
            out=tmp_path / "out",
        )


def test_damaged_and_missing_data(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DataError, match=r"a\.npz is not a readable NumPy file"):
        refuse_unusable(tmp_path / "a.npz", None, None)
    for data in ((tmp_path / "b", None, None), (None, tmp_path / "b", None), (None, None, "b")):
        with pytest.raises(UsageError, match="b: no such file or folder"):
            refuse_unusable(*data)
    with pytest.raises(NoSamples, match="masks is an empty folder"):
        refuse_unusable(None, None, folder(tmp_path / "masks"))


@pytest.mark.parametrize("option", ["--data", "--labeled"])
def test_blame_reads_no_network_before(option: str, tmp_path: Path) -> None:
    empty = str(folder(tmp_path / "a"))
    data = ["--data", empty] if option == "--data" else ["--data", "random", option, empty]
    done = CliRunner().invoke(cli, ["blame", "nowhere.onnx", *data], standalone_mode=False)
    assert "a holds no images" in str(done.exception)


def archives(path: Path) -> Path:
    path.mkdir()
    with tarfile.open(path / "shard-000.tar", "w"):
        pass
    return path


def pictures(path: Path) -> Path:
    (path / "cat").mkdir(parents=True)
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(path / "cat" / "1.PNG")
    return path


USABLE: list[Callable[[Path], Any]] = [
    lambda path: None,
    lambda path: pictures(path / "a"),
    lambda path: archives(path / "a"),  # listing what is in archives may take long
    lambda path: npz(path / "a.npz", x=ramp(4), y=np.arange(4)),
    lambda path: npz(path / "a.npz", image=ramp(4), names=np.array(["a"]), y=np.arange(4)),
    lambda path: npz(path / "a.npz", image=ramp(4), other=ramp(7), y=np.arange(3)),  # the network
    lambda path: npz(path / "a.npz", x=ramp(4), scale=np.float32(2)),
    lambda path: (ramp(4), np.arange(4)),
    lambda path: (ramp(4), np.arange(1)),  # one sample [4, 12], as a network may take it
    lambda path: (torch.zeros(4, 3), torch.tensor(2)),
    lambda path: ((sample, 1) for sample in ramp(3)),
    lambda path: [(sample, 1) for sample in ramp(3)],
    lambda path: "data.py:samples",
    lambda path: "random",
]


@pytest.mark.parametrize("made", USABLE)
def test_what_only_the_network_can_refuse(made: Callable[[Path], Any], tmp_path: Path) -> None:
    data = made(tmp_path)
    refuse_unusable(data, data, None)
