"""The functions of docs/evaluation.md give true boxes of what other networks give."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv.export.tasks.found_boxes import decoded

PAGE = Path(__file__).parents[3] / "docs" / "evaluation.md"
# The size that the page's DetectionPostProcess has.
SIZE = 320
BOXES = np.array([[10, 20, 60, 90], [100, 30, 180, 60], [12, 21, 62, 95]], np.float32)
SCORES = np.array([0.9, 0.8, 0.6], np.float32)
CLASSES = np.array([1, 0, 1])


@pytest.fixture(scope="module")
def functions() -> dict[str, Callable[[list[Any]], Any]]:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (code,) = (block for block in blocks if block.startswith("# boxes.py"))
    found: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), found)
    return found


def test_yolo(functions: dict[str, Callable[[list[Any]], Any]]) -> None:
    """The third box overlaps the first, of the same class; a cell without a figure has no box."""
    scores = np.zeros((4, 2), np.float32)
    scores[np.arange(3), CLASSES] = SCORES
    boxes = np.vstack([BOXES, [[0, 0, 50, 50]]])
    rows = np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2], scores])
    found = decoded(functions["yolo"], [rows.T])
    assert np.allclose(found.corners, BOXES[:2])
    assert found.classes.tolist() == [1, 0]
    assert np.allclose(found.scores, SCORES[:2])
    other_class = np.hstack([rows[:, :4], scores[:, ::-1]])
    other_class[2, 4:] = other_class[2, [5, 4]]
    assert len(decoded(functions["yolo"], [other_class.T]).scores) == 3
    assert len(decoded(functions["yolo"], [rows[3:].T]).scores) == 0


@pytest.mark.parametrize("count", [np.float32(2), np.array([2.0])])
def test_detection_postprocess(
    functions: dict[str, Callable[[list[Any]], Any]], count: Any
) -> None:
    outputs = [BOXES[:, [1, 0, 3, 2]] / SIZE, CLASSES.astype(np.float32), SCORES, count]
    found = decoded(functions["postprocess"], outputs)
    assert np.allclose(found.corners, BOXES[:2], atol=1e-4)  # of numbers up to 320 in float32
    assert found.classes.tolist() == [1, 0]


def test_torchvision(functions: dict[str, Callable[[list[Any]], Any]]) -> None:
    found = decoded(functions["torchvision"], [BOXES, CLASSES + 1, SCORES])
    assert np.allclose(found.corners, BOXES)
    assert found.classes.tolist() == CLASSES.tolist()
