"""A chain of three stages on handwritten digits: what a sweep says of it, and what it does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from edgeconv.bundle import Bundle, Format, Precision
from edgeconv.cli import cli
from edgeconv.errors import UsageError
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.chain_row import ChainRow
from edgeconv.sweep.plan import read_plan
from edgeconv.sweep.result import SweepResult
from edgeconv.sweep.run import sweep
from examples.digits_data import load
from support.runtimes import onnx_session, run_onnx, run_tflite

# The networks and sweeps of the module are made once.
pytestmark = pytest.mark.slow

SIZE = 8
STAGES = 3
SOURCE = """
from torch import nn
from edgeconv.models.layers.early_exit import (
    EarlyExitNetwork, ExitHead, ExitStage, LastStage, SingleStage,
)

def conv(inputs, outputs, stride):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU())

def chain(stage=None):
    whole = EarlyExitNetwork(
        [
            ExitStage(conv(1, 8, 2), ExitHead(8, 10)),
            ExitStage(nn.Sequential(conv(8, 24, 1), conv(24, 24, 2)), ExitHead(24, 10)),
        ],
        LastStage(nn.Sequential(conv(24, 48, 1), conv(48, 48, 1)), ExitHead(48, 10)),
    )
    return whole if stage is None else SingleStage(whole, stage)
"""
PLAN = """
[[model]]
name = "nets.py:chain"
args = { stage = [0, 1, 2] }
input_size = "1x8x8"
weights = "chain.safetensors"

[export]
precisions = ["float32", "int8"]
efforts = [0]
calibration = "train.npz"
calibration_size = 32

[evaluate]
data = "test.npz"
shards = 2

[early_exit]
confidence = ["probability", "entropy"]

