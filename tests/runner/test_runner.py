"""The runner as a device sees it: a process, a line in, lines out."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv.device.archive import FOLDER, runner_archive
from edgeconv.device.messages import EVENT, RunRequest
from edgeconv.runner.onnx_model import node_events
from edgeconv.runner.request import RunnerError
from support.runtimes import run_onnx, tflite_interpreter
from support.tiny_models import write_onnx, write_tflite

pytestmark = pytest.mark.slow

QUICK = {
    "warmup_seconds": 0.01,
    "warmup_runs": 2,
    "min_runs": 12,
    "min_seconds": 0.0,
    "max_seconds": 5.0,
    "deadline_seconds": 60,
}


def raw(line: bytes, *, python: str = sys.executable, close: bool = False) -> tuple[int, str, str]:
    """Send a line; keep standard input open until the output has ended, unless ``close``."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with (
        runner_archive() as runner,
        subprocess.Popen([python, "-I", str(runner)], **pipes) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(line)
        if close:
            process.stdin.close()
        else:
            process.stdin.flush()
        out, err = process.stdout.read(), process.stderr.read()
        return process.wait(60), out.decode(), err.decode()


def run(model: Path, **changes: Any) -> list[dict[str, Any]]:
    request = RunRequest(model=str(model), **{**QUICK, **changes})
    _, out, _ = raw(request.model_dump_json().encode() + b"\n")
    events = [json.loads(line) for line in out.splitlines()]
    for event in events:
        EVENT.validate_python(event)
    return events


