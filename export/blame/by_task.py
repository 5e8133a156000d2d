"""What a layer's 8 bits cost in the figure of a task, on labeled samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from edgeconv.errors import NoSamples
from edgeconv.evaluation import Figure
from edgeconv.export.data.batches import in_groups, join
from edgeconv.export.data.samples import Sample, unread
from edgeconv.export.data.truth import Labeled
from edgeconv.export.quantize.float_layers import with_float_layers
from edgeconv.export.runtimes import IntermediateOutputs
from edgeconv.export.tasks.task import Task

# Every layer is run on all of them: enough for a share of a percent.
LABELED_SAMPLES = 256


class TaskMeter:
    """The first figure of a task, for graphs of one network.

    Args:
        task: The task, after it has opened the samples.
        labeled: The samples; 256 of them are taken, from all parts of the data, and stay in memory.
        outputs: The names of the network's outputs.
        batch: How many samples one run takes.

    Raises:
        DataError: There are no readable samples.
    """

    def __init__(
        self, task: Task[Any, Any], labeled: Labeled[Any], outputs: Sequence[str], batch: int
    ) -> None:
        self._task, self._outputs = task, list(outputs)
        self._groups: list[tuple[Sample, list[Any]]] = []
        for group in in_groups(labeled.spread(LABELED_SAMPLES), batch):
            inputs = join([sample for sample, _ in group], batch)
            self._groups.append((inputs, [truth for _, truth in group]))
        if not self._groups:
            raise NoSamples(
                f"the labeled data holds no usable sample{unread(labeled.skipped)}",
                hint="check its files",
            )

    def figure(self, model: ir.Model) -> Figure:
        """The figure of a graph with the network's inputs and outputs."""
        network = IntermediateOutputs(with_float_layers(model), self._outputs)
        parts = [
            self._task.count([output[: len(truths)] for output in network.run(inputs)], truths)
            for inputs, truths in self._groups
        ]
        return self._task.score(self._task.merge(parts), None).figures[0]


def loss(before: Figure, after: Figure) -> float:
    """How much worse a figure became, in its own unit; negative where it became better."""
    change = after.value - before.value
    return -change if before.better == "higher" else change
