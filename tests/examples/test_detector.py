"""The example detector: its boxes are those of the truth, and its files are what edgeconv reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file

from examples import detector


def test_decoding_what_cells_should_say_gives_the_truth() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        _, truth = detector.draw(random)
        sides, kinds = detector.targets(truth)
        boxes, scores, classes = detector.decode([sides, kinds])
        found = {
            (int(kind), *np.round(box).tolist()) for kind, box in zip(classes, boxes, strict=True)
        }
        assert found == {(kind, *box) for kind, box in truth}
        assert (scores == 1).all()


def test_of_boxes_that_overlap_the_surest_is_kept() -> None:
    sides, kinds = np.full((64, 4), 0.5, np.float32), np.zeros((64, 3), np.float32)
    kinds[0, 1], kinds[1, 2], kinds[63, 0], kinds[32, 0] = 0.6, 0.9, 0.5, 0.1
    boxes, scores, classes = detector.decode([sides, kinds])
    assert classes.tolist() == [2, 0]  # the neighbor of cell 1, and what is not sure, are gone
    assert scores.tolist() == pytest.approx([0.9, 0.5])
    assert boxes[0].tolist() == [-8, -16, 32, 24]  # 20 pixels each way from (12, 4)


@pytest.mark.slow
def test_training_writes_what_an_export_needs(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path), "--pictures", "64", "--epochs", "1"]
    CliRunner().invoke(detector.main, arguments, catch_exceptions=False)
    detector.make().load_state_dict(load_file(tmp_path / "detector.safetensors"))
    truth = json.loads((tmp_path / "test.json").read_text("utf-8"))
    assert [image["file_name"] for image in truth["images"]] == sorted(
        path.name for path in (tmp_path / "test").iterdir()
    )
    assert {box["category_id"] for box in truth["annotations"]} == {1, 2, 3}
    assert (tmp_path / "kinds.txt").read_text().split() == list(detector.KINDS)
