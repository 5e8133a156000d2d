"""The figures of every task against plain NumPy, on all the data and on parts of it."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeconv.errors import DataError, EdgeconvError, UsageError
from edgeconv.evaluation import Figure
from edgeconv.export.data.masks import IGNORED
from edgeconv.export.tasks import TASKS, open_task
from edgeconv.export.tasks.classification import Classification
from edgeconv.export.tasks.embeddings import Embeddings
from edgeconv.export.tasks.regression import Regression
from edgeconv.export.tasks.segmentation import Segmentation
from edgeconv.export.tasks.task import Scored
from support.manifests import made_manifest


def opened(task: Any, folder: Path, outputs: tuple[int, ...], y: npt.NDArray[Any]) -> Any:
    """The task, after it has seen a network with such an output and samples with truths ``y``."""
    np.savez(folder / "d.npz", x=np.zeros((len(y), 4), np.float32), y=y)
    list(task.open(folder / "d.npz", None, made_manifest((1, 4), outputs)).pairs)
    return task


def of(scored: Scored) -> dict[str, float]:
    return {figure.name: figure.value for figure in scored.figures}


def scores_of(task: Any, outputs: npt.NDArray[Any], truths: Any, cuts: list[int]) -> Scored:
    """Count on the parts between the cuts, merge them, and score."""
    bounds = [0, *sorted(cuts), len(truths)]
    parts = [
        task.count([outputs[a:b]], truths[a:b]) for a, b in itertools.pairwise(bounds) if b > a
    ]
    while len(parts) > 2:  # in two steps, as over several machines
        parts = [task.merge(parts[:2]), *parts[2:]]
    merged = task.merge(parts)
    found: Scored = task.score(merged, merged)
    return found


CUTS = st.lists(st.integers(0, 40), max_size=6)
SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS, cuts=CUTS)
@settings(max_examples=40)
def test_top1_and_top5(seed: int, cuts: list[int], tmp_path_factory: Any) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (40, 8)).astype(np.float32)  # with ties, as int8 has
    truths = rng.integers(0, 8, 40)
    task = opened(Classification(), tmp_path_factory.getbasetemp(), (1, 8), truths)
    found = scores_of(task, scores, truths, cuts)
    order = np.argsort(-scores, axis=1, kind="stable")
    assert of(found) == {
        "top-1": (order[:, 0] == truths).mean(),
        "top-5": (order[:, :5] == truths[:, None]).any(1).mean(),
    }
    assert np.array_equal(found.outcomes, scores.argmax(1) == truths)


def test_ties_that_decide_about_the_best_five_are_counted(tmp_path: Path) -> None:
    """Of equal scores the first class counts as larger: that decides in two of the samples."""
    truths = np.array([7, 3, 0, 7])
    scores = np.zeros((4, 8))
    scores[0, 0] = 1  # six others are as good as the right class, and four come first
    scores[1, :2] = 1  # the right class is the fourth, with five others that are as good
    scores[2, 0] = 1  # the right class is better than all
    scores[3] = np.arange(8)  # and so without a tie
    task = opened(Classification(), tmp_path, (1, 8), truths)
    scored = task.score(task.count([scores], truths), None)
    assert scored.ties == 2
    assert [figure.value for figure in scored.figures] == [0.5, 0.75]


def test_five_classes_have_no_top5(tmp_path: Path) -> None:
    task = opened(Classification(), tmp_path, (1, 5), np.array([1, 4]))
    assert of(scores_of(task, np.eye(5, dtype=np.float32)[[1, 0]], [1, 4], [])) == {"top-1": 0.5}


@given(seed=SEEDS, cuts=CUTS)
@settings(max_examples=25)
def test_mean_intersection_over_union(seed: int, cuts: list[int], tmp_path_factory: Any) -> None:
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, 4, (40, 6, 5))
    masks[masks == 3] = IGNORED  # the fourth class is nowhere, only predicted or not at all
    scores = rng.standard_normal((40, 4, 6, 5)).astype(np.float32)
    scores[:, 3] -= 100 * rng.integers(0, 2)
    task = opened(Segmentation(), tmp_path_factory.getbasetemp(), (1, 4, 6, 5), masks)
    found = scores_of(task, scores, masks, cuts)
    predicted, counted = scores.argmax(1), masks != IGNORED
    ratios = []
    for k in range(4):
        both = counted & (masks == k) & (predicted == k)
        either = counted & ((masks == k) | (predicted == k))
        if either.any():
            ratios.append(both.sum() / either.sum())
    assert of(found)["mIoU"] == np.mean(ratios)
    assert of(found)["pixel accuracy"] == (predicted == masks)[counted].mean()
    assert {figure.of for figure in found.figures} == {"pixels"}
    assert found.figures[0].samples == counted.sum()
    assert found.outcomes is found.scores is None


def test_maps_of_another_size_are_resized(tmp_path: Path) -> None:
    """A ramp of scores, of which NumPy's own interpolation gives the boundary."""
    masks = np.zeros((1, 8, 8), int)
    masks[0, :, 3:] = 1
    scores = np.zeros((1, 2, 4, 4), np.float32)
    scores[0, 1] = np.array([-1.0, -0.25, 1.0, 1.0])
    task = opened(Segmentation(), tmp_path, (1, 2, 4, 4), masks)
    row = np.interp((np.arange(8) + 0.5) / 2 - 0.5, np.arange(4), scores[0, 1, 0])
    counts = task.count([scores], masks)
    assert counts.pixels[:, 1].sum() == 8 * (row > 0).sum()
    whole = Segmentation()
    manifest = made_manifest((1, 4), (1, 4, 4), dtype="int64", labels=("a", "b"))
    list(whole.open(tmp_path / "d.npz", None, manifest).pairs)
    classes = (scores[:, 1] > 0).astype(np.int64)
    assert np.array_equal(
        whole.count([classes], masks).pixels[:, 1],
        [
            (np.kron(classes[0], np.ones((2, 2))).astype(bool) & (masks[0] == k)).sum()
            for k in (0, 1)
        ],
    )


