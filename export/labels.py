"""The names of the classes, held against the dimension of the outputs that counts classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeconv.bundle import Layout, TensorInfo
from edgeconv.errors import UsageError

# Numbers before the scores of a box: none, its corners, or its corners and how sure it is.
_OF_A_BOX = (0, 4, 5)
_CORNERS = 4


def class_counts(output: TensorInfo) -> tuple[int, ...]:
    """How many classes an output may have: one number, several, or none where it has no scores.

    Scores are [N, C], a map of scores [N, C, H, W] (or [N, H, W, C] by its layout), and those of
    boxes [N, boxes, C] or [N, C, boxes], behind the numbers of each box or without them. A map of
    one channel is a probability, of one class or of two.
    """
    shape = output.shape
    if np.dtype(output.dtype).kind != "f":
        return ()
    if len(shape) in (1, 2):
        return (shape[-1],)
    if len(shape) == 4:
        channels = shape[3 if output.layout is Layout.NHWC else 1]
        return (1, 2) if channels == 1 else (channels,)
    if len(shape) == 3:
        return tuple(size - before for size in shape[1:] for before in _OF_A_BOX if size > before)
    return ()


def choose_labels(
    stated: Sequence[str] | None, card: Sequence[str] | None, outputs: Sequence[TensorInfo]
) -> Sequence[str] | None:
    """The names of the classes: the user's, or those of the network's card where they fit.

    Raises:
        UsageError: The user's do not fit the outputs.
    """
    if stated is None:
        return card if card is not None and _fits(len(card), outputs) else None
    if not _fits(len(stated), outputs):
        found = "; ".join(_described(output) for output in outputs)
        raise UsageError(
            f"there {'is 1 label' if len(stated) == 1 else f'are {len(stated)} labels'}, and the "
            f"network's outputs are {found}",
            hint="give one label per class, in the order of the output",
        )
    return stated


def _fits(count: int, outputs: Sequence[TensorInfo]) -> bool:
    """Whether the first output has so many classes, or else any output of a detector.

    Outputs of integers alone are classes already, and say not how many there are.
    """
    if _have_classes_of_boxes(outputs):
        return True
    first = class_counts(outputs[0]) if outputs else ()
    if first and len(outputs[0].shape) != 3:
        return count in first
    counts = [each for output in outputs for each in class_counts(output)]
    only_integers = all(np.dtype(output.dtype).kind in "iu" for output in outputs)
    return count in counts or (bool(outputs) and only_integers)


def _have_classes_of_boxes(outputs: Sequence[TensorInfo]) -> bool:
    """Whether there are boxes with the score and the class of each, as a number of any size.

    They are outputs [N, M, 4], [N, M] and [N, M], as of TFLite's DetectionPostProcess, the same
    without the batch, as of torchvision, or one output [N, M, 6], as of YOLO's after suppression.
    """
    shapes = [output.shape for output in outputs]
    boxes = [shape[:-1] for shape in shapes if len(shape) in (2, 3) and shape[-1] == _CORNERS]
    if any(shapes.count(each) >= 2 for each in boxes):
        return True
    return len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][2] == _CORNERS + 2


def _described(output: TensorInfo) -> str:
    shape = f"{output.name!r} of {list(output.shape)}"
    counts = class_counts(output)
    if len(counts) == 1:
        return f"{shape}, which has {counts[0]} classes"
    return shape if counts else f"{shape}, which has no scores of classes"
