"""Constants, states and counts beside an open batch: they follow it, or are refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.errors import UnsupportedOperator, UsageError
from edgeconv.export import export
from edgeconv.export.dynamic_batch import at_batch, with_open_batch
from support.open_batches import opened
from support.runtimes import run_onnx


class Splat(nn.Module):
    """Adds features up in cells, and divides by how many there are in each."""

    def forward(self, places: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        cells = (places.sigmoid() * 7).round().long()
        count = torch.zeros(places.shape[0], 8).scatter_add(1, cells, torch.ones(cells.shape))
        total = torch.zeros(places.shape[0], 8).scatter_add(1, cells, features)
        return total / count.clamp(min=1)


@pytest.mark.slow
def test_constants_that_are_scattered_within_rows_follow(tmp_path: Path) -> None:
    """One for each element was refused as a value for each sample."""
    bundle = export(
        Splat().eval(),
        example=(torch.randn(1, 6), torch.randn(1, 6)),
        out=tmp_path / "out",
        formats=["onnx"],
        dynamic_batch=True,
    )
    generator = torch.Generator().manual_seed(0)
    x = [torch.randn(5, 6, generator=generator) for _ in range(2)]
    (got,) = run_onnx(
        bundle.file(bundle.manifest.artifacts[0]), [each.numpy() for each in x]
    ).values()
    # Sums of at most six numbers.
    np.testing.assert_allclose(got, Splat()(*x).numpy(), atol=1e-6)


class Stateful(nn.Module):
    """A GRU whose state has the batch in dimension 1, as PyTorch has it."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 4, batch_first=True)

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.gru(x, state)[0]
        return y


def test_a_batch_in_another_dimension_is_explained(tmp_path: Path) -> None:
    """The hint was to check the example, whose shapes are right."""
    example = torch.zeros(1, 3, 4), torch.zeros(1, 1, 4)
    with pytest.raises(UsageError, match="Expected hidden size") as caught:
        export(Stateful().eval(), example=example, out=tmp_path / "out", dynamic_batch=True)
    assert "takes the first dimension of x and state as the batch" in caught.value.hint
    wrong = torch.zeros(1, 3, 4), torch.zeros(1, 1, 5)
    with pytest.raises(UsageError) as caught:
        export(Stateful().eval(), example=wrong, out=tmp_path / "out", dynamic_batch=True)
    assert "check the example" in caught.value.hint


@pytest.mark.slow
def test_what_is_computed_for_a_number_of_samples_is_refused_by_name(tmp_path: Path) -> None:
    class Numbered(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.arange(x.shape[0])[:, None]

    with pytest.raises(UnsupportedOperator, match=r"\(Add\) does not follow the batch.*values"):
        export(Numbered(), inputs=["x:1,4"], out=tmp_path / "b", dynamic_batch=True)


class Bag(nn.Module):
    """What is looked up is added up, by PyTorch's module and as the message proposes."""

    def __init__(self, mode: str, *, padded: bool, flat: bool) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(20, 4, mode=mode, padding_idx=0 if padded else None)
        self.flat, self.mode = flat, mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.flat:
            bags: torch.Tensor = self.bag(x)
            return bags
        found = nn.functional.embedding(x, self.bag.weight)
        return found.amax(1) if self.mode == "max" else getattr(found, self.mode)(1)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "padded"), [("sum", False), ("mean", True), ("max", False)])
def test_bags_of_embeddings_are_explained(tmp_path: Path, mode: str, padded: bool) -> None:
    x = torch.arange(1, 7)[None]
    network = Bag(mode, padded=padded, flat=True).eval()
    with pytest.raises(UnsupportedOperator, match=r"torch\.nn\.EmbeddingBag") as caught:
        export(network, example=x, out=tmp_path / "out", dynamic_batch=True)
    assert "torch.nn.functional.embedding(indices, bag.weight)" in caught.value.hint
    network.flat = False
    bundle = export(network, example=x, out=tmp_path / "out", formats="onnx", dynamic_batch=True)
    network.flat = True
    several = torch.arange(1, 19).reshape(3, 6)
    (got,) = run_onnx(bundle.file(bundle.manifest.artifacts[0]), several.numpy()).values()
    # Sums of six numbers.
    np.testing.assert_allclose(got, network(several).detach().numpy(), atol=1e-6)


def test_a_constant_of_zeros_and_ones_that_is_no_bag_follows() -> None:
    """Its rows are as many as the batch that is traced by chance."""
    model = opened(
        """g (float[2, 2] x, float[2, 3, 1] z) => (y, w)
        <float[2, 3] k = {1, 1, 0, 0, 0, 1}> { y = MatMul(x, k) w = MatMul(k, z) }"""
    )
    x, z = np.arange(6, dtype=np.float32).reshape(3, 2), np.ones((3, 3, 1), np.float32)
    got = run_onnx(with_open_batch(model), [x, z])
    np.testing.assert_array_equal(got["y"], x[:, [0, 0, 1]])
    np.testing.assert_array_equal(got["w"][:, :, 0], [[2, 1]] * 3)


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("<int64[2] s = {1, 1}> { y, z = Split <axis=0> (x, s) }", "Split"),
        ("<int64[1] a = {1}, int64[1] b = {2}, int64[1] c = {0}> { y = Slice(x, a, b, c) }", "Sli"),
        ("<float[2, 4] k = {1,2,3,4,5,6,7,8}> { y = Mul(x, k) }", "Mul"),
        ("<float[2, 1] k = {1,2}> { y = Concat <axis=1> (x, k) }", "Concat"),
        ("<int64[2, 1] k = {1, 2}> { y = GatherElements <axis=1> (x, k) }", "GatherElements"),
        ("<int64[1] s = {8}> { t = Transpose(x) z = MatMul(x, t) y = Reshape(z, q) }", "two"),
    ],
)
def test_an_operator_that_holds_the_batch_is_named(body: str, result: str) -> None:
    if "q)" in body:
        body = body.replace("int64[1] s = {8}", "int64[1] q = {4}")
    with pytest.raises(UnsupportedOperator, match=result):
        opened(f"g (float[2, 4] x) => (y) {body}")


def test_a_slice_of_the_whole_batch_follows_and_a_part_stays() -> None:
    model = opened(
        """g (float[2, 4] x) => (y, z)
        <int64[1] a = {0}, int64[1] b = {2}, int64[1] one = {1}, int64[1] c = {0}>
        { y = Slice(x, a, b, c) z = Slice(x, a, one, c) }"""
    )
    x = np.arange(20, dtype=np.float32).reshape(5, 4)
    got = run_onnx(with_open_batch(model), x)
    np.testing.assert_array_equal(got["y"], x)
    np.testing.assert_array_equal(got["z"], x[:1])


def test_constants_with_equal_rows_follow() -> None:
    model = opened(
        """g (float[2, 2] x) => (y, z)
        <float[2, 1] k = {3, 3}, float[2, 2] m = {1, 5, 1, 5}>
        { y = Concat <axis=1> (x, k) z = Sub(m, x) }"""
    )
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    got = run_onnx(with_open_batch(model), x)
    np.testing.assert_array_equal(got["y"], np.c_[x, np.full(4, 3)])
    np.testing.assert_array_equal(got["z"], np.float32([1, 5]) - x)
    assert [value.shape for value in at_batch(model, 4).graph.outputs] == [(4, 3), (4, 2)]
