"""What stands below the table of an evaluation."""

from __future__ import annotations

import pytest

from edgeconv.evaluation import Accuracy, AgainstFloat, Evaluation, Figure
from edgeconv.report.accuracy import notes


@pytest.mark.parametrize(
    ("name", "low", "high", "said"),
    [
        ("top-1", -0.02, 0.01, "with the 95 % interval of a mean"),
        # Over all pixels of all samples, so no interval stands in the table.
        ("mean IoU", None, None, "without an interval, as it is no mean over the samples"),
    ],
)
def test_an_interval_is_named_where_there_is_one(
    name: str, low: float | None, high: float | None, said: str
) -> None:
    figure = Figure(name=name, value=0.5, unit="share", better="higher", samples=8)
    against = AgainstFloat(path="float.onnx", change=-0.01, low=low, high=high)
    accuracy = Accuracy(path="a.onnx", bytes=1, runtime="x 1", figures=(figure,))
    result = Evaluation(
        task="segmentation",
        data="d",
        data_sha256="0" * 64,
        samples=8,
        skipped=(),
        results=(
            accuracy.model_copy(update={"path": against.path}),
            accuracy.model_copy(update={"against_float": against}),
        ),
    )
    assert f"against float32: {name} in points, {said}" in notes(result)
    assert notes(result)[0].startswith("segmentation on 8 samples of d, by")
    (alone, *_) = notes(result.model_copy(update={"samples": 1}))
    assert alone.startswith("segmentation on 1 sample of d, by")
