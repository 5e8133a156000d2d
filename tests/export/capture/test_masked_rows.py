"""Attention rows of which every key is masked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgeconv.bundle import Layout
from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.export.tflite import lower
from support.runtimes import run_onnx, run_tflite

Inputs = list[np.ndarray]
BATCH, QUERIES, KEYS, WIDTH = 2, 3, 5, 8


class Product(nn.Module):
    def forward(self, q: torch.Tensor, k: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(q, k, k, attn_mask=mask)


class Lengths(nn.Module):
    def forward(self, q: torch.Tensor, k: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        mask = (torch.arange(KEYS)[None] < length[:, None])[:, None, None]
        return functional.scaled_dot_product_attention(q, k, k, attn_mask=mask)


class Cross(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, q: torch.Tensor, k: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.attention(
            q[:, 0], k[:, 0], k[:, 0], key_padding_mask=padding, need_weights=False
        )[0]
        return result


def boolean(empty: int) -> np.ndarray:
    mask = np.ones((BATCH, 1, QUERIES, KEYS), bool)
    mask[0, :, :empty] = False
    return mask


def additive(empty: int) -> np.ndarray:
    return np.where(boolean(empty), 0, -np.inf).astype(np.float32)


def lengths(empty: int) -> np.ndarray:
    return np.array([0 if empty else 4, 2], np.int64)


def padding(empty: int) -> np.ndarray:
    return np.array([[bool(empty)] * KEYS, [False, False, True, False, True]])


CASES: list[tuple[Callable[[], nn.Module], Callable[[int], np.ndarray]]] = [
    (Product, boolean),
    (Product, additive),
    (Lengths, lengths),
    (Cross, padding),
]


@pytest.mark.parametrize(("network", "mask"), CASES)
def test_they_are_zero_as_in_pytorch(
    network: Callable[[], nn.Module], mask: Callable[[int], np.ndarray]
) -> None:
    rng = np.random.default_rng(0)
    q, k = (
        rng.standard_normal((BATCH, 1, rows, WIDTH)).astype(np.float32) for rows in (QUERIES, KEYS)
    )
    module = network().eval()
    graph = optimize(capture_module(module, [q, k, mask(0)], ["y"], 20))
    for empty in (0, 1):
        inputs: Inputs = [q, k, mask(empty)]
        feeds = {str(v.name): x for v, x in zip(graph.graph.inputs, inputs, strict=True)}
        with torch.no_grad():
            expected = module(*map(torch.from_numpy, inputs)).numpy()
        (onnx,) = run_onnx(ir.to_proto(graph).SerializeToString(), feeds).values()
        (tflite,) = run_tflite(lower(graph, layout=Layout.NCHW).data, feeds).values()
        for got in (onnx, tflite):
            # A few units in the last place of sums over eight products.
            np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)