def test_masks_of_classes_that_are_not_there(tmp_path: Path) -> None:
    masks = np.full((1, 4, 4), 7)
    said = r"'y' of sample 0 of .*d.npz has the class 7, and there are 3 classes"
    with pytest.raises(DataError, match=said):
        opened(Segmentation(), tmp_path, (1, 3, 4, 4), masks)
    masks[:] = IGNORED
    task = opened(Segmentation(), tmp_path, (1, 3, 4, 4), masks)
    with pytest.raises(DataError, match="no pixel of any mask counts"):
        task.score(task.count([np.zeros((1, 3, 4, 4), np.float32)], masks), None)


@given(seed=SEEDS, cuts=CUTS)
@settings(max_examples=25)
def test_root_mean_square_error(seed: int, cuts: list[int], tmp_path_factory: Any) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.standard_normal((40, 5, 2)) * 10
    got = (targets + rng.standard_normal(targets.shape)).astype(np.float32)
    task = opened(Regression(), tmp_path_factory.getbasetemp(), (1, 5, 2), targets)
    found = scores_of(task, got, targets, cuts)
    assert found.figures == scores_of(task, got, targets, []).figures, "to the bit"
    error = np.sqrt(np.mean((got - targets) ** 2))
    assert of(found)["RMSE"] == pytest.approx(error, rel=1e-12)
    assert of(found)["relative error"] == pytest.approx(
        error / np.sqrt(np.mean(targets**2)), rel=1e-12
    )
    assert found.root
    assert found.figures[0].better == "lower"
    assert np.allclose(found.scores, ((got - targets) ** 2).mean((1, 2)), rtol=1e-12)


def test_keypoints_that_are_not_visible(tmp_path: Path) -> None:
    targets = np.array([[[1.0, 2.0], [np.nan, np.nan]], [[0.0, 0.0], [3.0, 4.0]]])
    task = opened(open_task("keypoints"), tmp_path, (1, 2, 2), targets)
    found = scores_of(task, np.zeros((2, 2, 2), np.float32), targets, [1])
    assert of(found)["RMSE"] == pytest.approx(math.sqrt(((1 + 4) / 2 + 25 / 4) / 2))
    for value, said in ((np.nan, "is NaN throughout"), (np.inf, "is infinite")):
        targets[1] = value
        with pytest.raises(DataError, match=rf"'y' of sample 1 of .*d.npz {said}"):
            opened(open_task("keypoints"), tmp_path, (1, 2, 2), targets)


@given(seed=SEEDS, cuts=CUTS)
@settings(max_examples=25)
def test_retrieval(seed: int, cuts: list[int], tmp_path_factory: Any) -> None:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 12, 40)
    vectors = rng.standard_normal((40, 3)).astype(np.float32)
    task = opened(Embeddings(), tmp_path_factory.getbasetemp(), (1, 3), classes)
    found = scores_of(task, vectors, classes, cuts)
    assert found.figures == scores_of(task, vectors, classes, []).figures, "to the bit"
    unit = vectors.astype(float) / np.linalg.norm(vectors.astype(float), axis=1, keepdims=True)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    order = np.argsort(-similar, axis=1, kind="stable")
    queries = [i for i in range(40) if (classes == classes[i]).sum() > 1]
    for k in (1, 5):
        hits = [(classes[order[i, :k]] == classes[i]).any() for i in queries]
        assert of(found)[f"recall@{k}"] == np.mean(hits)
    assert of(found)["cosine to float32"] == pytest.approx(1.0)
    assert found.figures[0].samples == len(queries)
    assert (found.outcomes is not None) == (len(queries) == 40)


