"""What a page says of classes: the figures against NumPy, bad results, and what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.errors import DataError
from edgeconv.evaluation import Evaluation
from edgeconv.report.html.classes import class_blocks
from edgeconv.report.html.page import Gallery, HtmlTable
from support.results import made_classes, made_evaluation

pytest.importorskip("matplotlib")

CLASSES = 30  # too many for a matrix


def tables(result: Evaluation) -> list[HtmlTable]:
    return [block for block in class_blocks(result)[0] if isinstance(block, HtmlTable)]


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_what_changed_and_what_is_confused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true, float32, int8 = rng.integers(0, CLASSES, (3, 200))
    float32 = np.where(rng.random(200) < 0.5, true, float32)
    int8 = np.where(rng.random(200) < 0.8, float32, int8)
    result = made_classes(
        true.tolist(), {"f.onnx": float32.tolist(), "i.onnx": int8.tolist()}, classes=CLASSES
    )
    changes, pairs = tables(result)
    assert changes.rows == (
        (
            "i.onnx",
            str((int8 != float32).sum()),
            str(((float32 == true) & (int8 != true)).sum()),
            str(((float32 != true) & (int8 == true)).sum()),
            str(((float32 != true) & (int8 != true) & (int8 != float32)).sum()),
        ),
    )
    assert len(pairs.rows) == 20
    for one, other, by_float32, by_int8 in pairs.rows:
        pair = (true == int(str(one))) & (true != int(str(other)))
        assert by_float32 == str((pair & (float32 == int(str(other)))).sum())
        assert by_int8 == str((pair & (int8 == int(str(other)))).sum())
    most = [max(int(str(a)), int(str(b))) for _, _, a, b in pairs.rows]
    assert most == sorted(most, reverse=True)


def test_no_difference_is_said_in_words() -> None:
    same = [0, 1, 2]
    result = made_classes([0, 1, 1], {"f.onnx": same, "i.onnx": same}, classes=3)
    blocks, notes = class_blocks(result)
    assert notes == ["all files give each sample the class of f.onnx"]
    assert len(blocks) == 2  # what changed, and one matrix


def test_a_result_without_classes_says_so() -> None:
    blocks, notes = class_blocks(made_evaluation({"a.onnx": [True, False]}))
    assert blocks == []
    assert "evaluate it again" in notes[0]
    regression = made_evaluation({"a.onnx": [True, False]}, task="regression")
    assert class_blocks(regression) == ([], [])


def test_pictures_say_who_said_what() -> None:
    result = made_classes(
        [0, 1],
        {"f.onnx": [0, 1], "i.onnx": [0, 2], "i.tflite": [0, 2]},
        classes=3,
        labels=("cat", "dog", "eel"),
        pictured=[1],
    )
    (gallery,) = (block for block in class_blocks(result)[0] if isinstance(block, Gallery))
    assert gallery.photos[0].lines == ("sample 1: dog", "dog by f.onnx", "eel by i.onnx, i.tflite")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("truths", "AAE", "truths are not base64"),
        ("truths", "AAEC", "truths are not 2"),
        ("truths", "AAk=", "classes that are not there"),
        ("truths", "AQA=", "not those of its outcomes"),
        ("truths", None, "not those of its outcomes"),
        ("classes", None, "unknown number of classes"),
        ("pictures", [{"sample": 2, "png": None}], "not there"),
        ("pictures", [{"sample": 0, "png": "aGVsbG8="}], "no PNG"),
        ("pictures", [{"sample": 0, "png": '"onerror="alert(1)'}], "pattern"),
        ("pictures", [{"sample": 0, "png": None}] * 37, "at most 36"),
    ],
)
def test_damaged_results(tmp_path: Path, field: str, value: Any, words: str) -> None:
    made_classes([0, 1], {"f.onnx": [0, 1]}, classes=3, pictured=[0]).save(tmp_path / "r.json")
    plain = json.loads((tmp_path / "r.json").read_text())
    if field == "pictures":
        good = plain["pictures"][0]["png"]
        value = [{**each, "png": each["png"] or good} for each in value]
    (tmp_path / "r.json").write_text(json.dumps(plain | {field: value}))
    with pytest.raises(DataError, match=words):
        Evaluation.load(tmp_path / "r.json")


def test_results_of_version_3_are_read(tmp_path: Path) -> None:
    made_evaluation({"a.onnx": [True, False]}).save(tmp_path / "r.json")
    plain = json.loads((tmp_path / "r.json").read_text())
    for name in ("classes", "labels", "truths", "pictures"):
        del plain[name]
    (tmp_path / "r.json").write_text(json.dumps(plain | {"schema_version": 3}))
    assert Evaluation.load(tmp_path / "r.json").true_classes is None
