"""Whether a network and labeled samples fit a task, found out before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeconv.bundle import Manifest
from edgeconv.errors import NoSamples
from edgeconv.export.data.batches import join
from edgeconv.export.data.samples import Sample, batch_size, unread
from edgeconv.export.tasks.task import Arrays, Task, of_batch


def try_task(
    task: Task[Any, Any],
    data: Any,
    truth: Path | None,
    manifest: Manifest,
    network: Callable[[Sample], Arrays],
) -> None:
    """Hold the first usable sample against what the network gives for it.

    Args:
        task: The task.
        data: Labeled samples that it takes.
        truth: What is true of them, where that lies elsewhere.
        manifest: Describes the network.
        network: Computes its outputs from one batch.

    Raises:
        UsageError: The outputs do not fit the task, or there is no such data.
        DataError: The data, or an output, does not fit the task.
    """
    labeled = task.open(data, truth, manifest)
    first = next(labeled.pairs, None)
    if first is None:
        raise NoSamples(
            f"{data} holds no usable sample{unread(labeled.skipped)}", hint="check the files"
        )
    sample, true = first
    batch = batch_size(manifest.inputs) or 1
    outputs = network(join([sample], batch))
    task.count([of_batch(output, batch, 1) for output in outputs], [true])