def test_the_cosine_is_to_the_float_network(tmp_path: Path) -> None:
    classes = np.array([0, 0, 1, 1])
    task = opened(Embeddings(), tmp_path, (1, 2), classes)
    expected = task.count([np.array([[1, 0], [1, 0], [0, 2], [0, 0]], np.float32)], classes)
    got = task.count([np.array([[3, 0], [0, 1], [1, 1], [1, 1]], np.float32)], classes)
    cosines = [1, 0, math.sqrt(0.5), 0]
    assert of(task.score(got, expected))["cosine to float32"] == pytest.approx(np.mean(cosines))
    with pytest.raises(DataError, match="no two samples are of one class"):
        task.score(task.count([np.eye(2, dtype=np.float32)], [0, 1]), None)


def test_vectors_of_zeros_are_the_same_and_are_named(tmp_path: Path) -> None:
    classes = np.array([0, 0, 1, 1])
    task = opened(Embeddings(), tmp_path, (1, 2), classes)
    counts = task.count([np.array([[1, 0], [1, 0], [0, 0], [0, 0]], np.float32)], classes)
    assert of(task.score(counts, counts))["cosine to float32"] == 1.0
    assert "2 of 4 vectors are zero" in task.doubts(counts)[0].message
    assert not task.doubts(task.count([np.ones((4, 2), np.float32)], classes))


def own(folder: Path, text: str) -> Any:
    (folder / "mine.py").write_text(text)
    return open_task(f"{folder / 'mine.py'}:metric")


@given(seed=SEEDS, cuts=CUTS)
@settings(max_examples=10)
def test_a_metric_of_the_users_own(seed: int, cuts: list[int], tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.getbasetemp()
    rng = np.random.default_rng(seed)
    targets = rng.standard_normal((40, 3))
    got = rng.standard_normal((40, 3)).astype(np.float32)
    text = "def metric(outputs, truth):\n    return abs(outputs[0] - truth).max()\n"
    task = own(folder, text + "metric.better = 'lower'\nmetric.unit = 'mm'\n")
    opened(task, folder, (1, 3), targets)
    found = scores_of(task, got, targets, cuts)
    expected = math.fsum(np.abs(got - targets).max(1)) / 40
    assert found.figures == (
        Figure(name="metric", value=expected, unit="mm", better="lower", samples=40),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("metric = 3", "is a int, not a function"),
        ("def other(): ...", "has no 'metric'"),
        ("def metric(a, b): return 1\nmetric.better = 'more'", "better is 'more'"),
    ],
)
def test_a_metric_that_is_none(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        own(tmp_path, text)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return 1 / 0", r"mine.py:metric raised ZeroDivisionError: division by zero"),
        ("return None", "returned no number but None"),
        ("return outputs[0]", r"returned no number but ndarray of shape \[2\]"),
        ("return float('nan')", "returned nan"),
    ],
)
def test_a_metric_that_fails(body: str, words: str, tmp_path: Path) -> None:
    task = own(tmp_path, f"def metric(outputs, truth):\n    {body}\n")
    with pytest.raises(DataError, match=words) as raised:
        task.count([np.zeros((1, 2), np.float32)], [0])
    got = "got outputs of shape [2] and a truth of shape []"
    assert ("raised" in words) == (got in (raised.value.hint or ""))


def test_a_metric_that_writes_to_what_it_gets(tmp_path: Path) -> None:
    body = "    outputs[0] -= truth\n    truth *= 0\n    return abs(outputs[0]).max()\n"
    task = own(tmp_path, f"def metric(outputs, truth):\n{body}")
    outputs, truths = [np.full((2, 3), 2.0, np.float32)], [np.ones(3), np.full(3, 5.0)]
    for _ in range(2):  # as of two files
        assert task.count(outputs, truths).arrays[0].tolist() == [1.0, 3.0]


@pytest.mark.parametrize("name", ["accuracy", ""])
def test_no_such_task(name: str) -> None:
    with pytest.raises(UsageError, match=rf"no task '{name}'\nhint: name one of classification, "):
        open_task(name)