def named(events: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (event,) = [event for event in events if event["event"] == name]
    return event


def error_of(model: Path, **changes: Any) -> dict[str, Any]:
    events = run(model, **changes)
    assert events[-1]["event"] == "error"
    assert "\n" not in events[-1]["message"]
    return events[-1]


def output_of(events: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    (output,) = named(events, "outputs")["outputs"]
    data = base64.b64decode(output["base64"])
    assert hashlib.sha256(data).hexdigest() == output["sha256"]
    return np.frombuffer(data, output["dtype"]).reshape(output["shape"])


@pytest.mark.parametrize("module", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_is_python_3_8_and_imports_nothing_else_of_ours(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    others = {name for name in imported if not name.startswith("edgeconv.runner.")}
    assert {name.split(".")[0] for name in others} <= {"numpy"} | sys.stdlib_module_names


def test_the_archive_is_always_the_same() -> None:
    """A device keeps what it has, so the bytes must not depend on when or where they are made."""
    with runner_archive() as first, runner_archive() as second:
        assert first != second
        assert first.read_bytes() == second.read_bytes()
    assert not first.exists()


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_writes_every_event_in_order(tmp_path: Path, suffix: str) -> None:
    write = write_onnx if suffix == "onnx" else write_tflite
    events = run(write(tmp_path / f"m.{suffix}"))
    kinds = [event["event"] for event in events]
    assert kinds[:5] == ["start", "load", "first", "outputs", "warmup"]
    assert set(kinds[5:-1]) == {"samples"}
    assert kinds[-1] == "done"
    samples = [ns for event in events if event["event"] == "samples" for ns in event["ns"]]
    done = named(events, "done")
    assert len(samples) == done["runs"] >= 12
    assert done["complete"] is True
    assert sum(samples) <= done["ns"]
    assert all(ns > 0 for ns in samples)
    assert named(events, "warmup")["runs"] >= 2


def test_outputs_are_those_of_onnxruntime(tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "m.onnx")
    x = np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=x)
    events = run(model, inputs=str(tmp_path / "in.npz"))
    (expected,) = run_onnx(model, x, fused=True).values()
    np.testing.assert_array_equal(output_of(events), expected)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_outputs_are_those_of_litert(tmp_path: Path, dtype: str) -> None:
    model = write_tflite(tmp_path / "m.tflite", dtype=dtype, inputs=2)
    random = np.random.default_rng(1)
    a, b = (random.integers(-60, 60, (1, 4, 4, 2)).astype(dtype) for _ in range(2))
    np.savez(tmp_path / "in.npz", b=b, a=a)  # by name, not by place
    events = run(model, inputs=str(tmp_path / "in.npz"))
    interpreter = tflite_interpreter(model)
    for detail, array in zip(interpreter.get_input_details(), (a, b), strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_array_equal(output_of(events), expected)


def test_seed_makes_the_inputs(tmp_path: Path) -> None:
    model = write_tflite(tmp_path / "m.tflite", dtype="int8")
    first, again, other = (output_of(run(model, seed=seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(first)) > 8


def test_inputs_of_a_seed_never_change(tmp_path: Path) -> None:
    """Pinned: a device with another NumPy must feed the same values to the model (here x + x)."""
    events = run(write_tflite(tmp_path / "m.tflite", shape=(1, 2, 3, 1)))
    assert output_of(events).ravel().tolist() == [
        1.421875,
        0.6875,
        0.734375,
        0.734375,
        1.296875,
        0.828125,
    ]


def test_writes_the_events_to_a_file_too(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    events = run(write_tflite(tmp_path / "m.tflite"), log=str(log))
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    assert logged == events


def test_time_is_up_before_the_runs(tmp_path: Path) -> None:
    events = run(write_tflite(tmp_path / "m.tflite"), min_runs=10**12, max_seconds=0.05)
    assert named(events, "done")["complete"] is False
    assert named(events, "done")["runs"] > 0


def test_no_warm_up(tmp_path: Path) -> None:
    events = run(write_tflite(tmp_path / "m.tflite"), warmup_seconds=0.0, warmup_runs=0)
    assert named(events, "warmup")["runs"] == 0


def test_affinity(tmp_path: Path) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    core = min(os.sched_getaffinity(0))
    start = named(run(model, affinity=[core]), "start")
    assert start["machine"]["cores_allowed"] == 1
    assert error_of(model, affinity=[4000])["kind"] == "affinity"
    # The system itself would take the first and be silent about the second.
    some = error_of(model, affinity=[core, 4000])
    assert (some["kind"], "it has no CPU 4000" in some["message"]) == ("affinity", True)
    assert some["hint"].startswith("name some of ")


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"\x1c\x00\x00\x00TFL3" + b"\xff" * 60])
@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_damaged_file(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(content)
    assert error_of(path)["kind"] == "model"


def test_missing_file(tmp_path: Path) -> None:
    assert error_of(tmp_path / "none.tflite")["kind"] == "model"


def test_runtime_that_is_not_installed(tmp_path: Path) -> None:
    error = error_of(write_tflite(tmp_path / "m.tflite"), runtime="tflite-runtime")
    assert error["kind"] == "runtime"
    assert f"no tflite-runtime under {sys.executable}" in error["message"]


def test_runtime_of_the_other_format(tmp_path: Path) -> None:
    error = error_of(write_tflite(tmp_path / "m.tflite"), runtime="onnxruntime")
    assert "onnxruntime does not read m.tflite" in error["message"]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"q": np.zeros((1, 3, 8, 8), np.float32), "r": np.zeros(1)}, "has no 'x'"),
        ({"x": np.zeros((1, 3, 8, 8), np.float64)}, "is float64"),
        ({"x": np.zeros((1, 5, 16, 16), np.float32)}, "the model takes float32 [-1, 3, 16, 16]"),
        ({"x": np.array(["a"], dtype=object)}, "--inputs is not an .npz file of plain arrays"),
        ({"x": np.zeros((1, 3, 16, 16))}, "give it that type and shape"),
    ],
)
def test_inputs_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    error = error_of(write_onnx(tmp_path / "m.onnx"), inputs=str(tmp_path / "in.npz"))
    assert error["kind"] == "input"
    assert said in f"{error['message']}; {error['hint']}"


def test_open_shape_needs_inputs(tmp_path: Path) -> None:
    error = error_of(write_onnx(tmp_path / "m.onnx", shape=(1, 3, "h", "w")))
    assert error["kind"] == "input"
    assert "give real inputs" in error["hint"]


@pytest.mark.parametrize(
    "line", [b"{}\n", b"[1]\n", b"nonsense\n", b'{"protocol": 2}\n', b"\xff\n", b"null\n"]
)
def test_request_that_cannot_be_read(line: bytes) -> None:
    code, out, _ = raw(line)
    assert json.loads(out)["kind"] == "request"
    assert code == 1


def test_ends_with_its_listener(tmp_path: Path) -> None:
    request = RunRequest(
        model=str(write_tflite(tmp_path / "m.tflite")),
        min_seconds=50.0,
        **{k: v for k, v in QUICK.items() if k != "min_seconds"} | {"max_seconds": 55.0},
    )
    _, out, _ = raw(request.model_dump_json().encode() + b"\n", close=True)
    assert "done" not in out


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
@pytest.mark.parametrize("ended", ["done", "listener", "error"])
def test_leaves_no_temporary_files(tmp_path: Path, suffix: str, ended: str) -> None:
    """A host ends the process as soon as it has the last event, so nothing may be left by then."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    model = (write_onnx if suffix == "onnx" else write_tflite)(tmp_path / f"m.{suffix}")
    if ended == "error":
        model.write_bytes(b"damaged")
    request = RunRequest(model=str(model), operators=True, **QUICK)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        runner_archive() as runner,
        subprocess.Popen(
            [sys.executable, "-I", str(runner)],
            env={**os.environ, "TMPDIR": str(scratch)},
            start_new_session=True,
            **pipes,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request.model_dump_json().encode() + b"\n")
        process.stdin.flush()
        last = {"done": "done", "listener": "start", "error": "error"}[ended]
        for line in process.stdout:
            if json.loads(line)["event"] == last:
                break
        if ended == "done":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.stdin.close()
        process.stdout.read()
        process.wait(60)
    assert not list(scratch.iterdir())


def test_noise_of_native_code_stays_out(tmp_path: Path) -> None:
    """LiteRT reports its delegate on standard error; anything else might write to descriptor 1."""
    request = RunRequest(model=str(write_tflite(tmp_path / "m.tflite")), **QUICK)
    _, out, err = raw(request.model_dump_json().encode() + b"\n")
    assert all(line.startswith('{"event":') for line in out.splitlines())
    assert "XNNPACK" in err


def test_a_failed_profile_leaves_nothing(tmp_path: Path) -> None:
    """The host ends the process when it has read the error: what is removed is removed before."""
    (tmp_path / "m.onnx").write_bytes(b"no model")
    request = RunRequest(model=str(tmp_path / "m.onnx"), operators=True, **QUICK)
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with (
        runner_archive() as runner,
        subprocess.Popen(
            [sys.executable, "-I", str(runner)], stdin=-1, stdout=-1, env=environment
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request.model_dump_json().encode() + b"\n")
        process.stdin.flush()
        events = (json.loads(line)["event"] for line in process.stdout)
        assert "error" in events  # and reads no further
        process.kill()
    assert not list(tmp_path.glob("edgeconv-*"))


def test_a_profile_that_the_disk_cut_short(tmp_path: Path) -> None:
    """ONNX Runtime itself says nothing of it."""

    class Session:
        def end_profiling(self) -> str:
            return str(tmp_path / "profile.json")

    (tmp_path / "profile.json").write_text('[{"cat": "No')
    with pytest.raises(RunnerError, match="is cut short"):
        node_events(Session())


def test_a_process_that_was_stopped_says_so(tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "m.onnx")
    request = RunRequest(model=str(model), **{**QUICK, "min_seconds": 0.5, "max_seconds": 5.0})
    with (
        runner_archive() as runner,
        subprocess.Popen(
            [sys.executable, "-I", str(runner)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request.model_dump_json().encode() + b"\n")
        process.stdin.flush()
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] == "warmup":
                for number in (signal.SIGSTOP, signal.SIGCONT):
                    process.send_signal(number)
    states = {event["event"]: event["conditions"] for event in events if "conditions" in event}
    assert [states[name]["continued"] for name in ("start", "warmup", "done")] == [0, 0, 1]
