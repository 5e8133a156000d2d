"""GatherElements, Scatter, OneHot and Trilu, with constant and with computed indices."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from edgeconv.bundle import Layout
from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite import lower
from edgeconv.export.tflite.ops import scatter
from support.lowering import Array, Net, as_model, check, operators, smooth

MAP = (2, 3, 4, 5)
SCALE, ZERO = 0.05, 120


def indexed(net: Net, indices: Array, computed: bool, feeds: dict[str, Array]) -> str:
    """Indices as a constant or as an input."""
    if not computed:
        return net.constant(indices)
    feeds["i"] = indices
    return net.input("i", indices.shape, TensorProto.INT64)


@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 3, -2])
@pytest.mark.parametrize("layout", Layout)
def test_elements(axis: int, computed: bool, layout: Layout) -> None:
    if computed and layout is Layout.NHWC:
        pytest.skip("indices that are inputs of rank 4 would change layout too")
    rng = np.random.default_rng(axis % 4)
    size = MAP[axis]
    x = smooth(MAP)
    feeds = {"x": x}
    net = Net()
    data = net.input("x", MAP)
    # No place twice: each line along the axis is a part of a permutation.
    lines = rng.permuted(np.indices(MAP)[axis], axis=axis).astype(np.int64)
    lines = np.take(lines, range(max(1, size - 1)), axis) - size * (rng.random() < 0.5)
    indices = indexed(net, lines, computed, feeds)
    net.output(net.op("GatherElements", data, indices, axis=axis))
    updates = net.constant(smooth(lines.shape, 1))
    net.output(net.op("ScatterElements", data, indices, updates, axis=axis))
    net.output(net.op("ScatterElements", data, indices, updates, axis=axis, reduction="add"))
    check(net, feeds, layout=layout)


@pytest.mark.parametrize("computed", [False, True])
def test_scatter_nd(computed: bool) -> None:
    feeds = {"x": smooth((4, 5, 3))}
    net = Net()
    data = net.input("x", (4, 5, 3))
    indices = indexed(net, np.array([[0, 1], [3, 4], [2, 0]]), computed, feeds)
    updates = net.constant(smooth((3, 3), 1))
    net.output(net.op("ScatterND", data, indices, updates))
    net.output(net.op("ScatterND", data, indices, updates, reduction="add"))
    check(net, feeds)


@pytest.mark.parametrize(
    ("updates", "most"),
    [
        ("equal", scatter.MOST_COMPARISONS),
        ("different", scatter.MOST_COMPARISONS),
        ("boolean", scatter.MOST_COMPARISONS),
        ("constant", 1),
        # Different ones that are too many to compare become their mean, which is none of them.
        ("equal", 1),
        ("boolean", 1),
    ],
)
def test_places_that_are_put_twice(
    updates: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last update counts, as on ONNX Runtime and in PyTorch on a CPU."""
    monkeypatch.setattr(scatter, "MOST_COMPARISONS", most)
    places = np.array([[1, 3, 1, -3], [0, 0, 0, 2]])
    values = {
        "equal": np.take_along_axis(np.array([[9.0, 5, 9, 7], [4, 1, 2, 3]]), places % 4, 1),
        "different": np.arange(8.0).reshape(2, 4) + 1,
        "constant": np.full((2, 4), 3.0),
        "boolean": np.ones((2, 4), bool),
    }[updates]
    values = values if updates == "boolean" else values.astype(np.float32)
    dtype = TensorProto.BOOL if updates == "boolean" else TensorProto.FLOAT
    feeds = {"i": places}
    net = Net()
    indices = net.input("i", places.shape, TensorProto.INT64)
    if updates == "constant":
        put = net.constant(values)
    else:
        feeds["u"], put = values, net.input("u", values.shape, dtype)
    data = net.constant(np.zeros((2, 4), values.dtype))
    net.output(net.op("ScatterElements", data, indices, put, axis=1))
    if updates == "different":
        rows = net.op("Reshape", indices, net.constant(np.array([4, 2])))
        wide = net.op("Reshape", put, net.constant(np.array([4, 2])))
        table = net.constant(smooth((4, 4, 2)))
        net.output(net.op("ScatterND", table, rows, wide))
    check(net, feeds)


def test_integers_that_are_too_many_to_compare_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scatter, "MOST_COMPARISONS", 1)
    net = Net()
    indices = net.input("i", (2, 4), TensorProto.INT64)
    data = net.constant(np.zeros((2, 4), np.int64))
    net.output(net.op("ScatterElements", data, indices, indices, axis=1))
    with pytest.raises(UnsupportedOperator, match="8 updates in integers are too many"):
        lower(as_model(net.proto()), layout=Layout.NCHW)


def test_int8() -> None:
    net = Net()
    x = net.quantized(net.input("x", MAP), SCALE, ZERO)
    lines = np.zeros((2, 1, 4, 5), np.int64)
    taken = net.op("GatherElements", x, net.constant(lines), axis=1)
    net.output(net.quantized(taken, SCALE, ZERO))
    # The updates have a scale of their own and come to that of the result.
    more = net.quantized(net.op("Relu", taken), 0.03, 0)
    put = net.op("ScatterElements", x, net.constant(lines + 2), more, axis=1)
    net.output(net.quantized(put, SCALE, ZERO))
    lowered = check(net, {"x": smooth(MAP)}, step=SCALE)
    assert lowered.float_fallback == ()
    assert "SCATTER_ND" not in operators(lowered)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_one_hot(axis: int, dtype: str) -> None:
    net = Net()
    # Beyond the depth at either end nothing is on.
    indices = np.array([[0, 3, -1], [-4, 4, -5]])
    values = net.constant(np.array([-1, 5], dtype))
    i = net.input("i", indices.shape, TensorProto.INT64)
    net.output(net.op("OneHot", i, net.constant(np.array(4)), values, axis=axis))
    check(net, {"i": indices})


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("diagonal", [-2, 0, 1, 9])
@pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
def test_trilu(upper: int, diagonal: int, int8: bool) -> None:
    net = Net()
    x = net.input("x", MAP)
    x = net.quantized(x, SCALE, ZERO) if int8 else x
    y = net.op("Trilu", x, net.constant(np.array(diagonal)), upper=upper)
    net.output(net.quantized(y, SCALE, ZERO) if int8 else y)
    check(net, {"x": smooth(MAP)}, step=0.0 if int8 else None)


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_gather_nd(batch: int) -> None:
    net = Net()
    shape = (2, 3, 4, 5)
    indices = np.random.default_rng(batch).integers(-2, 2, (*shape[:batch], 3, 2))
    net.output(net.op("GatherND", net.input("x", shape), net.constant(indices), batch_dims=batch))
    check(net, {"x": smooth(shape)})