@pytest.mark.parametrize(
    ("task", "shape", "dtype"),
    [
        ("classification", (1, 3, 8, 8), "float32"),
        ("classification", (1, 1), "float32"),
        ("classification", (1,), "int64"),
        ("classification", (1, 5), "int64"),  # the best five of the network's own TopK, or scores
        ("segmentation", (1, 10), "float32"),
        ("segmentation", (1, 1, 8, 8), "float32"),
        ("regression", (1, 3), "int64"),
        ("embeddings", (1, 3, 8, 8), "float32"),
    ],
)
def test_outputs_that_do_not_fit_are_named(
    task: str, shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 4), np.float32), y=np.zeros(2, int))
    with pytest.raises(UsageError) as raised:
        open_task(task).open(tmp_path / "d.npz", None, made_manifest((1, 4), shape, dtype=dtype))
    assert "'y0'" in raised.value.message
    assert str(list(shape)) in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize("task", TASKS)
def test_data_that_is_not_there(task: str, tmp_path: Path) -> None:
    shapes = {"segmentation": (1, 3, 8, 8), "detection": (1, 5, 4)}
    shape = shapes.get(task, (1, 6))
    manifest = made_manifest((1, 3, 8, 8), shape)
    with pytest.raises(EdgeconvError) as raised:
        open_task(task).open(tmp_path / "nowhere", None, manifest)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.zeros((2, 4)), r"shape \[4\], the output 'y0' gives \[3\]"),
        (np.zeros(3), "2 samples and 3"),
    ],
)
def test_targets_of_another_shape(y: npt.NDArray[Any], words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 4), np.float32), y=y)
    with pytest.raises(DataError, match=words):
        Regression().open(tmp_path / "d.npz", None, made_manifest((1, 4), (1, 3)))


@pytest.mark.parametrize(
    ("task", "outputs", "y"),
    [
        (Classification, (1, 4), np.arange(4)),
        (Embeddings, (1, 4), np.arange(4) // 2),
        (Regression, (1, 4), np.zeros((4, 4))),
        (Segmentation, (1, 2, 3, 3), np.zeros((4, 3, 3), np.int64)),
    ],
)
def test_one_of_several_outputs_is_named(
    task: Any, outputs: tuple[int, ...], y: npt.NDArray[Any], tmp_path: Path, caplog: Any
) -> None:
    """Probabilities were held against boxes of the same shape, without a word."""
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 4), np.float32), y=y)
    task().open(tmp_path / "d.npz", None, made_manifest((1, 4), outputs))
    assert not caplog.messages
    task().open(tmp_path / "d.npz", None, made_manifest((1, 4), outputs, outputs))
    (message,) = caplog.messages
    assert "reads the first output 'y0' of 2" in message
    assert "--cut-outputs y1" in caplog.records[0].msg.hint


def test_errors_above_those_of_zeros_are_doubted(tmp_path: Path) -> None:
    """Pixels held against shares of the input."""
    targets = np.linspace(0.1, 0.9, 20).reshape(5, 4)
    task = opened(Regression(), tmp_path, (1, 4), targets)
    near, far = (task.count([targets * scale], targets) for scale in (1.1, 48))
    assert task.doubts(near) == []
    assert "larger than if every output were 0" in str(task.doubts(far))


@pytest.mark.parametrize(
    ("to_unit", "said"),
    [
        (lambda y: y / 1000, "nearly the output × 1e+03 "),  # m, held against mm
        (lambda y: y * 1000, "nearly the output × 0.001 "),
        (lambda y: y - 273, "nearly the output × 1 + 273"),
        (lambda y: (y - 20) / 5, "nearly the output × 5.01 + 20"),
        (lambda y: -y, "nearly the output × -1 "),
    ],
)
def test_targets_in_another_unit_are_doubted(to_unit: Any, said: str, tmp_path: Path) -> None:
    """In a unit a thousand times smaller, the errors are a little below those of zeros."""
    rng = np.random.default_rng(0)
    targets = 20 + 5 * rng.standard_normal((30, 4))
    task = opened(Regression(), tmp_path, (1, 4), targets)
    near = targets + 0.1 * rng.standard_normal(targets.shape)
    assert task.doubts(task.count([near], targets)) == []
    (doubt,) = task.doubts(task.count([to_unit(near)], targets))
    assert said in str(doubt)
    assert task.doubts(task.count([to_unit(near)[:1]], targets[:1])) == []


