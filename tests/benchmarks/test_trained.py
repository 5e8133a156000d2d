"""Test the trained networks of the benchmarks: their data, their training and the attacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from benchmarks.trained.adversarial import ATTACKS, heavy_tail
from benchmarks.trained.fit import Labeled, fit, outputs, score
from benchmarks.trained.folder import Metric, Trained, add_to_index, read_index
from benchmarks.trained.recipes import RECIPES, Recipe
from benchmarks.trained.shapes import CLASSES, SIZE, draw
from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.models import create_model, input_shape
from edgeconv.models.randomize import randomize_, structured_input
from support.runtimes import run_onnx

pytestmark = pytest.mark.slow


def test_the_same_seed_draws_the_same_images() -> None:
    first, again, other = draw(24, seed=5), draw(24, seed=5), draw(24, seed=6)
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.masks, again.masks)
    assert (first.x != other.x).any()


def test_images_are_balanced_and_bounded() -> None:
    shapes = draw(5 * len(CLASSES), seed=0)
    assert shapes.x.shape == (5 * len(CLASSES), 3, SIZE, SIZE)
    assert shapes.x.dtype == np.float32
    assert -1 <= shapes.x.min() < -0.5
    assert 0.5 < shapes.x.max() <= 1
    assert (np.bincount(shapes.y) == 5).all()
    seen = shapes.masks.mean(axis=(1, 2))
    assert (seen > 0.02).all()
    assert (seen < 0.8).all()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_recipes_fit_the_zoo(recipe: Recipe) -> None:
    with torch.device("meta"):
        create_model(recipe.network, **recipe.options)
    side = {"digits": 32, "shapes": SIZE, "masks": SIZE}[recipe.data.value]
    assert input_shape(recipe.network, **recipe.options)[1:] == (side, side)


def test_training_learns_and_ends_in_eval_mode() -> None:
    torch.manual_seed(0)
    bright = np.repeat(np.float32([-0.5, 0.5]), 64)
    x = bright.reshape(-1, 1, 1, 1) + np.random.default_rng(0).normal(0, 0.3, (128, 1, 8, 8))
    data = Labeled(x.astype(np.float32), (bright > 0).astype(np.int64))
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip
    fit(network, data, epochs=8, rate=0.02, flips=True, progress=lambda epoch, loss: None)
    assert not network.training
    assert score(outputs(network, data.x)[0], data.y) > 0.9


def test_iou_is_the_mean_over_classes() -> None:
    truth = np.array([[[0, 0], [1, 1]]])
    scores = np.zeros((1, 2, 2, 2))
    scores[0, 1] = [[1, -1], [1, 1]]  # one pixel of class 0 is taken for class 1
    assert score(scores, truth) == pytest.approx((1 / 2 + 2 / 3) / 2)


class Separable(nn.Module):
    """Full, depthwise and full convolutions with Relu, then two convolutions without one."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.ReLU(),
            nn.Conv2d(8, 12, 1),
            nn.ReLU(),
            nn.Conv2d(12, 6, 3, padding=1),
            nn.Conv2d(6, 4, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x)
        return result


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    network = randomize_(Separable(), shape=(3, 12, 12))
    example = (structured_input((1, 3, 12, 12)).numpy(),)
    return optimize(capture_module(network, example, ("output",), 20))


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_keep_the_function(graph: ir.Model, attack: str) -> None:
    x = structured_input((1, 3, 12, 12), seed=3).numpy()
    before, widest_before = _run(graph, x)
    after, widest_after = _run(ATTACKS[attack](graph), x)
    # Factors of 1000 and constants of 300 times the bias cost three of float32's seven digits.
    np.testing.assert_allclose(after, before, atol=1e-3 * np.abs(before).max())
    if attack != "dead channels":  # this network is small, and so are its biases
        assert widest_after > 2 * widest_before


def test_dead_channels_are_dead_and_read_by_large_weights(graph: ir.Model) -> None:
    attacked = ATTACKS["dead channels"](graph)
    before, after = (_largest_weight(model) for model in (graph, attacked))
    assert after > 50 * before


def test_a_heavy_tail_touches_few_samples() -> None:
    x = np.full((400, 1, 4, 4), 0.5, np.float32)
    tailed = heavy_tail(x)
    changed = (tailed != x).any(axis=(1, 2, 3))
    assert 0 < changed.sum() < 40
    assert np.abs(tailed).max() == pytest.approx(100)
    assert ((tailed != x).sum(axis=(1, 2, 3))[changed] == 1).all()


def test_the_index_keeps_what_was_trained_last(tmp_path: Path) -> None:
    assert read_index(tmp_path) == []
    first = Trained("a", "resnet8", {}, "a.safetensors", "c.npz", "e.npz", Metric.TOP1, (0.5,))
    better = Trained("a", "resnet8", {}, "a.safetensors", "c.npz", "e.npz", Metric.TOP1, (0.9,))
    other = Trained("b", "unet", {"width_mult": 0.5}, "b", "c", "e", Metric.IOU, (0.8,))
    for trained in (first, other, better):
        add_to_index(tmp_path, trained)
    assert read_index(tmp_path) == [other, better]


def _run(model: ir.Model, x: np.ndarray) -> tuple[np.ndarray, float]:
    """Run the model, and return its output and the largest value in the graph."""
    proto = ir.to_proto(model)
    inner = [value.name for node in model.graph for value in node.outputs]
    del proto.graph.output[:]
    proto.graph.output.extend([ir.serde.serialize_value(ir.Value(name=name)) for name in inner])
    by_name = run_onnx(proto, x)
    widest = max(float(np.abs(array).max()) for array in by_name.values())
    return by_name[str(model.graph.outputs[0].name)], widest


def _largest_weight(model: ir.Model) -> float:
    weights = [value.const_value for value in model.graph.initializers.values()]
    return max(float(np.abs(w.numpy()).max()) for w in weights if w is not None and w.size > 1)
