"""A sweep over two emulated boards, whose cluster is killed at random moments.

Figures of one sweep are equal to those of another where they are computed: files, errors and
accuracies, to the bit. Instructions are counted anew and repeat to 0.1 %; networks so small also
show steps of 31 instructions. What a killed sweep had finished is not made again, so the
figures of a resumed sweep are those of its parts.

A count takes seconds of an emulator. The undisturbed sweep therefore counts eight of 48 files anew,
which are drawn at random, and finds the other counts in its cache.
"""

from __future__ import annotations

import importlib.util
import logging
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from edgeconv.bench.compare.instructions import REPEATS_TO
from edgeconv.device.emulated import BOARDS, Server
from edgeconv.device.emulated.requirements import missing_packages, session_obstacle
from edgeconv.device.messages import Runtime
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.plan import read_plan
from edgeconv.sweep.result import Row, SweepResult
from edgeconv.sweep.run import sweep
from examples.digits_data import load
from support.dask_cluster import scheduler, worker

MISSING = missing_packages()
OBSTACLE = f"needs {', '.join(MISSING)}" if MISSING else session_obstacle()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.device,
    pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE)),
    pytest.mark.skipif(
        importlib.util.find_spec("distributed") is None,
        reason="Dask is not installed (extra sweep)",
    ),
]

KINDS = ("plain", "separable", "residual", "wide")
# Instructions between two counts of a file, of which eight lay within four such steps. Files of
# different networks, sizes and types differ by thousands.
NOISE = 12 * 31
EVALUATED = 40  # digits
ANEW = 8  # counts of the undisturbed sweep
SOURCE = """
from torch import nn


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return nn.functional.relu(x + self.convolution(x))


def network(kind="plain"):
    body, width = {
        "plain": ([nn.Conv2d(8, 12, 3, padding=1), nn.ReLU()], 12),
        "separable": (
            [nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 16, 1), nn.ReLU()],
            16,
        ),
        "residual": ([Residual(8)], 8),
        "wide": ([nn.Conv2d(8, 24, 3, padding=1), nn.ReLU()], 24),
    }[kind]
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), *body,
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10),
    )
"""
PLAN = f"""
[[model]]
name = "nets.py:network"
args = {{ kind = {list(KINDS)} }}
input_size = ["1x8x8", "1x16x16"]
weights = "{{kind}}.safetensors"

[export]
formats = ["tflite"]
precisions = ["float32", "float16", "int8"]
efforts = [0]
calibration = "digits"
calibration_size = 16

[count]
devices = ["emulated:pi4", "emulated:pi5"]

[evaluate]
data = "digits"
"""
PROGRAM = "from edgeconv.cli import main\nif __name__ == '__main__': main()"
SECONDS = 900  # for what takes a minute where nothing else runs


@pytest.fixture(scope="module", autouse=True)
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The boards are the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield
        for board in BOARDS.values():
            Server(board).down()


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four networks trained on images of digits of both sizes, some other digits, and the plan."""
    folder = tmp_path_factory.mktemp("digits")
    (folder / "nets.py").write_text(SOURCE)
    made: dict[str, object] = {}
    exec(SOURCE, made)
    of_size = {size: load(size) for size in (8, 16)}
    for kind in KINDS:
        torch.manual_seed(0)
        network = made["network"](kind)  # type: ignore[operator]
        optimizer = torch.optim.Adam(network.parameters(), 2e-2)
        for step in range(60):
            train = of_size[(8, 16)[step % 2]][0]
            optimizer.zero_grad()
            x = torch.from_numpy(train.x[:400]) / 2 + 0.5  # what the images come to
            functional.cross_entropy(network(x), torch.from_numpy(train.y[:400])).backward()
            optimizer.step()
        save_file(network.state_dict(), folder / f"{kind}.safetensors")
    held_out = of_size[16][1]
    for index in range(EVALUATED):
        place = folder / "digits" / str(held_out.y[index])
        place.mkdir(parents=True, exist_ok=True)
        pixels = (held_out.x[index, 0] * 127.5 + 127.5).round().astype("uint8")
        Image.fromarray(pixels).save(place / f"{index}.png")
    (folder / "plan.toml").write_text(PLAN)
    return folder / "plan.toml"


@pytest.mark.timeout(2 * SECONDS)
def test_a_cluster_killed_at_random_moments(plan: Path, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    logging.getLogger(__name__).warning("moments of seed %d", seed)  # a failure shows it
    moments, cache = random.Random(seed), Cache(tmp_path / "cache")
    with (
        scheduler() as running,
        worker(running.address) as victim,
        worker(running.address),
        sweeping(plan, running.address, tmp_path) as first,
    ):
        wait_for(cache, moments.randint(1, 30), first)
        time.sleep(moments.random())
        victim.kill()
        with worker(running.address):
            wait_for(cache, len(inodes(cache)) + moments.randint(1, 40), first)
            time.sleep(moments.random())
            running.process.kill()
            _, said = first.communicate(timeout=SECONDS)
    assert first.returncode == 1, said
    assert "the Dask scheduler" in said
    assert not (tmp_path / "sweep.json").exists()
    kept = inodes(cache)
    with (
        scheduler() as running,
        worker(running.address),
        worker(running.address),
        sweeping(plan, running.address, tmp_path) as second,
    ):
        _, said = second.communicate(timeout=SECONDS)
        assert second.returncode == 0, said
    resumed = SweepResult.load(tmp_path / "sweep.json")
    assert len(resumed.rows) == 4 * 2 * 3 * 2
    assert kept.items() <= inodes(cache).items()  # nothing was made again

    counts = sorted(entry.path for entry in cache.entries() if entry.kind == "count")
    assert len(counts) == len(resumed.rows)
    for count in moments.sample(counts, len(counts) - ANEW):
        shutil.copytree(count, tmp_path / "undisturbed" / "count" / count.name)
    undisturbed = sweep(read_plan(plan), Cache(tmp_path / "undisturbed"), workers=0)
    assert all(row.failures == () and row.instructions for row in undisturbed.rows)
    gains = {row.accuracy.value for row in undisturbed.rows if row.accuracy is not None}
    assert max(gains) > 0.7  # the networks compute something
    assert len(gains) > 2
    assert [computed(row) for row in resumed.rows] == [computed(row) for row in undisturbed.rows]
    for one, other in zip(resumed.rows, undisturbed.rows, strict=True):
        assert one.instructions is not None
        assert other.instructions is not None
        noise = max(NOISE, REPEATS_TO[Runtime.LITERT] * other.instructions)
        assert abs(one.instructions - other.instructions) <= noise


def computed(row: Row) -> Row:
    """A row without the place of the cache, and without what is counted."""
    return row.model_copy(update={"bundle": None, "instructions": None, "on_front": False})


def inodes(cache: Cache) -> dict[Path, int]:
    return {entry.path: (entry.path / "job.json").stat().st_ino for entry in cache.entries()}


def sweeping(plan: Path, address: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, "sweep", str(plan), "--scheduler", address]
    return subprocess.Popen(
        [*command, "--cache", str(folder / "cache"), "--quiet"],
        cwd=folder,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def wait_for(cache: Cache, count: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + SECONDS
    while len(list(cache.entries())) < count:
        assert process.poll() is None, "it ended before it could be disturbed"
        assert time.monotonic() < end
        time.sleep(0.05)
