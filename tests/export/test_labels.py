"""Class names are held against the dimension that counts classes, whatever the task."""

from __future__ import annotations

import pytest

from edgeconv.bundle import Layout, TensorInfo
from edgeconv.errors import UsageError
from edgeconv.export.labels import choose_labels


def output(*shape: int, dtype: str = "float32", layout: Layout | None = None) -> TensorInfo:
    return TensorInfo(name="y", shape=shape, dtype=dtype, layout=layout)


def names(count: int) -> list[str]:
    return [f"class {index}" for index in range(count)]


@pytest.mark.parametrize(
    ("outputs", "fitting", "wrong"),
    [
        ([output(1, 10)], [10], [1, 9]),
        ([output(1, 10), output(1, 64)], [10], [64]),
        ([output(1, 21, 64, 48)], [21], [48, 64]),
        ([output(1, 64, 48, 21, layout=Layout.NHWC)], [21], [64, 48]),
        ([output(1, 1, 64, 64)], [1, 2], [64]),
        ([output(1, 21, 64, 64), output(1, 8, 8, 8)], [21], [8]),
        ([output(1, 8400, 85)], [80, 81, 85], [79]),  # YOLOv5: box, objectness, scores
        ([output(1, 84, 8400)], [80], [90]),  # YOLOv8: box, scores
        ([output(1, 100, 4), output(1, 100, 91)], [91], [3]),  # boxes and scores apart
        ([output(1, 9, 4), output(1, 9), output(1, 9, dtype="int64")], [9, 80], []),  # after NMS
        ([output(1, 9, 4), output(1, 9), output(1, 9), output(1)], [3, 90], []),  # TFLite's own
        ([output(9, 4), output(9, dtype="int64"), output(9)], [91], []),  # torchvision's
        ([output(1, 300, 6)], [3, 80], []),  # YOLO's after suppression
        ([output(1, 64, 64, dtype="int64")], [21], []),  # an argmax inside
        ([output(1, 2, 3, 4, 5)], [], [5]),
    ],
)
def test_labels_count_classes(
    outputs: list[TensorInfo], fitting: list[int], wrong: list[int]
) -> None:
    for count in fitting:
        assert choose_labels(names(count), None, outputs) == names(count)
        assert choose_labels(None, names(count), outputs) == names(count)
    for count in wrong:
        assert choose_labels(None, names(count), outputs) is None
        with pytest.raises(
            UsageError, match=rf"{count} label{'s' if count != 1 else ''}, .* 'y' of \[1, "
        ):
            choose_labels(names(count), None, outputs)


def test_the_message_says_how_many_classes_there_are() -> None:
    with pytest.raises(UsageError, match=r"'y' of \[1, 21, 64, 48\], which has 21 classes"):
        choose_labels(names(48), None, [output(1, 21, 64, 48)])
    with pytest.raises(UsageError, match="which has no scores"):
        choose_labels(names(3), None, [output(1, 5, dtype="bool")])
