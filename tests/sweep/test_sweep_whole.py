"""A small real sweep on handwritten digits: two networks in two precisions."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from edgeconv.bundle import Bundle
from edgeconv.export.tasks.evaluate import evaluate
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.plan import read_plan
from edgeconv.sweep.result import Row, SweepResult
from edgeconv.sweep.run import sweep
from examples.digits_data import load

# The networks and sweeps of the module are made once.
pytestmark = pytest.mark.slow

SIZE = 8
SOURCE = """
from torch import nn

def small(width=4):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * width, 10),
    )
"""
PLAN = """
[[model]]
name = "nets.py:small"
args = { width = [4, 12] }
input_size = "1x8x8"
weights = "small-{width}.safetensors"

[export]
formats = ["tflite"]
precisions = ["float32", "int8"]
efforts = [0]
calibration = "train.npz"
calibration_size = 32

[evaluate]
data = "test.npz"
shards = 3
"""
MEASURE = """
[measure]
devices = ["local"]
repetitions = 1
runs = 5
seconds = 0.01
warmup = 0

[question]
max_latency = "10s"
"""
PROGRAM = "from edgeconv.cli import main\nif __name__ == '__main__': main()"
needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None,
    reason="Dask is not installed (extra sweep)",
)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, their data and a plan."""
    folder = tmp_path_factory.mktemp("digits")
    (folder / "nets.py").write_text(SOURCE)
    train, test = load(SIZE)
    train.save(folder / "train.npz")
    test.save(folder / "test.npz")
    made: dict[str, object] = {}
    exec(SOURCE, made)
    for width in (4, 12):
        torch.manual_seed(width)
        network: nn.Module = made["small"](width)  # type: ignore[operator]
        optimizer = torch.optim.Adam(network.parameters(), 1e-2)
        x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
        for _ in range(60):
            optimizer.zero_grad()
            functional.cross_entropy(network(x), y).backward()
            optimizer.step()
        save_file(network.state_dict(), folder / f"small-{width}.safetensors")
        with torch.no_grad():
            right = network(torch.from_numpy(test.x)).argmax(1).numpy() == test.y
        np.save(folder / f"right-{width}.npy", right)
    (folder / "plan.toml").write_text(PLAN)
    (folder / "timed.toml").write_text(PLAN + MEASURE)
    return folder


@pytest.fixture(scope="module")
def undisturbed(digits: Path) -> SweepResult:
    """The sweep in threads of this process."""
    return sweep(read_plan(digits / "plan.toml"), Cache(digits / "cache"), workers=0)


def shown(result: SweepResult) -> list[Row]:
    """The rows without the place of the cache."""
    return [row.model_copy(update={"bundle": None}) for row in result.rows]


def test_the_accuracies_are_those_of_pytorch(digits: Path, undisturbed: SweepResult) -> None:
    rows = undisturbed.rows
    found = {(row.network.args["width"], row.network.precision.value): row for row in rows}
    assert len(found) == 4
    for width in (4, 12):
        right = np.load(digits / f"right-{width}.npy")
        exact, quantized = (found[width, name].accuracy for name in ("float32", "int8"))
        assert exact is not None
        assert quantized is not None
        assert exact.value == right.mean()
        assert exact.samples == len(right)
        # Eight bits cost these small networks a few of 450 digits, at min-max ranges.
        assert abs(quantized.value - exact.value) < 0.05
    assert all(row.failures == () for row in undisturbed.rows)
    assert any(row.on_front for row in undisturbed.rows)


def test_shards_come_to_the_whole(digits: Path, undisturbed: SweepResult) -> None:
    results = (digits / "cache" / "score").glob("*/result.json")
    scores = [json.loads(path.read_text()) for path in results]
    for row in undisturbed.rows:
        assert row.bundle is not None
        whole = evaluate(Bundle.load(row.bundle), digits / "test.npz")
        assert row.accuracy == whole.results[0].decisive
        assert json.loads(whole.model_dump_json()) in scores


def test_nothing_is_done_twice(digits: Path, undisturbed: SweepResult) -> None:
    cache = Cache(digits / "cache")
    before = inodes(cache)
    shown: list[tuple[int, int]] = []
    plan = read_plan(digits / "plan.toml")
    again = sweep(plan, cache, lambda _, *done: shown.append(done), workers=0)
    assert {total for _, total in shown} == {shown[-1][0]}  # known from the start
    after = inodes(cache)
    assert after == before
    assert again.rows == undisturbed.rows


