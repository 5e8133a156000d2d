"""Test that the demo runs end to end; the README has its figures after a full training."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv.bench import BenchOptions
from examples import digits
from examples.digits_data import load

pytestmark = pytest.mark.slow


def test_the_demo_in_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = BenchOptions(repetitions=2, runs=2, seconds=0, warmup=0)
    demo = digits.run(tmp_path, epochs=1, options=quick)
    digits.show(demo)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:6]] == [
        ["PyTorch", "float32"],
        ["ONNX", "float32"],
        ["TFLite", "float32"],
        ["ONNX", "int8"],
        ["TFLite", "int8"],
    ]
    assert max(map(len, lines)) <= 80
    float_files = demo.evaluation.results[:2]
    assert all(result.top1 == pytest.approx(demo.pytorch_top1) for result in float_files)
    assert demo.bundle.manifest.labels == tuple("0123456789")


def test_training_and_held_out_digits_do_not_meet() -> None:
    train, test = load(size=8)
    assert (len(train.x), len(test.x)) == (1347, 450)
    assert train.x.min() >= -1
    assert train.x.max() <= 1
    seen = {image.tobytes() for image in train.x}
    # A few scans of the data set are identical; the split itself repeats none.
    assert sum(image.tobytes() in seen for image in test.x) <= 2
