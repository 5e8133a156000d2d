"""Everything that goes wrong in the middle of a measurement, over a real SSH connection.

Each fault costs one line of explanation and no sample, leaves nothing running on the device, and
the measurement goes on afterwards.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgeconv.bench import BenchOptions, BenchResult, Journal, measure, new_session
from edgeconv.device import Event, RunRequest, open_device
from edgeconv.device.messages import Samples
from edgeconv.device.ssh import SshDevice
from edgeconv.errors import MeasurementError, UsageError
from support.ssh_server import Server, arguments, processes_with, wait_until
from support.tiny_models import write_onnx, write_tflite

pytestmark = pytest.mark.device

OPTIONS = BenchOptions(runs=20, seconds=0.3, warmup=0.0, repetitions=2, retries=0)


@dataclass(frozen=True)
class Faulty(SshDevice):
    """Has an accident when the first samples of its second measurement have come.

    That measurement lasts until the accident, however late a busy machine lets this process see the
    samples.
    """

    fault: Callable[[], None] | None = None
    measured: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, server: Server, fault: Callable[[], None] | None = None) -> Faulty:
        plain = SshDevice.parse(server.name)
        return cls(plain.name, plain.host, None, plain.port, plain.python, fault)

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        if request.min_runs == OPTIONS.runs:
            self.measured.append(request.model)
        fault = self.fault if len(self.measured) == 2 else None
        if fault is not None:
            request = request.model_copy(update={"min_seconds": 50.0, "max_seconds": 60.0})
        for event in super().run(request):
            yield event
            if fault is not None and isinstance(event, Samples):
                fault()
                fault = None


@dataclass
class Bench:
    """Two models on the server, and the journal of their measurement."""

    server: Server
    models: list[Path]
    journal: Path

    def begin(self) -> Journal:
        return Journal.create(self.journal, new_session(self.models, OPTIONS, self.server.name))

    def interrupted_by(self, fault: Callable[[], None]) -> str:
        """The one line of the failure; what was measured before it is in the journal."""
        device = Faulty.at(self.server, fault)
        with pytest.raises(MeasurementError) as caught:
            measure(self.models, OPTIONS, device, journal=self.begin())
        assert "\n" not in caught.value.message
        kept = Journal.open(self.journal)
        assert len(kept.finished) == 1
        assert len(kept.finished[0].run.samples_ns) >= OPTIONS.runs
        assert kept.set_aside
        assert kept.set_aside[0].samples_ns
        return caught.value.message

    def resumed(self) -> BenchResult:
        """The whole result: nothing is measured twice, and nothing is missing."""
        journal = Journal.open(self.journal)
        before = journal.finished[0].run
        device = Faulty.at(self.server)
        result = measure(self.models, OPTIONS, device, journal=journal)
        assert len(device.measured) == 2 * OPTIONS.repetitions - 1
        assert [[run.order for run in m.processes] for m in result.models] == [[0, 3], [1, 2]]
        assert result.models[0].processes[0] == before
        assert result.set_aside
        wait_until(lambda: not self.server.runners())
        return result


@pytest.fixture
def bench(server: Server, tmp_path: Path) -> Bench:
    # Slow enough that a third of a second has few samples.
    first = write_onnx(tmp_path / "a.onnx", shape=(1, 3, 128, 128))
    models = [first, write_tflite(tmp_path / "b.tflite", shape=(1, 128, 128, 16))]
    return Bench(server, models, tmp_path / "r.json.partial")


def kill(pids: list[int], number: signal.Signals = signal.SIGKILL) -> None:
    assert pids
    for pid in pids:
        os.kill(pid, number)


def clients(server: Server, text: str) -> list[int]:
    """ssh clients of this machine whose remote command has ``text``."""
    found = (pid for pid in processes_with(text) if f"{server.port}".encode() in arguments(pid))
    return [pid for pid in found if arguments(pid)[0].endswith(b"ssh")]


def test_connection_cut(bench: Bench) -> None:
    said = bench.interrupted_by(lambda: kill(clients(bench.server, "timeout -k")))
    assert said.startswith(f"{bench.models[1]} on {bench.server.name}: ")
    wait_until(lambda: not bench.server.runners())
    bench.resumed()


def test_connection_of_the_lock_cut(bench: Bench) -> None:
    """Without the lock, others are not kept off any more: the next process does not begin."""
    said = bench.interrupted_by(
        lambda: (kill(clients(bench.server, ".py ")), kill(bench.server.pythons()))[0]
    )
    assert "killed" in said
    bench.resumed()


def test_runner_killed(bench: Bench) -> None:
    said = bench.interrupted_by(lambda: kill(bench.server.pythons()))
    assert "killed (SIGKILL, often for lack of memory) in the measurement" in said
    bench.resumed()


def test_board_reboots(bench: Bench) -> None:
    """All its processes die at once, it is away for a while, and it is back."""
    try:
        said = bench.interrupted_by(bench.server.lose_power)
        assert "the connection failed or broke" in said
        with pytest.raises(MeasurementError, match="nothing listens there"):
            bench.resumed()
        assert len(Journal.open(bench.journal).finished) == 1
    finally:
        bench.server.start()
    bench.resumed()


def test_two_harnesses(bench: Bench) -> None:
    device = open_device(bench.server.name)
    with device.lock(60), pytest.raises(MeasurementError) as caught:
        measure(bench.models, OPTIONS, open_device(bench.server.name))
    message = str(caught.value)
    assert message.startswith(f"{bench.server.name}: another edgeconv (")
    assert f"process {os.getpid()}, since " in message
    assert " UTC) is measuring there\nhint: wait" in message
    with device.lock(60) as lock:  # free again
        lock.renew()


def test_a_harness_that_died_keeps_nobody_off(bench: Bench) -> None:
    device = open_device(bench.server.name)
    with device.lock(60) as lost:
        kill(clients(bench.server, ".py "))
        with device.lock(60) as lock:
            lock.renew()
            with pytest.raises(MeasurementError, match="its lock was lost"):
                lost.renew()


def test_a_host_that_vanished_loses_the_lock(bench: Bench) -> None:
    """Its connection may stay open for hours; it did not renew."""
    device = open_device(bench.server.name)
    with (
        device.lock(1) as lost,
        device.lock(60),
        pytest.raises(MeasurementError, match="its lock was lost"),
    ):
        lost.renew()


def test_nothing_is_measured_while_another_has_the_device(bench: Bench) -> None:
    with open_device(bench.server.name).lock(60), pytest.raises(MeasurementError):
        measure(bench.models, OPTIONS, open_device(bench.server.name), journal=bench.begin())
    journal = Journal.open(bench.journal)
    assert not journal.finished
    assert not journal.set_aside


def test_resume_refuses_what_is_another_measurement(bench: Bench) -> None:
    bench.interrupted_by(lambda: kill(bench.server.pythons()))
    device = open_device(bench.server.name)

    def refused(models: list[Path], options: BenchOptions, said: str) -> None:
        with pytest.raises(UsageError, match=said):
            measure(models, options, device, journal=Journal.open(bench.journal))

    refused(bench.models, OPTIONS.model_copy(update={"threads": 2}), "threads 1, not 2")
    refused(bench.models[:1], OPTIONS, "begun with 2 files")
    with pytest.raises(UsageError, match="was begun on ssh"):
        measure(bench.models, OPTIONS, open_device("local"), journal=Journal.open(bench.journal))
    write_onnx(bench.models[0], shape=("N", 5, 16, 16))
    refused(bench.models, OPTIONS, "a.onnx changed since")


def test_another_board_under_the_same_name(bench: Bench) -> None:
    bench.interrupted_by(lambda: kill(bench.server.pythons()))
    lines = bench.journal.read_text().splitlines(keepends=True)
    bench.journal.write_text(lines[0] + lines[1].replace('"architecture":"', '"architecture":"x'))
    with pytest.raises(MeasurementError, match="another machine than before"):
        measure(
            bench.models,
            OPTIONS,
            open_device(bench.server.name),
            journal=Journal.open(bench.journal),
        )


def test_a_journal_cut_in_the_middle_of_a_line(bench: Bench) -> None:
    """The host lost its power while it wrote."""
    bench.interrupted_by(lambda: kill(bench.server.pythons()))
    text = bench.journal.read_bytes()
    bench.journal.write_bytes(text + b'{"kind":"process","mod')
    assert len(Journal.open(bench.journal).finished) == 1
    assert bench.journal.read_bytes() == text


@pytest.mark.parametrize("text", ["", "{}\n", "x\n", '{"kind":"set-aside"}\n', "\xff\n"])
def test_a_journal_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.partial"
    path.write_text(text)
    with pytest.raises(UsageError, match="measure again"):
        Journal.open(path)


def test_an_unfinished_measurement_is_not_overwritten(bench: Bench) -> None:
    bench.begin()
    with pytest.raises(UsageError, match="--resume"):
        bench.begin()