def test_the_command_measures_and_finds_the_best(
    digits: Path, undisturbed: SweepResult, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-c", PROGRAM, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, check=True, text=True, stdout=subprocess.PIPE
        ).stdout

    cache = ("--cache", str(digits / "cache"))
    plan = str(digits / "timed.toml")
    estimated = run("sweep", plan, "--dry-run", "--json", *cache)
    assert len(json.loads(estimated)["exports"]) == 4
    table = run("sweep", plan, "--all", "--workers", "0", *cache)
    assert len(table.splitlines()) == 5
    assert max(map(len, table.splitlines())) <= 80
    assert "top-1" in table
    result = SweepResult.load(tmp_path / "sweep.json")
    assert all(row.latency_ns is not None and row.memory_bytes for row in result.rows)
    best = run("sweep", "best", "-o", "deployed").strip()
    top = max(row.accuracy.value for row in result.rows if row.accuracy is not None)
    chosen = json.loads(run("sweep", "best", "--json"))["best"]
    assert chosen["accuracy"]["value"] == top
    assert best == f"deployed/{chosen['file']}"
    assert Bundle.load(tmp_path / "deployed").manifest.model_args["width"] == 12
    smallest = min(row.bytes for row in result.rows if row.bytes is not None)
    limited = json.loads(run("sweep", "best", "--json", "--max-size", f"{smallest}B"))["best"]
    assert limited["bytes"] == smallest
    command = [sys.executable, "-c", PROGRAM, "sweep", "best", "--max-latency", "1ns"]
    refused = subprocess.run(command, cwd=tmp_path, check=False, text=True, stderr=subprocess.PIPE)
    assert refused.returncode == 1
    assert "no file keeps to the limits" in refused.stderr


@needs_dask
def test_killed_sweeps_go_on_and_end_as_if_undisturbed(
    digits: Path, undisturbed: SweepResult, tmp_path: Path
) -> None:
    """The scheduler and all else are killed in the first sweep, a worker in the second."""
    results = tmp_path / "cache"
    with started(digits / "plan.toml", tmp_path) as first:
        wait_for(results, 2, first)
        os.killpg(first.pid, signal.SIGKILL)
    kept = {entry.path.name for entry in Cache(results).entries()}
    assert len(kept) >= 2
    assert not (tmp_path / "sweep.json").exists()
    with started(digits / "plan.toml", tmp_path) as second:
        wait_for(results, len(kept) + 1, second)
        os.kill(workers_of(second)[0], signal.SIGKILL)
        assert second.wait(400) == 0
    assert shown(SweepResult.load(tmp_path / "sweep.json")) == shown(undisturbed)
    assert kept <= {entry.path.name for entry in Cache(results).entries()}


def inodes(cache: Cache) -> dict[Path, int]:
    return {entry.path: (entry.path / "job.json").stat().st_ino for entry in cache.entries()}


def started(plan: Path, folder: Path) -> subprocess.Popen[bytes]:
    """The command on two Dask workers, in a process group of its own."""
    return subprocess.Popen(
        [
            *(sys.executable, "-c", PROGRAM, "sweep", str(plan), "--workers", "2"),
            *("--cache", str(folder / "cache"), "--quiet"),
        ],
        cwd=folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )


def wait_for(results: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 400
    while len(list(Cache(results).entries())) < count:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.02)


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    found = []
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return [pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_clock_that_was_set_back_drops_nothing(
    digits: Path, undisturbed: SweepResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a sweep used just now seemed to be older than the sweep, and went if room was short."""
    times = iter([time.time() + 3600])  # when it began; from then on the clock is right
    clocks = SimpleNamespace(time=lambda: next(times, time.time()), monotonic=time.monotonic)
    monkeypatch.setattr("edgeconv.sweep.run.time", clocks)
    monkeypatch.setenv("EDGECONV_MAX_CACHE_BYTES", "1")
    cache = Cache(digits / "cache")
    sweep(read_plan(digits / "plan.toml"), cache, workers=0)
    kept = Counter(entry.kind for entry in cache.entries())
    assert (kept["export"], kept["score"]) == (4, 4)  # the parts of scores were not used again
