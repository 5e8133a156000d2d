"""Formulas against the products that a network really makes, counted by PyTorch."""

import onnx
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeconv.export.inspect.macs import onnx_macs, tflite_macs


def counted_by_torch(module: nn.Module, *inputs: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return int(counter.get_total_flops()) // 2  # a multiplication and an addition


@pytest.mark.parametrize(
    ("groups", "stride", "dilation"), [(1, 1, 1), (1, 2, 1), (4, 1, 1), (8, 2, 1), (2, 1, 2)]
)
def test_convolution(groups: int, stride: int, dilation: int) -> None:
    layer = nn.Conv2d(8, 16, (3, 5), stride, padding=2, dilation=dilation, groups=groups)
    x = torch.rand(2, 8, 14, 12)
    y = layer(x)
    cost = onnx_macs("Conv", [x.shape, layer.weight.shape, (16,)], [y.shape], {"group": groups})
    assert cost == counted_by_torch(layer, x)
    n, c, h, w = y.shape
    shape = (16, 3, 5, 8 // groups)
    cost = tflite_macs("CONV_2D", [(2, 14, 12, 8), shape, (16,)], [(n, h, w, c)], {})
    assert cost == counted_by_torch(layer, x)


def test_depthwise_convolution() -> None:
    layer = nn.Conv2d(6, 12, 3, padding=1, groups=6)
    x = torch.rand(1, 6, 9, 9)
    cost = tflite_macs(
        "DEPTHWISE_CONV_2D", [(1, 9, 9, 6), (1, 3, 3, 12), (12,)], [(1, 9, 9, 12)], {}
    )
    assert cost == counted_by_torch(layer, x)


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution(groups: int) -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, stride=2, groups=groups)
    x = torch.rand(2, 4, 5, 5)
    truth = counted_by_torch(layer, x)
    y = layer(x)
    assert onnx_macs("ConvTranspose", [x.shape, layer.weight.shape], [y.shape], {}) == truth
    if groups == 1:
        n, c, h, w = y.shape
        shapes = [(4,), (6, 3, 3, 4), (2, 5, 5, 4)]
        assert tflite_macs("TRANSPOSE_CONV", shapes, [(n, h, w, c)], {}) == truth


def test_matrix_products() -> None:
    linear, x = nn.Linear(7, 5), torch.rand(3, 7)
    truth = counted_by_torch(linear, x)
    assert onnx_macs("Gemm", [(3, 7), (5, 7), (5,)], [(3, 5)], {"transB": 1}) == truth
    assert onnx_macs("Gemm", [(7, 3), (7, 5)], [(3, 5)], {"transA": 1}) == truth
    assert tflite_macs("FULLY_CONNECTED", [(3, 7), (5, 7)], [(3, 5)], {}) == truth
    batched = [(2, 4, 3, 7), (2, 4, 7, 5)]
    assert onnx_macs("MatMul", batched, [(2, 4, 3, 5)], {}) == 8 * 3 * 7 * 5
    assert tflite_macs("BATCH_MATMUL", batched, [(2, 4, 3, 5)], {"adj_x": False}) == 8 * 3 * 7 * 5
    turned = [(2, 7, 3), (2, 7, 5)]
    assert tflite_macs("BATCH_MATMUL", turned, [(2, 3, 5)], {"adj_x": True}) == 2 * 3 * 7 * 5


def test_einsum_runs_every_index_once() -> None:
    attributes = {"equation": b"bhid, bhjd -> bhij"}
    cost = onnx_macs("Einsum", [(2, 4, 9, 8), (2, 4, 9, 8)], [(2, 4, 9, 9)], attributes)
    assert cost == 2 * 4 * 9 * 9 * 8
    three = {"equation": b"i,i,i->"}
    assert onnx_macs("Einsum", [(2,), (2,), (2,)], [()], three) is None


def test_lstm_multiplies_every_gate_at_every_step() -> None:
    length, batch, size, hidden = 5, 2, 3, 4
    shapes = [(length, batch, size), (1, 4 * hidden, size), (1, 4 * hidden, hidden)]
    expected = length * batch * 4 * hidden * (size + hidden)
    assert onnx_macs("LSTM", shapes, [(length, 1, batch, hidden)], {}) == expected


def test_the_rest_costs_nothing() -> None:
    assert onnx_macs("Relu", [(1, 2)], [(1, 2)], {}) == 0
    assert tflite_macs("AVERAGE_POOL_2D", [(1, 2, 2, 1)], [(1, 1, 1, 1)], {}) == 0


def test_what_is_not_known_is_not_zero() -> None:
    assert onnx_macs("Conv", [None, (1, 1, 1, 1)], [None], {}) is None
    assert onnx_macs("Conv", [], [], {}) is None
    assert onnx_macs("Gemm", [(), ()], [(3, 5)], {}) is None
    assert onnx_macs("Attention", [(1, 2, 3)], [(1, 2, 3)], {}) is None
    assert tflite_macs("LSTM", [(1, 2)], [(1, 2)], {}) is None


def test_names_are_real_operators() -> None:
    from ai_edge_litert import schema_py_generated as schema

    from edgeconv.export.inspect.macs import _ONNX, _TFLITE

    contributed = {"FusedConv", "MultiHeadAttention", "GroupQueryAttention", "QGemm"}
    assert set(_ONNX) - contributed <= {schema.name for schema in onnx.defs.get_all_schemas()}
    assert all(hasattr(schema.BuiltinOperator, name) for name in _TFLITE)