[measure]
devices = ["local"]
repetitions = 2
runs = 20
seconds = 0.02
warmup = 0
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network, its data and a plan."""
    folder = tmp_path_factory.mktemp("exits")
    (folder / "nets.py").write_text(SOURCE)
    (folder / "plan.toml").write_text(PLAN)
    train, test = load(SIZE)
    train.save(folder / "train.npz")
    test.save(folder / "test.npz")
    network = built()
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    for _ in range(150):
        optimizer.zero_grad()
        sum(functional.cross_entropy(each, y) for each in network(x)).backward()
        optimizer.step()
    save_file(network.state_dict(), folder / "chain.safetensors")
    return folder


@pytest.fixture(scope="module")
def result(digits: Path) -> SweepResult:
    """The sweep in threads of this process."""
    return sweep(read_plan(digits / "plan.toml"), Cache(digits / "cache"), workers=0)


def built() -> nn.Module:
    made: dict[str, Callable[[], nn.Module]] = {}
    exec(SOURCE, made)
    torch.manual_seed(1)
    return made["chain"]()


def runners(row: ChainRow) -> list[Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]]:
    """The runtimes themselves, one for each file."""
    found = []
    for stage in row.stages:
        path = stage.bundle / stage.file
        if row.format is Format.ONNX:
            session = onnx_session(path, fused=True)
            found.append(lambda x, session=session: list(run_onnx(session, x).values()))
        else:
            found.append(lambda x, path=path: list(run_tflite(path, x).values()))
    return found


def simulated(row: ChainRow, digits: Path) -> tuple[list[int], int, int]:
    """Run a chain as a device does, on the samples that no threshold was found on.

    Returns:
        How many left at each exit, how many were right, and how many stages did not run.
    """
    data = np.load(digits / "test.npz")
    stages, leave, right = runners(row), [0] * len(row.stages), 0
    for image, label in zip(data["x"][1::2], data["y"][1::2], strict=True):
        x = image[None] if row.format is Format.ONNX else image[None].transpose(0, 2, 3, 1)
        for exit, run in enumerate(stages):
            outputs = run(x)
            (logits,), features = ([o for o in outputs if o.ndim == n] for n in (2, 4))
            odds = torch.from_numpy(logits[0]).double().softmax(0).numpy()
            sure = odds.max()
            if row.confidence is not None and row.confidence.value == "entropy":
                sure = 1 + (odds * np.log(odds)).sum() / np.log(len(odds))
            threshold = row.thresholds[exit] if exit < STAGES - 1 else 0.0
            if threshold is not None and sure >= threshold:
                leave[exit] += 1
                right += int(logits.argmax() == label)
                break
            (x,) = features
    return leave, right, sum(leave)


def test_the_files_run_as_the_rows_say(digits: Path, result: SweepResult) -> None:
    """Exactly: the same samples leave at the same exits, and as many are right."""
    assert not result.rows
    assert not [row.failures for row in result.chains if row.failures]
    kinds = {(row.network.precision, row.format, row.confidence) for row in result.chains}
    assert len(kinds) == 8
    for kind in kinds:
        rows = [r for r in result.chains if (r.network.precision, r.format, r.confidence) == kind]
        for row in (rows[0], rows[len(rows) // 2], rows[-1]):
            leave, right, samples = simulated(row, digits)
            assert row.accuracy is not None
            assert row.accuracy.samples == samples
            assert row.accuracy.value == right / samples
            assert row.shares == tuple(count / samples for count in leave)
            assert row.found_on == samples


def test_the_expected_latency_is_of_the_stages(result: SweepResult) -> None:
    for row in result.chains:
        times = [stage.latency_ns for stage in row.stages]
        assert row.latency_ns is not None
        assert row.latency_ns.low < row.latency_ns.value < row.latency_ns.high
        upto = np.cumsum([time.value for time in times if time is not None])
        assert row.latency_ns.value == pytest.approx(float(np.dot(row.shares, upto)))


def test_the_front_has_nothing_that_is_beaten(result: SweepResult) -> None:
    front = sorted((r.cost or 0, r.gain or 0) for r in result.chains if r.on_front)
    assert len(front) > 2
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(front))
    best = max(row.gain or 0 for row in result.chains)
    assert front[-1][1] == best
    # It means something: late exits are better, and most digits do not need them.
    alone = min((row for row in result.chains), key=lambda row: row.cost or 0)
    assert best > (alone.gain or 0) + 0.05


def test_exact_files_agree_with_pytorch(digits: Path, result: SweepResult) -> None:
    """The float chain whose every sample leaves at one exit is as right as that exit."""
    from safetensors.torch import load_file

    network = built().eval()
    network.load_state_dict(load_file(digits / "chain.safetensors"))
    data = np.load(digits / "test.npz")
    with torch.no_grad():
        exits = network(torch.from_numpy(data["x"][1::2]))
    right = [float((e.argmax(1).numpy() == data["y"][1::2]).mean()) for e in exits]
    alone = [
        row
        for row in result.chains
        if 1.0 in row.shares and row.network.precision is Precision.FLOAT32
    ]
    assert alone
    for row in alone:
        assert row.accuracy is not None
        assert row.accuracy.value == right[row.shares.index(1.0)]


def test_later_stages_are_calibrated_on_features(result: SweepResult) -> None:
    row = next(row for row in result.chains if row.network.precision is Precision.INT8)
    sources = []
    for stage in row.stages:
        calibration = Bundle.load(stage.bundle).manifest.calibration
        assert calibration is not None
        assert calibration.samples > 0
        assert not calibration.synthetic
        sources.append(calibration.source)
    assert sources == ["train.npz", "features.npy", "features.npy"]


def test_stages_before_are_results_of_their_own(digits: Path, result: SweepResult) -> None:
    """Two float ONNX files give what all later stages of both precisions read."""
    kinds = [entry.kind for entry in Cache(digits / "cache").entries()]
    assert kinds.count("export") == 2 * STAGES + (STAGES - 1)


def test_nothing_is_done_twice(digits: Path, result: SweepResult) -> None:
    cache = Cache(digits / "cache")
    before = {entry.path for entry in cache.entries()}
    shown: list[tuple[int, int]] = []
    plan = read_plan(digits / "plan.toml")
    again = sweep(plan, cache, lambda _, *done: shown.append(done), workers=0)
    assert {total for _, total in shown} == {shown[-1][0]}  # known from the start
    assert again.chains == result.chains
    assert {entry.path for entry in cache.entries()} == before


def test_the_commands(
    digits: Path, result: SweepResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(cli, list(arguments))
        assert done.exit_code == 0, done.output
        return done.stdout

    plan, cache = str(digits / "plan.toml"), ("--cache", str(digits / "cache"))
    planned = run("sweep", plan, "--dry-run", *cache)
    assert [line.split()[:2] for line in planned.splitlines()[1:]] == [
        ["export", "6"],
        ["measure", "6"],
        ["exit", "4"],
    ]
    table = run("sweep", plan, "--all", "--workers", "0", *cache).splitlines()
    assert max(map(len, table)) <= 80
    assert any("expected" in line and "exits" in line for line in table)
    assert SweepResult.load(tmp_path / "sweep.json").chains == result.chains
    files = run("sweep", "best", "--early-exit", "-o", "deployed").splitlines()
    rule = json.loads((tmp_path / "deployed" / "early_exit.json").read_text())
    assert files == [f"deployed/{name}" for name in rule["stages"]]
    assert len(rule["thresholds"]) == STAGES - 1
    chosen = json.loads(run("sweep", "best", "--early-exit", "--json"))["best"]
    assert chosen["accuracy"]["value"] == max(row.gain or 0 for row in result.chains)
    assert chosen["thresholds"] == rule["thresholds"]
    for index in range(STAGES):
        assert Bundle.load(tmp_path / "deployed" / f"stage{index}").manifest.artifacts
    cheapest = min(row.latency_ns.high for row in result.chains if row.latency_ns)
    limit = math.ceil(cheapest)
    limited = json.loads(
        run("sweep", "best", "--early-exit", "--json", "--max-latency", f"{limit}ns")
    )["best"]
    assert limited["latency_ns"]["high"] <= limit
    run("report", "sweep.json", "-o", "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "top-1 (%) of early exits against expected latency (ms) on local" in page
    refused = CliRunner().invoke(cli, ["sweep", "best"])
    assert isinstance(refused.exception, UsageError)
    assert "--early-exit" in refused.exception.hint


@pytest.mark.parametrize(
    ("stages", "why"),
    [
        ("[0, 1]", "early exits: stage 1 is not the last stage: it has 2 outputs"),
        ("[0, 1, 2, 3]", "stage 3: export: stage 2 has 1 outputs, and a stage before the last"),
    ],
)
def test_what_is_no_chain_is_said(
    digits: Path, result: SweepResult, tmp_path: Path, stages: str, why: str
) -> None:
    text = PLAN.replace("[0, 1, 2]", stages).replace(', "int8"', "")
    (digits / "wrong.toml").write_text(text)
    found = sweep(read_plan(digits / "wrong.toml"), Cache(digits / "cache"), workers=0)
    (row,) = found.chains
    assert row.cost is None
    assert [each for each in row.failures if each.startswith(why)]
    (tmp_path / "sweep.json").write_text(found.model_dump_json())
    assert SweepResult.load(tmp_path / "sweep.json") == found
    with pytest.raises(UsageError, match="no such files"):
        found.best_chain(found.limits)
