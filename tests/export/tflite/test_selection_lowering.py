"""ArgMax, ArgMin and TopK, from either end and on codes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from edgeconv.bundle import Layout
from edgeconv.export.tflite import lower
from support.lowering import Net, as_model, check, operators, smooth
from support.runtimes import run_tflite

MAP = (2, 5, 4, 6)


@pytest.mark.parametrize("kind", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
def test_arg_extreme(kind: str, axis: int, last: int, keepdims: int, int8: bool) -> None:
    net = Net()
    x = net.input("x", MAP)
    x = net.quantized(x, 0.5, 120) if int8 else x
    net.output(net.op(kind, x, axis=axis, select_last_index=last, keepdims=keepdims))
    # Whole numbers: many are equal.
    lowered = check(net, {"x": np.rint(smooth(MAP))})
    assert lowered.float_fallback == ()
    assert "DEQUANTIZE" not in operators(lowered)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
def test_top_k(largest: int, axis: int, int8: bool) -> None:
    net = Net()
    x = net.input("x", MAP)
    x = net.quantized(x, 0.5, 120) if int8 else x
    net.output(*net.op("TopK", x, net.constant((3,)), axis=axis, largest=largest, outputs=2))
    # Whole numbers: many are equal.
    lowered = check(net, {"x": np.rint(smooth(MAP))})
    assert len(lowered.float_fallback) == (int8 and not largest)


@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_the_least_integer_has_no_negative(kind: str) -> None:
    dtype = np.dtype(kind)
    limits = np.iinfo(dtype)
    net = Net()
    x = net.input("x", (4,), helper.np_dtype_to_tensor_dtype(dtype))
    net.output(*net.op("TopK", x, net.constant((2,)), largest=0, outputs=2))
    check(net, {"x": np.array([limits.max, limits.min, limits.max - 1, 0], dtype)})


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("operator", ["Gather", "GatherND", "GatherElements"])
def test_ids_beyond_a_table_are_counted_round(operator: str, dtype: type) -> None:
    """docs/operators.md: the file takes them modulo the size of the axis."""
    ids = np.array([0, 9, 10, 11, -1, -10, -11, 2**31 - 1, -(2**31)], dtype)
    given = {"Gather": ids, "GatherND": ids[:, None]}.get(operator, np.stack([ids] * 3, 1))
    net, table = Net(), np.arange(30, dtype=np.float32).reshape(10, 3)
    places = net.input("ids", given.shape, helper.np_dtype_to_tensor_dtype(given.dtype))
    net.output(net.op(operator, net.constant(table), places))
    lowered = lower(as_model(net.proto()), layout=Layout.NCHW)
    (got,) = run_tflite(lowered.data, {"ids": given}).values()
    assert np.array_equal(got, table[ids % 10])
