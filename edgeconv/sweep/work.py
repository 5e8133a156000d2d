"""Carry out one job, in any process that sees the cache."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgeconv.bench.instructions import CountOptions, CountResult, count
from edgeconv.bench.protocol import measure
from edgeconv.bench.result import BenchResult
from edgeconv.bundle import Bundle
from edgeconv.device import open_device
from edgeconv.device.dispatch import Failure
from edgeconv.device.emulated import EmulatedDevice
from edgeconv.errors import EdgeconvError, IncompleteExport, first_line
from edgeconv.evaluation import Evaluation
from edgeconv.log_lines import warnings_about
from edgeconv.miscounted import tried_again
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.jobs import (
    CalibrateJob,
    CountJob,
    ExitJob,
    ExportJob,
    Job,
    MeasureJob,
    ScoreJob,
    ShardJob,
)
from edgeconv.sweep.stages import Exits, count_exits, exits_in, inputs_of_stage
from edgeconv.versioned import Versioned

logger = logging.getLogger(__name__)

BUNDLE = "bundle"
RESULT = "result.json"
COUNTS, ABOUT = "counts.npz", "counts.json"
FAILURES = "failures.json"
SURVEYED = "surveyed.npz"

V = TypeVar("V", bound=Versioned)


def run_job(job: Job, cache: Cache) -> Failure | None:
    """Carry out a job unless its result is there; None if it has one now."""
    if cache.find(job.kind, job.key()) is not None:
        return None
    try:
        tried_again(lambda: _carry_out(job, cache))
    except EdgeconvError as error:
        return Failure.of(error)
    except Exception as error:  # a job stops no other, whatever comes out of a user's code
        logger.debug("a job failed", exc_info=True)
        return Failure(f"{type(error).__name__}: {first_line(error)}")
    return None


def _carry_out(job: Job, cache: Cache) -> None:
    with cache.writing(job.kind, job.key()) as folder:
        _write(job, cache, folder)


def _write(job: Job, cache: Cache, folder: Path) -> None:
    with warnings_about(_subject(job)):
        if isinstance(job, CalibrateJob):
            _calibrate(job, cache, folder)
        elif isinstance(job, ExportJob):
            _export(job, cache, folder)
        elif isinstance(job, MeasureJob):
            files = _files(bundle_of(job.bundle, cache))
            device = open_device(job.device)
            measure(files, job.options, device, optional=files).save(folder / RESULT)
        elif isinstance(job, CountJob):
            files = _files(bundle_of(job.bundle, cache))
            board = EmulatedDevice.parse(job.device)
            count(files, CountOptions(), board, optional=files).save(folder / RESULT)
        elif isinstance(job, ShardJob):
            _count_shard(job, cache, folder)
        elif isinstance(job, ExitJob):
            count_exits(job, [bundle_of(key, cache) for key in job.bundles], folder)
        else:
            _score(job, cache).save(folder / RESULT)


def _subject(job: Job) -> str:
    """The network, whatever its precision; the device; or the data, whatever the shard."""
    if isinstance(job, (MeasureJob, CountJob)):
        return job.device
    if not isinstance(job, (CalibrateJob, ExportJob)):
        return job.data.name
    args = [f"{name}={value}" for name, value in job.args.items()]
    return " ".join([job.model.rpartition("/")[2], *args])


def _calibrate(job: CalibrateJob, cache: Cache, folder: Path) -> None:
    from edgeconv.export.api import calibrate_part
    from edgeconv.export.quantize.accuracy.surveyed_file import save_surveyed

    with _request(job, cache, folder) as request:
        found = calibrate_part(request, job.index, job.shards)
    if found is not None:
        save_surveyed(folder / SURVEYED, found)


def _surveyed(folder: Path) -> Any:
    """What a part of a calibration showed; None where the network needs none."""
    from edgeconv.export.api import load_part

    file = folder / SURVEYED
    return load_part(file) if file.exists() else None


def _export(job: ExportJob, cache: Cache, folder: Path) -> None:
    from edgeconv.export.api import carry_out
    from edgeconv.export.quantize.accuracy.surveyed_file import merged

    parts = [_surveyed(_found(cache, "calibrate", part.key())) for part in job.parts()]
    surveyed = merged(parts) if parts and None not in parts else None
    failures: dict[str, str] = {}
    try:
        with _request(job, cache, folder) as request:
            carry_out(request, surveyed)
    except IncompleteExport as error:
        failures = {name: each.message for name, each in error.failures.items()}
    (folder / FAILURES).write_text(json.dumps(failures), "utf-8")


@contextmanager
def _request(job: CalibrateJob | ExportJob, cache: Cache, folder: Path) -> Iterator[Any]:
    """What an export is asked for."""
    from edgeconv.export.quantize_options import QuantizeOptions
    from edgeconv.export.request import ExportRequest
    from edgeconv.export.target import resolve_request

    with inputs_of_stage(job, partial(_exported, cache)) as (input_size, calibration):
        yield resolve_request(
            ExportRequest(
                job.model,
                out=folder / BUNDLE,
                formats=job.formats,
                target=job.target,
                precisions=(job.precision,),
                model_args=job.args or None,
                input_size=input_size,
                weights=job.weights,
                pretrained=job.pretrained,
                calibration=calibration,
                calibration_size=job.calibration_size,
                quantization=QuantizeOptions(effort=job.effort, range_method=job.range_method),
            )
        )


def _exported(cache: Cache, job: ExportJob) -> Bundle:
    """The bundle of an export, which is made unless it is there.

    Raises:
        EdgeconvError: It cannot be made.
    """
    failure = None if is_done(job, cache) else run_job(job, cache)
    if failure is not None:
        raise EdgeconvError(failure.message, failure.hint)
    return bundle_of(job.key(), cache)


def _count_shard(job: ShardJob, cache: Cache, folder: Path) -> None:
    from edgeconv.export.tasks import evaluate as evaluation
    from edgeconv.export.tasks import open_task
    from edgeconv.export.tasks.task import Rows

    bundle, task = bundle_of(job.bundle, cache), open_task(job.task)
    labeled = evaluation.open_labeled(bundle, job.data, task, job.truth)
    first, end = (labeled.total * place // job.shards for place in (job.index, job.index + 1))
    found = evaluation.count(bundle, labeled, task, part=range(first, end))
    of_file = [c.arrays if isinstance(c, Rows) else (c,) for c in found.of_file]
    np.savez(folder / COUNTS, *(column for columns in of_file for column in columns))
    about = {
        "runtimes": dict(found.runtimes),
        "samples": found.samples,
        "skipped": list(found.skipped),
        "columns": [
            len(counts.arrays) if isinstance(counts, Rows) else None for counts in found.of_file
        ],
    }
    (folder / ABOUT).write_text(json.dumps(about), "utf-8")


def _score(job: ScoreJob, cache: Cache) -> Evaluation:
    from edgeconv.export.tasks import open_task
    from edgeconv.export.tasks.evaluate import conclude, open_labeled

    bundle, task = bundle_of(job.bundle, cache), open_task(job.task)
    labeled = open_labeled(bundle, job.data, task, job.truth)
    parts = [_counts(_found(cache, "shard", part.key())) for part in job.parts()]
    return conclude(bundle, labeled, task, parts, job.data)


def _counts(folder: Path) -> Any:
    from edgeconv.export.tasks.evaluate import Counts
    from edgeconv.export.tasks.task import Rows

    about = json.loads((folder / ABOUT).read_text("utf-8"))
    with np.load(folder / COUNTS, allow_pickle=False) as stored:
        columns = iter([stored[f"arr_{index}"] for index in range(len(stored.files))])
    of_file = [
        next(columns) if count is None else Rows(tuple(islice(columns, count)))
        for count in about["columns"]
    ]
    return Counts(about["runtimes"], of_file, about["samples"], about["skipped"])


def bundle_of(key: str, cache: Cache) -> Bundle:
    """The bundle that the export of this key made.

    Raises:
        EdgeconvError: It is not there, or damaged.
    """
    return Bundle.load(_found(cache, "export", key) / BUNDLE)


def failures_of(key: str, cache: Cache) -> dict[str, str]:
    """Why files of an export are missing in its bundle, by their names."""
    found: dict[str, str] = json.loads((_found(cache, "export", key) / FAILURES).read_text("utf-8"))
    return found


def result_of(kind: type[V], job: Job, cache: Cache) -> V:
    """The result of a job that was carried out.

    Raises:
        EdgeconvError: It is not there, or damaged.
    """
    return kind.load(_found(cache, job.kind, job.key()) / RESULT)


def exits_of(job: ExitJob, cache: Cache) -> Exits:
    """What the exits of a chain said of a part of the data.

    Raises:
        EdgeconvError: It is not there, or damaged.
    """
    return exits_in(_found(cache, job.kind, job.key()))


_CHECKS: dict[type[Any], Callable[[Any, Cache], object]] = {
    CalibrateJob: lambda job, cache: _surveyed(_found(cache, "calibrate", job.key())),
    ExportJob: lambda job, cache: (bundle_of(job.key(), cache), failures_of(job.key(), cache)),
    MeasureJob: partial(result_of, BenchResult),
    CountJob: partial(result_of, CountResult),
    ShardJob: lambda job, cache: _counts(_found(cache, "shard", job.key())),
    ScoreJob: partial(result_of, Evaluation),
    ExitJob: exits_of,
}


def is_done(job: Job, cache: Cache) -> bool:
    """Whether a job has a sound result; a damaged one is removed."""
    key = job.key()
    if cache.find(job.kind, key) is None:
        return False
    with suppress(EdgeconvError, OSError, ValueError, KeyError, TypeError):
        _CHECKS[type(job)](job, cache)
        return True
    cache.drop(job.kind, key)
    return False


def _found(cache: Cache, kind: str, key: str) -> Path:
    found = cache.find(kind, key)
    if found is None:
        raise EdgeconvError(
            f"the cache {cache.folder} lost a result while the sweep ran",
            hint="raise EDGECONV_MAX_CACHE_BYTES and sweep again",
        )
    return found


def _files(bundle: Bundle) -> list[Path]:
    return [bundle.file(artifact) for artifact in bundle.manifest.artifacts]
