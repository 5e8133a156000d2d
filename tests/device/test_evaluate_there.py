"""``evaluate --device``: what files compute elsewhere, and what a lost or lying device costs."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from onnx import TensorProto, helper
from torch import nn

from edgeconv.bundle import Bundle
from edgeconv.cli.evaluate_command import command
from edgeconv.device import Event, Lock, RunRequest, open_device
from edgeconv.device import computing as computing_module
from edgeconv.device.computing import computing
from edgeconv.device.messages import EVENT
from edgeconv.errors import EdgeconvError, LostConnection, MeasurementError, UsageError
from edgeconv.evaluation import Evaluation
from edgeconv.export import elsewhere, export
from edgeconv.export.tasks.evaluate import evaluate
from edgeconv.models.randomize import randomize_, structured_input
from support.scripted_device import MACHINE, conditions
from support.ssh_server import Server, wait_until

pytestmark = pytest.mark.slow

SHAPE = (3, 16, 16)
HERE = f"local:{sys.executable}"


class Maps(nn.Module):
    """Scores of three classes for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).relu())


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    """All four files of a network, and labeled samples, more than a portion has."""
    folder = tmp_path_factory.mktemp("maps")
    network = randomize_(Maps(), shape=SHAPE)
    np.savez(folder / "c.npz", x=structured_input((24, *SHAPE)).numpy())
    bundle = export(network, out=folder / "b", input_size=SHAPE, calibration=folder / "c.npz")
    x = structured_input((7, *SHAPE), seed=9)
    with torch.inference_mode():
        y = network(x).argmax(1).numpy().copy()
    y[:, :4] = 0  # the network is not always right
    np.savez(folder / "d.npz", x=x.numpy(), y=y)
    return bundle, folder / "d.npz"


def the_same(there: Evaluation, here: Evaluation, device: str) -> None:
    """All but the name of the runtime."""
    assert all(result.runtime.endswith(f" on {device}") for result in there.results)
    plain = [r.model_copy(update={"runtime": ""}) for r in there.results]
    assert plain == [r.model_copy(update={"runtime": ""}) for r in here.results]


@pytest.mark.slow
def test_this_machine_as_a_device_finds_what_it_finds_here(
    maps: tuple[Bundle, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, data = maps
    monkeypatch.setattr(elsewhere, "PORTION_BYTES", 20_000)  # two batches in float
    here = evaluate(bundle, data, task="segmentation")
    with computing(open_device(HERE)) as place:
        there = evaluate(bundle, data, task="segmentation", place=place)
    the_same(there, here, HERE)
    assert here.results[0].decisive.value < 0.95


@pytest.mark.slow
def test_files_without_a_runtime_there_are_left_out(
    maps: tuple[Bundle, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """As on a 32-bit board, which has tflite-runtime 2.14 and no ONNX Runtime."""
    python = os.environ.get("EDGECONV_TFLITE214", "")
    if not Path(python).is_file():
        pytest.skip("EDGECONV_TFLITE214 names no Python with tflite_runtime 2.14")
    bundle, data = maps
    device = f"local:{python}"
    with computing(open_device(device)) as place:
        there = evaluate(bundle, data, task="segmentation", place=place)
    found = [result.path for result in there.results]
    assert found == [a.path for a in bundle.manifest.artifacts if a.path.endswith(".tflite")]
    assert {r.runtime for r in there.results} == {f"tflite-runtime 2.14.0 on {device}"}
    left = [r.getMessage() for r in caplog.records if r.getMessage().startswith("left out: ")]
    assert len(left) == len(bundle.manifest.artifacts) - len(found) > 0
    here = {r.path: r.decisive.value for r in evaluate(bundle, data, task="segmentation").results}
    for result in there.results:  # other kernels round some pixels between two classes otherwise
        assert abs(result.decisive.value - here[result.path]) < 0.03


@pytest.mark.slow
@pytest.mark.device
def test_over_ssh_from_the_command_line(
    maps: tuple[Bundle, Path], server: Server, tmp_path: Path
) -> None:
    bundle, data = maps
    out = tmp_path / "r.json"
    arguments = [str(bundle.path), "--data", str(data), "--task", "segmentation", "-q"]
    done = CliRunner().invoke(
        command, [*arguments, "--device", server.name, "-o", str(out)], catch_exceptions=False
    )
    assert done.exit_code == 0
    the_same(Evaluation.load(out), evaluate(bundle, data, task="segmentation"), server.name)
    left = [p.suffix for p in (server.home / ".cache/edgeconv").iterdir()]
    assert ".npz" not in left  # the data does not stay there


def write_difference(path: Path, side: int) -> Path:
    """Y = a - b and z = -a, of side × side."""
    inputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, side, side]) for n in ("a", "b")
    ]
    outputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, side, side]) for n in ("y", "z")
    ]
    nodes = [helper.make_node("Sub", ["a", "b"], ["y"]), helper.make_node("Neg", ["a"], ["z"])]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 20)])
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("side", [4, 700])
def test_outputs_of_any_size_come_back_whole(tmp_path: Path, side: int) -> None:
    """An output of 700 × 700 is larger than one line of an answer may be."""
    model = write_difference(tmp_path / "m.onnx", side)
    rng = np.random.default_rng(0)
    batches = [
        {n: rng.standard_normal((1, side, side)).astype(np.float32) for n in ("b", "a")}
        for _ in range(3)
    ]
    with computing(open_device(HERE)) as place:
        runtime, answers = place.run(model, batches)
    assert runtime.startswith("onnxruntime ")
    for batch, answer in zip(batches, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], batch["a"] - batch["b"])
        np.testing.assert_array_equal(answer["z"], -batch["a"])


