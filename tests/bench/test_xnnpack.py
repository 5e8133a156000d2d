"""XNNPACK on and off: asked of every runtime, kept in the result, never compared by accident."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from edgeconv.bench import BenchOptions, BenchResult
from edgeconv.bench.compare.comparison import Limits, Outcome, Terms
from edgeconv.bench.compare.latency import LATENCY, compare_latencies
from edgeconv.bench.sessions import NOT_KNOWN
from edgeconv.cli.bench_command import command
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.report.latency import cost_cells
from edgeconv.runner.onnx_model import OnnxModel
from edgeconv.runner.request import RunnerError
from edgeconv.runner.runtimes import find_runtime
from edgeconv.runner.tflite_model import TfliteModel
from support.results import made_model, made_result
from support.tiny_models import write_onnx, write_tflite

QUICK = ["--runs", "5", "--seconds", "0", "--warmup", "0.01", "--repetitions", "2", "--retries"]
QUICK += ["0", "--no-history", "-q"]
CALM = [1_000_000, 1_001_000, 999_000, 1_000_500, 999_500, 1_000_000]


def options(xnnpack: bool | None) -> dict[str, Any]:
    return {"options": BenchOptions(xnnpack=xnnpack)}


@pytest.mark.parametrize(("xnnpack", "delegated"), [(None, True), (True, True), (False, False)])
def test_litert_runs_the_file_with_and_without_it(
    tmp_path: Path, xnnpack: bool | None, delegated: bool
) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    _, _, module = find_runtime(str(model), None)
    found = TfliteModel(module, str(model), 1, xnnpack).delegates()
    assert found is not None
    assert (found > 0) is delegated


def test_a_runtime_whose_xnnpack_runs_nothing_of_a_file() -> None:
    class Interpreter:
        def __init__(self, **given: Any) -> None:
            assert given["experimental_op_resolver_type"] == "builtin"

        def allocate_tensors(self) -> None: ...

        def _get_ops_details(self) -> list[dict[str, str]]:
            return [{"op_name": "CONV_2D"}]

    module = SimpleNamespace(Interpreter=Interpreter, OpResolverType={"BUILTIN": "builtin"})
    with pytest.raises(RunnerError, match="runs no operator"):
        TfliteModel(module, "m.tflite", 1, xnnpack=True)


def test_a_build_of_onnx_runtime_that_has_it() -> None:
    """XNNPACK has the threads, ONNX Runtime none beside them."""
    opened: list[Any] = []
    entries: dict[str, str] = {}

    class Session:
        def __init__(self, path: str, chosen: Any, providers: list[Any]) -> None:
            opened.extend((chosen.intra_op_num_threads, providers))

        def io_binding(self) -> None: ...

        def get_inputs(self) -> list[Any]:
            return []

    module = SimpleNamespace(
        SessionOptions=lambda: SimpleNamespace(add_session_config_entry=entries.__setitem__),
        InferenceSession=Session,
        get_available_providers=lambda: ["XnnpackExecutionProvider", "CPUExecutionProvider"],
    )
    OnnxModel(module, "m.onnx", 4, xnnpack=True)
    provider = "XnnpackExecutionProvider", {"intra_op_num_threads": "4"}
    assert opened == [1, [provider, "CPUExecutionProvider"]]
    assert entries["session.intra_op.allow_spinning"] == "0"
    opened.clear()
    OnnxModel(module, "m.onnx", 4, xnnpack=False)
    assert opened == [4, ["CPUExecutionProvider"]]


@pytest.mark.slow
def test_a_build_of_onnx_runtime_that_lacks_it(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "XnnpackExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this build has it")
    model = write_onnx(tmp_path / "m.onnx")
    done = CliRunner().invoke(command, [str(model), "--xnnpack", "on", *QUICK])
    assert isinstance(done.exception, MeasurementError)
    assert "this build of onnxruntime has no XNNPACK provider" in done.exception.message
    assert "leave out --xnnpack on" in done.exception.hint
    assert "build onnxruntime with --use_xnnpack" in done.exception.hint


@pytest.mark.slow
def test_it_is_kept_and_shown(tmp_path: Path) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    out = tmp_path / "r.json"
    arguments = [str(model), "--xnnpack", "off", *QUICK, "-o", str(out)]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "no XNNPACK" in done.output
    assert BenchResult.load(out).options.xnnpack is False


def test_other_choices_are_compared_only_if_asked() -> None:
    old = made_result(made_model("m", CALM), **options(None))
    new = made_result(made_model("m", [2 * ns for ns in CALM]), **options(False))
    (comparison,) = compare_latencies(old, new).comparisons
    assert comparison.doubts == ("the delegate changed",)
    assert comparison.outcome(Limits(0.03)) is Outcome.INCONCLUSIVE
    asked = Terms(frozenset(["delegate"]), lambda device: NOT_KNOWN)
    report = compare_latencies(old, new, asked)
    assert report.comparisons[0].outcome(Limits(0.03)) is Outcome.FAIL
    assert "the delegate changed from the runtime's choice to no XNNPACK" in report.cautions


def test_the_history_takes_them_for_two_runtimes() -> None:
    """Otherwise their difference would count as noise between sessions."""
    assert LATENCY.history_run is not None
    names = [
        LATENCY.history_run(made_result(made_model("m", CALM), **options(choice))).files[0].runtime
        for choice in (None, True, False)
    ]
    assert names == ["litert", "litert, XNNPACK", "litert, no XNNPACK"]
    _, rows = cost_cells(made_result(made_model("m", CALM), **options(False)))
    assert rows[0][1].endswith(", no XNNPACK")


def test_operators_one_by_one_need_no_xnnpack(tmp_path: Path) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    done = CliRunner().invoke(command, [str(model), "--operators", "--xnnpack", "on"])
    assert isinstance(done.exception, UsageError)
