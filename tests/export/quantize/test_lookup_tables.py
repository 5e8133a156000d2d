"""Constants that the network looks up rows in become integers, in the codes of what is read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

from edgeconv.bundle import IoType, Precision
from edgeconv.export.precision.variant import make_variant
from edgeconv.export.quantize import QuantizedModel, QuantizeOptions, quantize
from edgeconv.export.tflite import lower
from support.lowering import STEP, Array, Net, as_model
from support.runtimes import onnx_session, run_onnx, run_tflite, tflite_interpreter

OPTIONS = QuantizeOptions(effort=0)
ROWS, WIDTH = 60, 8
# Half of the rows, those below 0 in the table's first column, are never seen in calibration.
SEEN = np.array([[1, 3, 5, 7]])
ASKED = np.array([[0, 59, 30, 2]])


def table(seed: int = 0) -> Array:
    drawn = np.random.default_rng(seed).normal(0, 1, (ROWS, WIDTH)).astype(np.float32)
    drawn[0] *= 3  # beyond what calibration sees
    return drawn


def looked_up(values: Array, read: Callable[[Net, str, str], str]) -> ir.Model:
    net = Net()
    ids = net.input("ids", (1, 4), TensorProto.INT64)
    return as_model(net.output(read(net, net.constant(values), ids)).proto())


def rows(net: Net, values: str, ids: str) -> str:
    return str(net.op("Gather", values, ids, axis=0))


def rows_by_places(net: Net, values: str, ids: str) -> str:
    places = net.op("Unsqueeze", ids, net.constant([-1]))
    return str(net.op("GatherND", values, places))


def columns(net: Net, values: str, ids: str) -> str:
    turned = net.op("Gather", values, ids, axis=1)
    return str(net.op("Transpose", turned, perm=[1, 2, 0]))


def into_a_layer(net: Net, values: str, ids: str) -> str:
    weight = np.random.default_rng(1).normal(0, 0.5, (WIDTH, 5)).astype(np.float32)
    return str(net.op("Relu", net.op("MatMul", rows(net, values, ids), net.constant(weight))))


def into_float(net: Net, values: str, ids: str) -> str:
    scale = net.constant(np.ones(WIDTH, np.float32))
    return str(net.op("LayerNormalization", rows(net, values, ids), scale))


def quantized(model: ir.Model) -> QuantizedModel:
    return quantize(model, [[SEEN]], OPTIONS)


def stored_floats(model: ir.Model) -> int:
    """How many float32 numbers the file stores, those of scales included."""
    values = model.graph.initializers.values()
    kept = [v.const_value for v in values if v.dtype == ir.DataType.FLOAT]
    return sum(int(each.size) for each in kept if each is not None)


@pytest.mark.parametrize("read", [rows, rows_by_places, columns, into_a_layer, into_float])
def test_a_table_is_integers_in_both_formats(read: Callable[[Net, str, str], str]) -> None:
    values = table().T.copy() if read is columns else table()
    model = looked_up(values, read)
    found = quantized(model)
    variant = make_variant(Precision.INT8, model, found, IoType.FLOAT32)
    assert stored_floats(variant.onnx) < WIDTH * 4
    lowered = lower(variant.tflite)
    held = tflite_interpreter(bytes(lowered.data)).get_tensor_details()
    assert not any(t["dtype"] is np.float32 and np.prod(t["shape"]) == values.size for t in held)
    expected = next(iter(run_onnx(ir.to_proto(model), [ASKED]).values()))
    got = [
        next(iter(run_onnx(ir.to_proto(variant.onnx), [ASKED], fused=fused).values()))
        for fused in (True, False)
    ]
    got.append(next(iter(run_tflite(lowered.data, [ASKED]).values())))
    step = (values.max() - values.min()) / 255
    for each in got:
        # Half a step of the table; a layer adds up eight of its elements, and a normalization
        # divides by what is at least 0.5 here. Nothing saturates, seen before or not.
        factor = {into_a_layer: 4, into_float: 2}.get(read, 0.5)
        limit = factor * STEP * step
        if read is into_a_layer:
            expected, each = (np.minimum(a, got[0].max()) for a in (expected, each))
        np.testing.assert_allclose(each, expected, atol=limit)
    if read in (rows, rows_by_places, columns):
        np.testing.assert_array_equal(got[2], got[0])
        np.testing.assert_array_equal(got[1], got[0])


def test_onnx_runtime_holds_integers(tmp_path: object) -> None:
    model = looked_up(table(), into_a_layer)
    variant = make_variant(Precision.INT8, model, quantized(model), IoType.FLOAT32)
    path = f"{tmp_path}/optimized.onnx"
    onnx_session(variant.onnx, fused=True, optimized_model_filepath=path)
    kept = ir.load(path)
    (lookup,) = [node for node in kept.graph if node.op_type == "Gather"]
    assert lookup.inputs[0] is not None
    assert lookup.inputs[0].dtype == ir.DataType.UINT8
    assert stored_floats(kept) < WIDTH * 4


def test_int16_activations_keep_the_integers_of_the_table() -> None:
    model = looked_up(table(), rows)
    variant = make_variant(Precision.INT16X8, model, quantized(model), IoType.FLOAT32)
    assert variant.checked is not None
    expected = next(iter(run_onnx(ir.to_proto(model), [ASKED]).values()))
    step = (table().max() - table().min()) / 255
    lowered = lower(variant.tflite, finish=variant.finish)
    for got in (
        run_onnx(ir.to_proto(variant.onnx), [ASKED], fused=True),
        run_tflite(lowered.data, [ASKED]),
    ):
        np.testing.assert_allclose(next(iter(got.values())), expected, atol=0.51 * step)


def masked() -> Array:
    """Rows beside one that is a mask, whose scale would leave them no steps."""
    values = table()
    values[7] = -1e9
    return values


def unknown() -> Array:
    values = table()
    values[7, 0] = np.nan
    return values


@pytest.mark.parametrize("values", [masked(), unknown(), table()[:, 0].copy()])
def test_what_one_scale_does_not_fit_stays_in_float(values: Array) -> None:
    model = looked_up(values, lambda net, t, ids: str(net.op("Abs", rows(net, t, ids))))
    found = quantize(model, [[SEEN * 0]], OPTIONS)
    assert [name for name in found.float_fallback if "Gather" in name]
    got = next(iter(run_onnx(ir.to_proto(found.model), [SEEN * 0]).values()))
    expected = next(iter(run_onnx(ir.to_proto(model), [SEEN * 0]).values()))
    # Half a step of what is read, of either sign, and half a step of the result.
    np.testing.assert_allclose(got, expected, atol=1.5 * STEP * np.abs(expected).max() / 255)


def test_keep_float_keeps_a_table() -> None:
    model = looked_up(table(), into_a_layer)
    (lookup,) = [node for node in model.graph if node.op_type == "Gather"]
    options = QuantizeOptions(effort=0, keep_float=frozenset({str(lookup.name)}))
    found = quantize(model, [[SEEN]], options)
    assert stored_floats(found.model) > ROWS * WIDTH