def test_numbers_of_very_different_units_are_named(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    y = random.normal(size=(20, 3)) * [1e-3, 1.0, 50.0]
    task = opened(Regression(), tmp_path, (1, 3), y)
    (doubt,) = task.doubts(task.count([y * 1.01], y))
    assert "1 of the 3 numbers of an output count for next to nothing" in doubt.message
    alike = task.count([y[:, 1:] * 1.01], y[:, 1:])
    assert not task.doubts(alike)


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.3])
def test_a_poor_regression_leaves_no_doubt(spread: float, tmp_path: Path) -> None:
    """An untrained network: small numbers that have nothing to do with the targets."""
    rng = np.random.default_rng(2)
    warned = 0
    for _ in range(40):
        targets = rng.standard_normal((30, 1))
        task = opened(Regression(), tmp_path, (1, 1), targets)
        warned += len(task.doubts(task.count([spread * rng.standard_normal((30, 1))], targets)))
    assert warned <= 8  # beyond two standard errors by chance; without them, in half and more


def test_another_order_of_the_classes_is_doubted(tmp_path: Path) -> None:
    """All of one class as another one, in classes and in pixels."""
    truths = np.arange(60) % 3
    right = np.eye(3, dtype=np.float32)[truths]
    task = opened(Classification(), tmp_path, (1, 3), truths)
    assert task.doubts(task.count([right], truths)) == []
    assert "0 % are right, and 100 % would be" in str(
        task.doubts(task.count([right[:, [1, 2, 0]]], truths))
    )
    few = task.count([right[:12, [1, 2, 0]]], truths[:12])
    assert task.doubts(few) == [], "four of each class say little"
    rng = np.random.default_rng(0)
    for _ in range(20):  # a network that guesses
        guesses = rng.standard_normal((60, 3)).astype(np.float32)
        assert task.doubts(task.count([guesses], truths)) == []


def test_another_order_of_the_classes_of_pixels(tmp_path: Path) -> None:
    masks = np.tile((np.arange(60) % 3).reshape(1, 6, 10), (10, 1, 1))
    maps = np.moveaxis(np.eye(3, dtype=np.float32)[masks], 3, 1)
    task = opened(Segmentation(), tmp_path, (1, 3, 6, 10), masks)
    assert task.doubts(task.count([maps], masks)) == []
    other = maps[:, [1, 2, 0]]
    assert "what is class 0 is mostly class" in str(task.doubts(task.count([other], masks)))
    few = task.count([other[:3]], masks[:3])
    assert task.doubts(few) == [], "three images, however many pixels they have"
    all_of_one = task.count([np.roll(maps, 1, 1)[:, :, :1, :1] + np.zeros_like(maps)], masks)
    assert task.doubts(all_of_one) == []


@pytest.mark.parametrize("right", [0.3, 0.45, 0.5])
def test_a_poor_network_leaves_no_doubt_of_two_classes(right: float, tmp_path: Path) -> None:
    """Twenty samples gave one in 7 of these networks the warning."""
    truths = np.arange(20) % 2
    task = opened(Classification(), tmp_path, (1, 2), truths)
    rng = np.random.default_rng(1)
    for _ in range(60):
        predicted = np.where(rng.random(20) < right, truths, 1 - truths)
        scores = np.eye(2, dtype=np.float32)[predicted]
        assert task.doubts(task.count([scores], truths)) == []
    swapped = np.eye(2, dtype=np.float32)[1 - truths]
    assert "in another order" in str(task.doubts(task.count([swapped], truths)))


def test_a_network_without_training_leaves_no_doubt_of_the_order(tmp_path: Path) -> None:
    """It gives each of five clusters to one class, and several of them to the same one."""
    truths = np.arange(100) % 5
    task = opened(Classification(), tmp_path, (1, 5), truths)
    warned = 0
    for seed in range(40):
        torch.manual_seed(seed)
        x = torch.randn(5, 64)[truths] + 0.05 * torch.randn(100, 64)
        network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 5))
        with torch.inference_mode():
            warned += len(task.doubts(task.count([network(x).numpy()], truths)))
    assert warned <= 3  # where no two clusters meet: 15 of 40 before that counted


def test_another_order_of_a_poor_network_is_doubted(tmp_path: Path) -> None:
    """Right in 70 % of the samples, and in as little as half of those of one class."""
    truths = np.arange(300) % 10
    task = opened(Classification(), tmp_path, (1, 10), truths)
    rng = np.random.default_rng(2)
    for _ in range(20):
        right = rng.random(300) < rng.uniform(0.5, 0.9, 10)[truths]
        predicted = np.where(right, truths, rng.integers(0, 10, 300))
        scores = np.eye(10, dtype=np.float32)[rng.permutation(10)[predicted]]
        assert "in another order" in str(task.doubts(task.count([scores], truths)))