def test_arrays_that_do_not_fit(tmp_path: Path) -> None:
    model = write_difference(tmp_path / "m.onnx", 4)
    wrong = dict.fromkeys(("a", "b"), np.zeros((1, 4, 5), np.float32))
    with computing(open_device(HERE)) as place, pytest.raises(UsageError, match="the model takes"):
        place.run(model, [wrong])


@pytest.mark.device
def test_a_connection_that_is_lost(server: Server, tmp_path: Path) -> None:
    """One line names the device; nothing waits."""
    model = write_difference(tmp_path / "m.onnx", 700)
    batch = dict.fromkeys(("a", "b"), np.zeros((1, 700, 700), np.float32))

    def lose() -> None:
        wait_until(server.pythons)
        for pid in server.pythons():
            os.kill(pid, 9)

    accident = threading.Thread(target=lose)
    with computing(open_device(server.name)) as place:
        place.run(model, [batch])
        accident.start()
        with pytest.raises(MeasurementError, match="was killed") as caught:
            place.run(model, [batch] * 20)
    accident.join()
    assert caught.value.message.startswith(f"{server.name}: ")


@pytest.mark.device
def test_a_connection_that_comes_back(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A board that loses power and boots again costs the portion that it was at, not the rest."""
    monkeypatch.setattr(computing_module, "PAUSES_SECONDS", (0.5, 3.0))
    model = write_difference(tmp_path / "m.onnx", 700)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 1, 700, 700)).astype(np.float32)

    def lose() -> None:
        wait_until(server.pythons)
        server.lose_power()
        wait_until(lambda: "trying again" in caplog.text)
        server.start()

    accident = threading.Thread(target=lose)
    with computing(open_device(server.name)) as place:
        place.run(model, [{"a": a, "b": b}])
        accident.start()
        _, answers = place.run(model, [{"a": a, "b": b}] * 20)
        accident.join()
        another = computing(open_device(server.name))
        with pytest.raises(MeasurementError, match="is measuring there"), another:
            pass  # the lock is held again
    assert len(answers) == 20
    for answer in answers:
        np.testing.assert_array_equal(answer["y"], a - b)


@pytest.mark.device
def test_a_connection_that_does_not_come_back(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computing_module, "PAUSES_SECONDS", (0.1, 0.1))
    model = write_difference(tmp_path / "m.onnx", 4)
    batch = dict.fromkeys(("a", "b"), np.zeros((1, 4, 4), np.float32))
    with computing(open_device(server.name)) as place:
        place.run(model, [batch])
        server.lose_power()
        with pytest.raises(LostConnection, match="nothing listens there"):
            place.run(model, [batch])


class Liar:
    """A device that says what the test states."""

    name = "liar"

    def __init__(self, said: list[dict[str, Any]]) -> None:
        self._said = said

    def place(self, file: Path) -> str:
        return str(file)

    def remove(self, files: object) -> None: ...

    def renew(self) -> None: ...

    @contextmanager
    def lock(self, lease_seconds: int) -> Iterator[Lock]:
        yield self

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        yield from map(EVENT.validate_python, self._said)


def described(data: bytes, **changes: Any) -> dict[str, Any]:
    output = {"name": "y", "dtype": "float32", "shape": [1], "base64": base64.b64encode(data)}
    output |= {"sha256": hashlib.sha256(data).hexdigest()} | changes
    return {"event": "outputs", "outputs": [output]}


START = {"event": "start", "protocol": 1, "runtime": "onnxruntime", "runtime_version": "1"} | {
    "python": "3.11",
    "numpy": "2.0",
    "machine": MACHINE,
    "conditions": conditions(),
}
ONE = np.ones(1, np.float32).tobytes()
LIES = {
    "too few batches": [described(ONE)],
    "another hash": [described(ONE, sha256="0" * 64)] * 2,
    "another size": [described(ONE, shape=[2])] * 2,
    "a size beyond all memory": [described(ONE, shape=[2**62, 2**62])] * 2,
    "no bytes": [described(ONE, base64=None)] * 2,
    "no type": [described(ONE, dtype="float33")] * 2,
    "objects": [described(ONE, dtype="object")] * 2,
    "no base64": [described(ONE, base64="?")] * 2,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_device_that_contradicts_itself(lie: str, tmp_path: Path) -> None:
    end = {"event": "computed", "batches": 2}
    device: Any = Liar([START, *LIES[lie], end])
    with computing(device) as place, pytest.raises(MeasurementError) as caught:
        place.run(tmp_path / "m.onnx", [{"x": np.zeros(1, np.float32)}] * 2)
    assert caught.value.message.startswith("liar: ")


def test_a_device_that_is_none(tmp_path: Path, maps: tuple[Bundle, Path]) -> None:
    bundle, data = maps
    done = CliRunner().invoke(
        command, [str(bundle.path), "--data", str(data), "--device", "nowhere"]
    )
    assert isinstance(done.exception, EdgeconvError)
    assert done.exception.message == "no device 'nowhere'"
