"""The warm-up, under a clock of our own."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeconv.device.messages import RunRequest
from edgeconv.runner import system, timing
from edgeconv.runner.request import Request


class Clock:
    """A machine whose inferences take as long as a function of the time says."""

    def __init__(self, latency: Callable[[float], float], noise: float = 0.0) -> None:
        self.now = 0
        self.latency = latency
        self.noise = noise
        self.random = np.random.default_rng(1)

    def infer(self) -> None:
        late = 1 + self.noise * abs(float(self.random.normal()))
        self.now += round(1e9 * self.latency(self.now / 1e9) * late)

    def warm_up(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
        monkeypatch.setattr(timing.time, "perf_counter_ns", lambda: self.now)
        request = Request(**RunRequest(model="m", warmup_runs=3).model_dump(mode="json"))
        return timing.warm_up(self.infer, 1_000_000, request)


@pytest.mark.parametrize("noise", [0.0, 0.005, 0.02])
@pytest.mark.parametrize("constant", [0.2, 1.0, 2.0])
@pytest.mark.parametrize("size", [0.1, -0.1])
def test_a_slow_trend_is_not_steady(
    monkeypatch: pytest.MonkeyPatch, noise: float, constant: float, size: float
) -> None:
    """10 % with a time constant of 2 s were accepted after half a second, 6 % too high."""
    clock = Clock(lambda t: 1e-3 * (1 + size * math.exp(-t / constant)), noise)
    found = clock.warm_up(monkeypatch)
    assert found["stable"]
    # 1 % is what the noise of a round's median (31 inferences) hides at most.
    assert abs(clock.latency(clock.now / 1e9) / 1e-3 - 1) < 0.01


@pytest.mark.parametrize("latency", [1e-4, 1e-3, 2e-2])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_steady_machine_does_not_wait(
    monkeypatch: pytest.MonkeyPatch, latency: float, noise: float
) -> None:
    clock = Clock(lambda t: latency, noise)
    assert clock.warm_up(monkeypatch)["stable"]
    # 32 rounds, of two inferences if they take 20 ms; and a few more, by chance.
    assert clock.now < 2.5e9


def test_a_machine_that_never_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(lambda t: 1e-3 * (1 + t / 10))
    found = clock.warm_up(monkeypatch)
    assert not found["stable"]
    assert 12e9 <= clock.now < 13e9  # 24 times half a second


MOUNT = "30 24 0:26 {root} {place} rw,nosuid shared:4 - {kind} none rw{options}"


def test_a_quota_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"kind": "cgroup", "options": ",cpuacct,cpu"}
    files = {
        "/proc/self/cgroup": "4:cpu,cpuacct:/box\n3:memory:/other\n0::/a/b\n",
        "/proc/self/mountinfo": "\n".join(
            [
                MOUNT.format(root="/", place="/sys/fs/cgroup", kind="cgroup2", options=""),
                MOUNT.format(root="/", place="/sys/fs/cgroup/cpu", **old),
                MOUNT.format(root="/", place="/tmp", kind="tmpfs", options=""),
            ]
        ),
        "/sys/fs/cgroup/a/cpu.max": "150000 100000",
        "/sys/fs/cgroup/cpu.max": "max 100000",
        "/sys/fs/cgroup/a/cpu.stat": "usage_usec 7\nnr_throttled 3\nthrottled_usec 2500000",
        "/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "-1",
        "/sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000",
    }
    monkeypatch.setattr(system, "read_text", files.get)
    assert system.cpu_quota() == 1.5
    assert system.stopped_seconds() == 2.5
    files["/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us"] = "50000"
    files["/sys/fs/cgroup/cpu/box/cpu.stat"] = "nr_periods 9\nthrottled_time 4000000000"
    assert system.cpu_quota() == 0.5
    assert system.stopped_seconds() == 4.0
    files.clear()
    assert system.cpu_quota() is None
    assert system.stopped_seconds() == 0.0


@pytest.mark.parametrize(
    ("group", "root", "place", "kind", "folder"),
    [
        # Docker: version 1 mounts the container's group, and the process sees the host's path.
        ("7:cpuacct,cpu:/docker/1f", "/docker/1f", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", ""),
        # A namespace of control groups hides the path.
        ("0::/", "/", "/sys/fs/cgroup", "cgroup2", ""),
        # What was mounted before this process moved lies above its own root.
        ("0::/../sibling", "/pod", "/sys/fs/cgroup", "cgroup2", ""),
        # Systemd's hybrid layout.
        ("0::/user.slice", "/", "/sys/fs/cgroup/unified", "cgroup2", "/user.slice"),
    ],
)
def test_where_a_container_sees_its_quota(
    monkeypatch: pytest.MonkeyPatch, group: str, root: str, place: str, kind: str, folder: str
) -> None:
    options = ",cpu,cpuacct" if kind == "cgroup" else ""
    limits = (
        {"cpu.cfs_quota_us": "25000", "cpu.cfs_period_us": "100000"}
        if kind == "cgroup"
        else {"cpu.max": "25000 100000"}
    )
    files = {
        "/proc/self/cgroup": group,
        "/proc/self/mountinfo": MOUNT.format(root=root, place=place, kind=kind, options=options),
        **{f"{place}{folder}/{name}": value for name, value in limits.items()},
    }
    monkeypatch.setattr(system, "read_text", files.get)
    assert system.cpu_quota() == 0.25


OLD_GROUPS = Path("/sys/fs/cgroup/cpu")
BUSY = """
import json, os, sys, time
from pathlib import Path
from edgeconv.runner import system
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
begin, before = time.monotonic(), system.stopped_seconds()
while time.monotonic() < begin + 0.5:
    pass
print(json.dumps([system.cpu_quota(), system.stopped_seconds() - before]))
"""


@pytest.mark.skipif(
    not os.access(OLD_GROUPS / "cgroup.procs", os.W_OK),
    reason="needs version 1 of control groups, and the right to make some",
)
def test_a_quota_of_the_kernel() -> None:
    """A process that may use a fiftieth of a CPU is stopped for most of the time."""
    group = OLD_GROUPS / f"edgeconv-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cpu.cfs_quota_us").write_text("2000")
        done = subprocess.run(
            [sys.executable, "-c", BUSY, group], capture_output=True, text=True, check=True
        )
        quota, stopped = json.loads(done.stdout)
    finally:
        group.rmdir()
    assert quota == 0.02
    assert stopped > 0.2  # of half a second; little of the CPU is enough for that


SUSPENDED = "from edgeconv.runner import system; print(system.suspended_seconds())"


def test_a_suspended_system() -> None:
    """A namespace of clocks looks like a system that was suspended for 1000 s more."""
    asleep = ("unshare", "--time", "--fork", "--boottime", "1000")
    can = subprocess.run([*asleep, "true"], capture_output=True, check=False)
    if can.returncode != 0:
        pytest.skip("needs namespaces of clocks, and the right to make some")
    here, there = (
        float(subprocess.check_output([*before, sys.executable, "-c", SUSPENDED]))
        for before in ((), asleep)
    )
    # This machine itself may be suspended between the two, but hardly for ten seconds.
    assert there - here == pytest.approx(1000, abs=10)
