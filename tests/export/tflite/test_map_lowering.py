"""Operators over maps beyond Conv and pools: normalizations, Resize, ConvTranspose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from edgeconv.bundle import Layout
from edgeconv.export.passes import optimize
from edgeconv.export.tflite import lower
from support.lowering import Net, as_model, check, operators, smooth
from support.runtimes import run_tflite

MAP = (2, 6, 5, 4)


def mapped(net: Net, shape: tuple[int, ...] = MAP, scale: float | None = None) -> str:
    """An input that lies with its channels last."""
    x = net.input("x", shape)
    x = net.quantized(x, scale, 120) if scale else x
    x = str(net.op("MaxPool", x, kernel_shape=(1,) * (len(shape) - 2)))
    return net.quantized(x, scale, 120) if scale else x


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_layer_normalization(axis: int, bias: bool) -> None:
    net = Net()
    parameters = [net.constant(smooth(MAP[axis:], seed)) for seed in range(1 + bias)]
    net.output(net.op("LayerNormalization", mapped(net), *parameters, axis=axis))
    check(net, {"x": smooth(MAP)})


def test_layer_normalization_of_channels_needs_no_transpose() -> None:
    net = Net()
    y = net.op("Transpose", mapped(net), perm=(0, 2, 3, 1))
    y = net.op("LayerNormalization", y, net.constant(smooth((6,))))
    net.output(net.op("Transpose", y, perm=(0, 3, 1, 2)))
    assert "TRANSPOSE" not in operators(check(net, {"x": smooth(MAP)}))


@pytest.mark.parametrize("shape", [MAP, (2, 6, 9)])
def test_instance_normalization(shape: tuple[int, ...]) -> None:
    net = Net()
    parameters = net.constant(smooth((6,))), net.constant(smooth((6,), 1))
    net.output(net.op("InstanceNormalization", mapped(net, shape), *parameters))
    check(net, {"x": smooth(shape)})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(1, 3, 48, 48), (1, 3, 12, 12, 12), (1, 3, 2304)])
def test_instances_that_are_nearly_constant(shape: tuple[int, ...], seed: int) -> None:
    """The rounding of a mean of 1000 is not amplified by a deviation of a thousandth."""
    net = Net()
    parameters = net.constant(np.ones(3, np.float32)), net.constant(np.zeros(3, np.float32))
    net.output(net.op("InstanceNormalization", net.input("x", shape), *parameters))
    rng = np.random.default_rng(seed)
    x = (1000.3 + 1e-3 * rng.standard_normal(shape)).astype(np.float32)
    exact, axes = x.astype(np.float64), tuple(range(2, len(shape)))
    exact -= exact.mean(axes, keepdims=True)
    exact /= np.sqrt((exact**2).mean(axes, keepdims=True) + 1e-5)
    lowered = lower(as_model(net.proto()), layout=Layout.NCHW)
    (got,) = run_tflite(lowered.data, {"x": x}).values()
    # Seen: 3e-7; with one mean 2.0. PyTorch itself is off by 5e-3.
    np.testing.assert_allclose(got, exact, atol=1e-5)


@pytest.mark.parametrize("square", ["Mul", "Pow"])
@pytest.mark.parametrize("axes", [(2, 3), (0, -1, -2)])
def test_a_written_out_normalization_of_nearly_constant_maps(
    square: str, axes: tuple[int, ...]
) -> None:
    net, shape = Net(), (1, 3, 48, 48)
    x, along = net.input("x", shape), net.constant(axes)
    centered = net.op("Sub", x, net.op("ReduceMean", x, along))
    factor = centered if square == "Mul" else net.constant(np.float32(2))
    variance = net.op("ReduceMean", net.op(square, centered, factor), along)
    root = net.op("Sqrt", net.op("Add", variance, net.constant(np.float32(1e-5))))
    net.output(net.op("Div", centered, root))
    x_value = (1000.3 + 1e-3 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    exact = x_value.astype(np.float64)
    exact -= exact.mean(axes, keepdims=True)
    exact /= np.sqrt((exact**2).mean(axes, keepdims=True) + 1e-5)
    lowered = lower(optimize(as_model(net.proto())), layout=Layout.NCHW)
    (got,) = run_tflite(lowered.data, {"x": x_value}).values()
    # With one mean: 2.0.
    np.testing.assert_allclose(got, exact, atol=1e-5)


def test_long_rows_that_are_nearly_constant() -> None:
    net, shape = Net(), (1, 1, 20000)
    ones = net.constant(np.ones(20000, np.float32))
    net.output(net.op("LayerNormalization", net.input("x", shape), ones))
    x = (1000.3 + 1e-3 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    exact = x - x.mean(dtype=np.float64)
    exact /= np.sqrt((exact**2).mean() + 1e-5)
    (got,) = run_tflite(lower(as_model(net.proto()), layout=Layout.NCHW).data, {"x": x}).values()
    # With one mean: 1.5.
    np.testing.assert_allclose(got, exact, atol=1e-5)


def test_group_normalization() -> None:
    net = Net(opset=21)
    parameters = net.constant(smooth((6,))), net.constant(smooth((6,), 1))
    y = net.op("GroupNormalization", mapped(net), *parameters, num_groups=3)
    net.declared[y] = MAP  # ONNX infers no shapes through this operator
    net.output(y)
    check(net, {"x": smooth(MAP)})


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [1, -1])
def test_lp_normalization(p: int, axis: int) -> None:
    net = Net()
    net.output(net.op("LpNormalization", mapped(net), p=p, axis=axis))
    check(net, {"x": smooth(MAP)})


@pytest.mark.parametrize("axis", [1, -1])
def test_log_softmax(axis: int) -> None:
    net = Net()
    net.output(net.op("LogSoftmax", mapped(net), axis=axis))
    check(net, {"x": smooth(MAP)})


SIZES = [(10, 8), (3, 7), (5, 4), (1, 1), (15, 12)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "place", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
)
@pytest.mark.parametrize("int8", [False, True])
def test_resize_linear(size: tuple[int, int], place: str, int8: bool) -> None:
    net = Net()
    sizes = net.constant(np.array((*MAP[:2], *size), np.int64))
    x = mapped(net, scale=0.05 if int8 else None)
    y = net.op("Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode=place)
    net.output(net.quantized(y, 0.05, 120) if int8 else y)
    lowered = check(net, {"x": smooth(MAP)}, step=0.05 if int8 else None)
    native = "RESIZE_BILINEAR" in operators(lowered)
    assert native == (size != MAP[2:] and not (place == "pytorch_half_pixel" and 1 in size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("place", ["half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("int8", [False, True])
def test_resize_nearest(size: tuple[int, int], place: str, rounding: str, int8: bool) -> None:
    net = Net()
    sizes = net.constant(np.array((*MAP[:2], *size), np.int64))
    x = mapped(net, scale=0.05 if int8 else None)
    y = net.op(
        "Resize",
        *(x, "", "", sizes),
        mode="nearest",
        coordinate_transformation_mode=place,
        nearest_mode=rounding,
    )
    net.output(net.quantized(y, 0.05, 120) if int8 else y)
    check(net, {"x": smooth(MAP)}, step=0.0 if int8 else None)


def test_upsampling_by_two_is_one_operator() -> None:
    net = Net()
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    attributes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    net.output(net.op("Resize", mapped(net), "", scales, mode="nearest", **attributes))
    lowered = check(net, {"x": smooth(MAP)})
    assert operators(lowered) == ["MAX_POOL_2D", "RESIZE_NEAREST_NEIGHBOR"]
    assert lowered.operators["RESIZE_NEAREST_NEIGHBOR"] == 1


def test_a_scale_that_gives_no_whole_size_is_composed() -> None:
    net = Net()
    scales = net.constant(np.array([1, 1, 1.5, 1.5], np.float32))
    net.output(net.op("Resize", mapped(net), "", scales, mode="linear"))
    assert "BATCH_MATMUL" in operators(check(net, {"x": smooth(MAP)}))


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.tuples(st.integers(0, 1), st.integers(0, 1)),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 2]),
    st.booleans(),
    st.sampled_from(["", "Relu"]),
    st.booleans(),
)
def test_conv_transpose(
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    extra: tuple[int, int],
    group: int,
    dilation: int,
    bias: bool,
    activation: str,
    int8: bool,
) -> None:
    assume(all(e < s for e, s in zip(extra, strides, strict=True)))
    reach = [(k - 1) * dilation + 1 for k in kernel]
    size = (4, 5)
    assume(
        all(
            (size[a] - 1) * strides[a] + reach[a] + extra[a] - pads[a] - pads[a + 2] > 0
            for a in (0, 1)
        )
    )
    net = Net()
    shape = (1, 4, *size)
    x = net.input("x", shape)
    weight = smooth((4, 3, *kernel)) / 4
    addend = smooth((3 * group,), 1)
    operands = [net.quantized(x, 0.03, 120) if int8 else x]
    if int8:
        name, scales = net.int8_weight(weight, 1 if group == 1 else None)
        operands.append(name)
        operands += [net.int32_bias(addend, np.float32(0.03) * scales)] if bias else []
    else:
        operands += [net.constant(weight)] + ([net.constant(addend)] if bias else [])
    y = net.op(
        "ConvTranspose",
        *operands,
        strides=strides,
        pads=pads,
        output_padding=extra,
        group=group,
        dilations=(dilation, dilation),
    )
    y = net.op(activation, y) if activation else y
    net.output(net.quantized(y, 0.03, 128) if int8 else y)
    lowered = check(net, {"x": smooth(shape)}, step=0.03 if int8 else None)
    assert lowered.float_fallback == ()
    assert lowered.operators["TRANSPOSE_CONV"] == 3


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_conv_transpose_auto_pad(mode: str) -> None:
    net = Net()
    weight = net.constant(smooth((6, 3, 3, 3)))
    net.output(net.op("ConvTranspose", mapped(net), weight, strides=(2, 2), auto_pad=mode))
    check(net, {"x": smooth(MAP)})


@pytest.mark.parametrize("layout", Layout)
def test_prelu(layout: Layout) -> None:
    net = Net()
    net.output(net.op("PRelu", mapped(net), net.constant(smooth((6, 1, 1)))))
    check(net, {"x": smooth(MAP)}, layout=layout)


@pytest.mark.parametrize("kind", ["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"])
def test_comparisons_and_choices(kind: str) -> None:
    net = Net()
    x = mapped(net)
    y = net.op(kind, x, net.constant(np.float32(0.1)))
    net.output(net.op("Where", y, x, net.constant(smooth((6, 1, 1)))))
    check(net, {"x": smooth(MAP)})


@pytest.mark.parametrize("kind", ["And", "Or", "Xor"])
def test_logic(kind: str) -> None:
    net = Net()
    x = mapped(net)
    low, high = (net.op("Less", x, net.constant(np.float32(bound))) for bound in (-0.2, 0.3))
    either = net.op(kind, low, net.op("Not", high))
    net.output(either, net.op("Cast", either, to=TensorProto.FLOAT))
    check(net, {"x": smooth(MAP)})


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 3.0, 1.7])
def test_powers(exponent: float) -> None:
    net = Net()
    net.output(net.op("Pow", mapped(net), net.constant(np.float32(exponent))))
    check(net, {"x": np.abs(smooth(MAP)) + 0.1})


@pytest.mark.parametrize("kind", ["Max", "Min", "Sum"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_variadic(kind: str, count: int) -> None:
    net = Net()
    operands = [mapped(net), net.constant(smooth((6, 1, 1), 1)), net.constant(smooth(MAP, 2))]
    net.output(net.op("Relu", net.op(kind, *operands[:count])))
    check(net, {"x": smooth(MAP)})


@pytest.mark.parametrize("axis", [1, 3])
@pytest.mark.parametrize("keep", [0, 1])
def test_arg_max(axis: int, keep: int) -> None:
    net = Net()
    net.output(net.op("ArgMax", mapped(net), axis=axis, keepdims=keep))
    check(net, {"x": smooth(MAP)})


def test_top_k() -> None:
    net = Net()
    net.output(*net.op("TopK", mapped(net), net.constant(np.array([3])), axis=1, outputs=2))
    check(net, {"x": smooth(MAP)})


@pytest.mark.parametrize("axis", [1, 3])
def test_cumulative_sum(axis: int) -> None:
    net = Net()
    net.output(net.op("CumSum", mapped(net), net.constant(np.array(axis)), exclusive=1))
    check(net, {"x": smooth(MAP)})
