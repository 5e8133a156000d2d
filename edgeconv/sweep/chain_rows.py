"""What a sweep found of its chains: thresholds on one half of the data, figures on the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edgeconv.bench.result import Interval
from edgeconv.bundle import Format
from edgeconv.errors import EdgeconvError
from edgeconv.evaluation import top1_figure
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.chain_row import ChainRow, StageFile
from edgeconv.sweep.confidence import Confidence
from edgeconv.sweep.driver import Candidate
from edgeconv.sweep.expected import expected_cost
from edgeconv.sweep.network import Network
from edgeconv.sweep.plan import EarlyExits, Plan
from edgeconv.sweep.result import Row, rows_of_candidate
from edgeconv.sweep.stages import Exits
from edgeconv.sweep.thresholds import exits_taken, find_thresholds
from edgeconv.sweep.work import exits_of

_LEAST_SAMPLES = 2  # one to find thresholds on, one to report

Place = tuple[Format | None, str | None, int | None]


def chain_rows(candidates: Sequence[Candidate], plan: Plan, cache: Cache) -> Iterator[ChainRow]:
    """The rows of all chains, in the order of their exports."""
    chains: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        if candidate.job.chain is not None:
            chains.setdefault(candidate.job.chain, []).append(candidate)
    if plan.early_exit is not None:
        for stages in chains.values():
            stages.sort(key=lambda candidate: candidate.job.stage)
            yield from _of_chain(stages, plan.early_exit, cache)


def _of_chain(stages: Sequence[Candidate], asked: EarlyExits, cache: Cache) -> Iterator[ChainRow]:
    network = Network.of(stages[0].job)
    found = [list(rows_of_candidate(stage, cache)) for stage in stages]
    failures = [
        f"stage {index}: {why}"
        for index, rows in enumerate(found)
        for row in rows
        for why in row.failures
    ]
    exits, why = _exits(stages, cache)
    failures += [] if why is None else [f"early exits: {why}"]
    if exits is not None:
        places = [{_place(row): row for row in rows if row.cost is not None} for rows in found]
        for place in places[0]:
            format = place[0]
            if format in exits.right and all(place in each for each in places):
                files = [each[place] for each in places]
                for measure in asked.confidence:
                    for row in _of_files(files, exits, measure, asked.points):
                        yield row.model_copy(update={"network": network})
    if failures:
        yield ChainRow(network=network, failures=tuple(dict.fromkeys(failures)))


def _place(row: Row) -> Place:
    return row.format, row.device, row.threads


def _exits(stages: Sequence[Candidate], cache: Cache) -> tuple[Exits | None, str | None]:
    """What the exits said, or why that is not known; neither if a stage is missing."""
    (jobs,) = [stage.exits for stage in stages if stage.exits] or [[]]
    failures = {key: why for stage in stages for key, why in stage.failures.items()}
    for job in jobs:
        if job.key() in failures:
            return None, failures[job.key()].message
    if not jobs:
        return None, None
    try:
        exits = Exits.joined([exits_of(job, cache) for job in jobs])
    except EdgeconvError as error:
        return None, error.message
    if min(map(len, exits.right.values())) < _LEAST_SAMPLES:
        return None, f"fewer than {_LEAST_SAMPLES} samples could be read"
    return exits, None


def _of_files(
    files: Sequence[Row], exits: Exits, measure: Confidence, points: int
) -> Iterator[ChainRow]:
    """The rows of the files of a chain on one device.

    Every other sample, from the first, is one to find thresholds on: data is often sorted by class.
    """
    first = files[0]
    assert first.format is not None
    confidence, right = exits.of(first.format, measure)
    costs = [_interval(row) for row in files]
    stages = tuple(
        StageFile(**{name: getattr(row, name) for name in StageFile.model_fields}) for row in files
    )
    found = find_thresholds(
        confidence[::2], right[::2], [cost.value for cost in costs], most=points
    )
    held_out, outcomes = confidence[1::2], right[1::2]
    for thresholds in found:
        taken = exits_taken(held_out, thresholds)
        leave = np.bincount(taken, minlength=len(files))
        ran = np.cumsum(leave[::-1])[::-1]
        expected = expected_cost([int(count) for count in ran], costs)
        is_right = outcomes[np.arange(len(taken)), taken]
        yield ChainRow(
            network=first.network,
            format=first.format,
            stages=stages,
            device=first.device,
            threads=first.threads,
            confidence=measure,
            thresholds=thresholds,
            found_on=len(confidence[::2]),
            accuracy=top1_figure(float(is_right.mean()), len(is_right)),
            shares=tuple(float(count) / len(taken) for count in leave),
            latency_ns=expected if first.latency_ns is not None else None,
            instructions=None if first.latency_ns is not None else expected,
        )


def _interval(row: Row) -> Interval:
    """The cost of a stage; instructions are counted, and known exactly."""
    if row.latency_ns is not None:
        return row.latency_ns
    count = float(row.instructions or 0)
    return Interval(value=count, low=count, high=count)
