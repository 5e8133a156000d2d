"""What accuracy means: one file per task, and how a task is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeconv.errors import UsageError
from edgeconv.export.tasks.classification import Classification
from edgeconv.export.tasks.detection import Detection
from edgeconv.export.tasks.embeddings import Embeddings
from edgeconv.export.tasks.own import OwnMetric
from edgeconv.export.tasks.regression import Regression
from edgeconv.export.tasks.segmentation import Segmentation
from edgeconv.export.tasks.task import Task
from edgeconv.near_names import did_you_mean

__all__ = ["TASKS", "Task", "open_task"]

TASKS: dict[str, Callable[[], Task[Any, Any]]] = {
    "classification": Classification,
    "segmentation": Segmentation,
    "regression": Regression,
    "keypoints": Regression,
    "embeddings": Embeddings,
    "detection": Detection,
}


def open_task(name: str) -> Task[Any, Any]:
    """The task of a name.

    Args:
        name: One of ``TASKS``, ``file.py:metric`` for a function as own.py describes it, or
            ``detection:file.py:decode`` for one as detection.py does.

    Raises:
        UsageError: There is no such task.
    """
    if name.startswith("detection:"):
        return Detection(name.partition(":")[2])
    if ":" in name:
        return OwnMetric(name)
    if name not in TASKS:
        hint = did_you_mean(name, TASKS, f"name one of {', '.join(TASKS)}, or file.py:metric")
        raise UsageError(f"there is no task {name!r}", hint=hint)
    return TASKS[name]()
