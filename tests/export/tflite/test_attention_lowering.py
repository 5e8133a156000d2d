"""Blocks of attention, window and pooling networks: how many transposes the TFLite file has."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from edgeconv.export.capture.module import capture_module
from edgeconv.export.opset import DEFAULT_OPSET
from edgeconv.export.passes import optimize
from edgeconv.export.tflite.emit.heads import Heads, heads_of
from edgeconv.models.randomize import randomize_, structured_input
from support.lowering import check, operators

pytestmark = pytest.mark.slow

WIDTH, HEADS, SIDE, WINDOW = 24, 3, 8, 4
MAP = (1, WIDTH, SIDE, SIDE)


class Attention(nn.Module):
    """Softmax(q k' / sqrt d) v of B x T x WIDTH tokens, with one product for all three."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        split = self.qkv(x).reshape(batch, tokens, 3, HEADS, WIDTH // HEADS)
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, WIDTH))


class Transformer(nn.Module):
    """A residual block of a token mixer and an MLP, both behind a norm, on B x T x WIDTH."""

    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 48), nn.GELU(), nn.Linear(48, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(self.norms[0](x))
        return x + self.mlp(self.norms[1](x))


class Windows(nn.Module):
    """Attention within windows of WINDOW x WINDOW, of tokens in rows; shifted by half a window."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.attention = Attention()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, _ = x.shape
        count = SIDE // WINDOW
        x = x.reshape(n, SIDE, SIDE, WIDTH).roll((-self.shift, -self.shift), (1, 2))
        x = x.reshape(n, count, WINDOW, count, WINDOW, WIDTH).permute(0, 1, 3, 2, 4, 5)
        x = self.attention(x.reshape(-1, WINDOW**2, WIDTH))
        x = x.reshape(n, count, count, WINDOW, WINDOW, WIDTH).permute(0, 1, 3, 2, 4, 5)
        x = x.reshape(n, SIDE, SIDE, WIDTH).roll((self.shift, self.shift), (1, 2))
        return x.reshape(n, tokens, WIDTH)


class Patches(nn.Module):
    """An image to tokens, blocks, and the mean of the tokens."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, WIDTH, 2, 2)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.embed(x).flatten(2).transpose(1, 2)).mean(1)


class PoolBlock(nn.Module):
    """PoolFormer's: an average pool mixes, 1x1 convolutions are the MLP, on maps; both behind a
    norm over the whole map."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.GroupNorm(1, WIDTH), nn.GroupNorm(1, WIDTH)])
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.mlp = nn.Sequential(nn.Conv2d(WIDTH, 48, 1), nn.GELU(), nn.Conv2d(48, WIDTH, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norms[0](x)
        x = x + self.pool(y) - y
        return x + self.mlp(self.norms[1](x))


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, WIDTH, 2, 2), PoolBlock(), PoolBlock())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))


def export(network: nn.Module) -> tuple[ir.Model, np.ndarray]:
    torch.manual_seed(0)
    shape = (3, 2 * SIDE, 2 * SIDE)
    randomize_(network, shape=shape).eval()
    x = structured_input((1, *shape)).numpy()
    captured = capture_module(network, (x,), ["output"], DEFAULT_OPSET)
    return optimize(captured), x


@pytest.mark.parametrize(
    ("network", "transposes"),
    [
        # The heads of the result come together again; everything else is written in place.
        pytest.param(lambda: Patches(Transformer(Attention())), 1, id="vit"),
        # Into windows, and heads and windows at once back.
        pytest.param(lambda: Patches(Transformer(Windows(0))), 2, id="swin"),
        pytest.param(lambda: Patches(Transformer(Windows(2))), 2, id="swin-shifted"),
        pytest.param(
            lambda: Patches(Transformer(Windows(0)), Transformer(Windows(2))), 4, id="swin-two"
        ),
        pytest.param(Pooled, 0, id="poolformer"),
    ],
)
def test_the_transposes_of_a_block(network: object, transposes: int) -> None:
    assert callable(network)
    model, x = export(network())
    lowered = check(ir.to_proto(model), {str(model.graph.inputs[0].name): x})
    assert operators(lowered).count("TRANSPOSE") == transposes


def test_heads_are_columns_that_a_transpose_brings_to_the_front() -> None:
    qkv = heads_of((2, 9, 3, 4, 8), (2, 0, 3, 1, 4), rows=18, units=96)
    assert qkv == Heads(groups=2, tokens=9, heads=12, depth=8)
    assert heads_of((2, 9, 4, 8), (0, 2, 3, 1), rows=18, units=32) == Heads(2, 9, 4, 8)


@pytest.mark.parametrize(
    ("shape", "perm"),
    [((2, 9, 32), (0, 2, 1)), ((2, 9, 4, 8), (0, 2, 1, 3)[::-1]), ((6, 96), (1, 0))],
)
def test_other_transposes_take_no_heads_apart(
    shape: tuple[int, ...], perm: tuple[int, ...]
) -> None:
    assert heads_of(shape, perm, rows=18, units=32) is None
