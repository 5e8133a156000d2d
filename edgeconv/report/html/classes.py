"""What the page says of the classes that a classifier gave: its mistakes, and what int8 changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.evaluation import Accuracy, Evaluation
from edgeconv.report.html.confusion import MOST_CLASSES, confusion_chart
from edgeconv.report.html.page import Block, Gallery, HtmlTable, Photo, html_table
from edgeconv.report.tables import Column

_MOST_PAIRS = 20

Indices = npt.NDArray[Any]


def class_blocks(result: Evaluation) -> tuple[list[Block], list[str]]:
    """The blocks, and what the reader must know besides; both are empty for other tasks."""
    if result.task != "classification":
        return [], []
    true = result.true_classes
    said = {
        accuracy.path: found
        for accuracy in result.results
        if (found := result.predicted_classes(accuracy)) is not None
    }
    if true is None or not said:
        return [], [
            "the result is of an older release and does not have the classes: evaluate it "
            "again to see which are confused"
        ]
    reference = _reference(result.results)
    shown, notes = _shown(said, reference)
    blocks: list[Block] = []
    if reference in said and len(said) > 1:
        blocks.append(_changes(true, said, reference))
    blocks += _confusions(result, true, {path: said[path] for path in shown})
    if result.pictures:
        blocks.append(_gallery(result, true, said))
    elif reference in said and len(shown) > 1:
        notes.append("no pictures: the result has none, or the network takes no image")
    return blocks, notes


def _reference(results: tuple[Accuracy, ...]) -> str:
    """The float32 file that the others are held against, or else the first file."""
    against = (a.against_float.path for a in results if a.against_float is not None)
    return next(against, results[0].path)


def _shown(said: dict[str, Indices], reference: str) -> tuple[list[str], list[str]]:
    """The reference and the file that differs most from it, and a note that says so."""
    if reference not in said:
        return list(said)[:1], []
    changed = {path: int((found != said[reference]).sum()) for path, found in said.items()}
    most = max(changed, key=lambda path: changed[path])
    if not changed[most]:
        others = len(said) > 1
        return [reference], [f"all files give each sample the class of {reference}"] * others
    if len(said) == 2:
        return [reference, most], []
    return [reference, most], [f"confused classes: {most} differs most from {reference}"]


def _changes(true: Indices, said: dict[str, Indices], reference: str) -> HtmlTable:
    expected = said[reference]
    columns = [
        Column("file"),
        *(
            Column(name, numeric=True)
            for name in ("other class", "right to wrong", "wrong to right", "wrong to wrong")
        ),
    ]
    rows = []
    for path, found in said.items():
        if path == reference:
            continue
        changed = found != expected
        was, is_now = expected == true, found == true
        counts = (changed, was & ~is_now, ~was & is_now, changed & ~was & ~is_now)
        rows.append([path, *(str(int(count.sum())) for count in counts)])
    return html_table(f"Samples that get another class than from {reference}", columns, rows)


def _confusions(result: Evaluation, true: Indices, said: dict[str, Indices]) -> list[Block]:
    classes = result.classes
    assert classes is not None
    if classes > MOST_CLASSES:
        return _pairs(result, true, said)
    labels = [result.label(index) for index in range(classes)]
    return [
        confusion_chart(
            f"Classes by {path}: a row for each class, with what its samples are taken for",
            np.bincount(true.astype(np.int64) * classes + found, minlength=classes**2).reshape(
                classes, classes
            ),
            labels,
        )
        for path, found in said.items()
    ]


def _pairs(result: Evaluation, true: Indices, said: dict[str, Indices]) -> list[Block]:
    """The pairs that are confused most often, by the file that confuses them most."""
    counts: dict[tuple[int, int], dict[str, int]] = {}
    for path, found in said.items():
        wrong = found != true
        pairs, times = np.unique(
            np.stack([true[wrong], found[wrong]]).astype(np.int64), axis=1, return_counts=True
        )
        for (one, other), count in zip(pairs.T.tolist(), times.tolist(), strict=True):
            counts.setdefault((one, other), {})[path] = count
    if not counts:
        return []
    order = sorted(counts, key=lambda pair: (-max(counts[pair].values()), pair))
    rows = [
        [result.label(one), result.label(other)]
        + [str(counts[one, other].get(path, 0)) for path in said]
        for one, other in order[:_MOST_PAIRS]
    ]
    columns = [Column("class"), Column("taken for"), *(Column(path, numeric=True) for path in said)]
    title = f"The most confused classes ({len(rows)} of {len(order)} pairs)"
    return [html_table(title, columns, rows)]


def _gallery(result: Evaluation, true: Indices, said: dict[str, Indices]) -> Gallery:
    photos = []
    for picture in result.pictures:
        index = picture.sample
        files: dict[int, list[str]] = {}
        for path, found in said.items():
            files.setdefault(int(found[index]), []).append(path)
        lines = [f"sample {index}: {result.label(int(true[index]))}"]
        lines += [f"{result.label(given)} by {', '.join(paths)}" for given, paths in files.items()]
        photos.append(Photo(picture.png, tuple(lines)))
    title = f"Samples that int8 changed, as the network saw them (the first {len(photos)})"
    return Gallery(title, tuple(photos))
