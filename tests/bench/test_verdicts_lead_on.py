"""What ``compare`` and ``gate`` propose as the next command."""

from __future__ import annotations

import shlex
from pathlib import Path

from edgeconv.bench import BenchOptions
from edgeconv.store.history import History
from support.command_line import CommandLine
from support.results import made_model, made_result


def test_a_comparison_proposes_the_gate(history_path: Path, edgeconv: CommandLine) -> None:
    history = History.at(str(history_path))
    for median in (1_000_000, 2_000_000):
        history.add(made_result(made_model("net.onnx", [median, median + 1000])), None)
    done = edgeconv("compare", 1, 2, "--across", "device")
    next_command = "next: edgeconv gate 2 --baseline 1 --across device"
    assert done.stderr.splitlines()[-1] == next_command
    assert "next:" not in edgeconv("compare", 1, 2, "--json").stderr
    assert edgeconv(*shlex.split(next_command)[2:]).returncode == 1


def test_a_gate_that_cannot_decide_proposes_to_measure(
    history_path: Path, edgeconv: CommandLine
) -> None:
    history = History.at(str(history_path))
    for threads, name in ((1, "old.onnx"), (2, "new.onnx")):  # other threads decide nothing
        model = made_model(name, [1_000_000, 1_000_000 + threads])
        history.add(made_result(model, options=BenchOptions(threads=threads)), None)
    limit = ("--max-regression", "5%")
    done = edgeconv("gate", 2, "--baseline", 1, *limit)
    assert done.returncode == 3
    proposed = "next: edgeconv gate 2 --baseline 1 --max-regression 5% --measure"
    assert done.stderr.splitlines()[-1] == proposed
    quiet = edgeconv("gate", 2, "--baseline", 1, *limit, "--quiet")
    assert (quiet.stdout, "next:" in quiet.stderr) == (done.stdout, False)


def test_one_file_is_not_measured_against_itself(history_path: Path, edgeconv: CommandLine) -> None:
    """What was proposed was refused: the file is on both sides."""
    history = History.at(str(history_path))
    for threads in (1, 2):
        model = made_model("net.onnx", [1_000_000, 1_000_000 + threads])
        history.add(made_result(model, options=BenchOptions(threads=threads)), None)
    done = edgeconv("gate", 2, "--baseline", 1, "--max-regression", "5%")
    assert done.returncode == 3
    assert "next:" not in done.stderr
