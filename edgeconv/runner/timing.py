"""Latencies: the warm-up and the measurement."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from edgeconv.runner.events import Events
from edgeconv.runner.request import Request
from edgeconv.runner.system import conditions, watts

BATCH_NS = 250_000_000  # what a sudden death may lose
BATCH_RUNS = 4096
WARMUP_ROUNDS = 16  # a round is this part of the warm-up time
LEAST_ROUNDS = 8  # before their quarters are compared
NOISY_ROUNDS = 32  # before quarters are compared whose noise could hide a trend
WARMUP_LIMIT = 24  # an unstable warm-up ends after this many times its time


def timed(infer: Callable[[], object], runs: int) -> list[int]:
    """Return the duration of each of ``runs`` inferences in nanoseconds."""
    clock = time.perf_counter_ns
    samples = [0] * runs
    for index in range(runs):
        begin = clock()
        infer()
        samples[index] = clock() - begin
    return samples


def runs_within(nanoseconds: float, sample: float) -> int:
    """Return how many inferences of ``sample`` ns fill the time: 1 to BATCH_RUNS."""
    return max(1, min(BATCH_RUNS, int(nanoseconds / max(sample, 1))))


def warm_up(infer: Callable[[], object], first: int, request: Request) -> dict[str, Any]:
    """Infer until time and runs are reached and nothing changes any more."""
    begin = time.perf_counter_ns()
    wanted = request.warmup_seconds * 1e9
    limit = WARMUP_LIMIT * wanted
    runs, elapsed, median, stable = 0, 0, float(first), False
    rounds: list[float] = []
    while wanted or request.warmup_runs:
        samples = timed(infer, runs_within(wanted / WARMUP_ROUNDS, median))
        runs += len(samples)
        elapsed = time.perf_counter_ns() - begin
        median = statistics.median(samples)
        rounds.append(median)
        stable = is_steady(rounds, request.stability)
        enough = elapsed >= wanted and runs >= request.warmup_runs
        over = elapsed >= max(limit, request.max_seconds * 1e9)
        if over or (enough and (stable or elapsed >= limit)):
            break
    return {"runs": runs, "ns": elapsed, "stable": stable, "median_ns": int(median)}


def is_steady(rounds: Sequence[float], stability: float) -> bool:
    """Return whether the third quarter of the rounds took as long as the last.

    A slow trend changes little from one round to the next, but much from quarter to quarter, and
    the quarters grow until it is over. What the rounds' noise makes is no trend.
    """
    if len(rounds) < LEAST_ROUNDS:
        return False
    quarter = len(rounds) // 4
    before = statistics.median(rounds[-2 * quarter : -quarter])
    last = statistics.median(rounds[-quarter:])
    steps = [(b - a) ** 2 for a, b in zip(rounds, rounds[1:])]
    noise = math.sqrt(statistics.fmean(steps) / quarter)  # of the difference of two means
    if noise > stability * before / 2 and len(rounds) < NOISY_ROUNDS:
        return False
    return abs(last - before) <= max(stability * before, noise)


def steady_state(
    infer: Callable[[], object], median: float, request: Request, emit: Events
) -> dict[str, Any]:
    """Infer and report batches until runs AND seconds are reached, or the time is up."""
    begin = time.perf_counter_ns()
    runs, elapsed, reading = 0, 0, request.reading_seconds * 1e9
    while True:
        missing = max(request.min_seconds * 1e9 - elapsed, (request.min_runs - runs) * median)
        missing = min(missing, request.max_seconds * 1e9 - elapsed)
        samples = timed(infer, runs_within(min(BATCH_NS, missing), median))
        emit("samples", ns=samples)
        runs += len(samples)
        elapsed = time.perf_counter_ns() - begin
        median = statistics.median(samples)
        complete = runs >= request.min_runs and elapsed >= request.min_seconds * 1e9
        over = complete or elapsed >= request.max_seconds * 1e9
        if request.reading_seconds and (elapsed >= reading or over):
            power = watts() if request.power else None
            emit("reading", ns=elapsed, conditions=conditions(), watts=power)
            reading = elapsed + request.reading_seconds * 1e9
        if over:
            return {"runs": runs, "ns": elapsed, "complete": complete}
