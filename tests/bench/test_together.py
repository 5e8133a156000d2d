"""``bench --together``: what several models at the same time cost each other."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgeconv.bench.check import Checked
from edgeconv.bench.together import TogetherResult, measure_together
from edgeconv.cli.bench_command import command
from edgeconv.cli.report_command import command as report
from edgeconv.device import Event, RunRequest, open_device
from edgeconv.device.messages import EVENT
from edgeconv.errors import EdgeconvError, MeasurementError, UsageError
from support.scripted_device import QUICK, Scripted, answer
from support.tiny_models import write_onnx, write_tflite

NOTHING = Checked(None, None, None)
ASKED = QUICK.model_copy(update={"repetitions": 4})


@pytest.fixture
def uncompared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scripted device computes nothing, so there is nothing to compare."""
    monkeypatch.setattr(
        "edgeconv.bench.together.check_models", lambda models, *_: [NOTHING] * len(models)
    )


class Shared(Scripted):
    """Takes a millisecond, and half as long again for each model that runs beside the other."""

    def __init__(self, endless_for: int = 100_000, complaint: str = "") -> None:
        super().__init__(lambda index, name: [])
        self.running: list[str] = []
        self.measured: list[tuple[str, list[str]]] = []
        self._lock = threading.Lock()
        self._endless_for = endless_for
        self._complaint = complaint

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        name = Path(request.model).name
        if request.min_seconds > 100:
            yield from self._endless(name)
            return
        with self._lock:
            self.measured.append((name, sorted(self.running)))
            ns = 1_000_000 * (2 + len(self.running)) // 2
        time.sleep(0.05)
        yield from answer([ns, ns])

    def _endless(self, name: str) -> Generator[Event, None, None]:
        with self._lock:
            self.running.append(name)
        try:
            for _ in range(self._endless_for):
                yield EVENT.validate_python({"event": "samples", "ns": [5]})
                time.sleep(0.001)
            if self._complaint:
                raise MeasurementError(self._complaint)
        finally:
            with self._lock:
                self.running.remove(name)


@pytest.mark.usefixtures("uncompared")
def test_each_file_is_measured_alone_and_beside_all_others(pair: list[Path]) -> None:
    device = Shared()
    result = measure_together(pair, ASKED, device)
    a, b = "a.tflite", "b.tflite"
    turn = [(a, []), (a, [b]), (b, []), (b, [a])]
    back = [turn[1], turn[0], turn[3], turn[2]]
    assert device.measured == [*turn, *back, *turn, *back]
    assert device.running == []
    for model in result.models:
        assert model.alone_ns.value == pytest.approx(1_000_000)
        assert model.together_ns.value == pytest.approx(1_500_000)
        assert model.slowdown.value == pytest.approx(1.5)
        assert len(model.alone) == len(model.together) == 4


@pytest.mark.usefixtures("uncompared")
def test_three_files_run_at_once(pair: list[Path], tmp_path: Path) -> None:
    third = write_tflite(tmp_path / "c.tflite")
    device = Shared()
    result = measure_together([*pair, third], ASKED, device)
    assert ("b.tflite", ["a.tflite", "c.tflite"]) in device.measured
    assert result.models[2].slowdown.value == pytest.approx(2.0)


@pytest.mark.usefixtures("uncompared")
@pytest.mark.parametrize(
    ("complaint", "words"), [("", "it ended before the other"), ("scripted: killed", "killed")]
)
def test_one_that_ends_too_early(pair: list[Path], complaint: str, words: str) -> None:
    """Otherwise a latency beside nothing would count as one beside the other."""
    with pytest.raises(MeasurementError, match=words):
        measure_together(pair, ASKED, Shared(3, complaint))


@pytest.mark.usefixtures("uncompared")
def test_it_is_kept_and_read_back(pair: list[Path], tmp_path: Path) -> None:
    result = measure_together(pair, ASKED, Shared())
    result.save(tmp_path / "r.json")
    assert TogetherResult.load(tmp_path / "r.json") == result
    fields = json.loads((tmp_path / "r.json").read_text())
    assert fields["kind"] == "together"
    assert fields["models"][0]["slowdown"]["value"] == pytest.approx(1.5)
    page = tmp_path / "r.html"
    done = CliRunner().invoke(report, [str(tmp_path / "r.json"), "-o", str(page)])
    assert done.exit_code == 0
    assert "Several models at once" in page.read_text()
    fields["models"][0]["alone"].pop()
    (tmp_path / "r.json").write_text(json.dumps(fields))
    with pytest.raises(EdgeconvError, match="without a partner"):
        TogetherResult.load(tmp_path / "r.json")


@pytest.mark.parametrize(
    "more",
    [["--gate"], ["--detect", "3%"], ["--threads", "1,2"], ["--operators"], ["--sustained", "5s"]],
)
def test_what_it_does_not_go_with(pair: list[Path], more: list[str]) -> None:
    done = CliRunner().invoke(command, [*map(str, pair), "--together", *more])
    assert isinstance(done.exception, UsageError)


def test_one_file_is_not_several(pair: list[Path]) -> None:
    done = CliRunner().invoke(command, [str(pair[0]), "--together"])
    assert isinstance(done.exception, UsageError)
    assert done.exception.hint == "name two files or more"


@pytest.mark.slow
def test_on_one_core_two_take_turns(tmp_path: Path) -> None:
    """Two that never pause share a single core, so each takes about twice as long."""
    files = [write_onnx(tmp_path / f"{n}.onnx", shape=(1, 3, 256, 256)) for n in "ab"]
    asked = QUICK.model_copy(update={"repetitions": 3, "seconds": 0.5, "affinity": (0,)})
    result = measure_together(files, asked, open_device("local"))
    for model in result.models:
        used = [run.cpu_ns * len(run.samples_ns) / run.elapsed_ns for run in model.together]
        assert np.median(used) < 0.75  # the other one has the rest of the core
    assert "together they share one CPU among 2 threads" in result.warnings
