"""Operators that move elements, and the transposes that they must not cost."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.bundle import Layout
from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite import lower
from support.lowering import Net, as_model, check, operators, smooth

MAP = (2, 4, 6, 3)


def mapped(
    net: Net, name: str, shape: tuple[int, ...], codes: tuple[float, int] | None = None
) -> str:
    """An input that lies with its channels last, quantized with a scale and a zero point."""
    x = net.input(name, shape)
    x = net.quantized(x, *codes) if codes else x
    x = str(net.op("MaxPool", x, kernel_shape=(1, 1)))
    return net.quantized(x, *codes) if codes else x


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(Layout), st.booleans())
def test_reshapes_and_transposes_in_any_sequence(
    data: st.DataObject, layout: Layout, int8: bool
) -> None:
    net = Net()
    y = mapped(net, "x", MAP)
    y = net.quantized(y, 0.05, 128) if int8 else y
    shape: tuple[int, ...] = MAP
    for _ in range(data.draw(st.integers(1, 4))):
        if data.draw(st.booleans()):
            perm = data.draw(st.permutations(range(len(shape))))
            shape = tuple(shape[axis] for axis in perm)
            y = net.op("Transpose", y, perm=perm)
        else:
            shape = data.draw(
                st.sampled_from(
                    [(2, 72), (8, 6, 3), (2, 2, 2, 6, 3), (1, 144), (2, 12, 6, 1), (9, 16)]
                )
            )
            y = net.op("Reshape", y, net.constant(shape))
    assert prod(shape) == prod(MAP)
    net.output(net.quantized(y, 0.05, 128) if int8 else y)
    check(net, {"x": smooth(MAP)}, layout=layout, step=0.0 if int8 else None)


def test_transposes_that_cancel_leave_nothing() -> None:
    net = Net()
    y = net.op("Transpose", mapped(net, "x", MAP), perm=(0, 2, 3, 1))
    y = net.op("Transpose", net.op("Sigmoid", y), perm=(0, 3, 1, 2))
    net.output(y)
    assert operators(check(net, {"x": smooth(MAP)})) == [
        *("MAX_POOL_2D", "MAXIMUM", "MINIMUM", "LOGISTIC")
    ]


def test_a_patch_embedding_needs_no_transpose() -> None:
    net = Net()
    y = net.op("Reshape", mapped(net, "x", MAP), net.constant((2, 4, 18)))
    y = net.op("Transpose", y, perm=(0, 2, 1))
    net.output(net.op("MatMul", y, net.constant(smooth((4, 5)))))
    lowered = check(net, {"x": smooth(MAP)})
    assert operators(lowered) == ["MAX_POOL_2D", "FULLY_CONNECTED", "RESHAPE"]


def test_flatten_before_gemm_permutes_the_weight() -> None:
    net = Net()
    y = net.op("Relu", net.op("Flatten", mapped(net, "x", MAP)))
    net.output(net.op("Gemm", y, net.constant(smooth((72, 5))), net.constant(smooth((5,)))))
    lowered = check(net, {"x": smooth(MAP)})
    assert operators(lowered) == ["MAX_POOL_2D", "RELU", "FULLY_CONNECTED"]


def test_flatten_of_a_pooled_map_is_nothing() -> None:
    net = Net()
    y = net.op("Flatten", net.op("GlobalAveragePool", mapped(net, "x", MAP)))
    net.output(net.op("Gemm", y, net.constant(smooth((5, 4))), transB=1))
    assert operators(check(net, {"x": smooth(MAP)})) == ["MAX_POOL_2D", "MEAN", "FULLY_CONNECTED"]


@pytest.mark.parametrize("per_channel", [False, True])
def test_int8_flatten_before_gemm(per_channel: bool) -> None:
    net = Net()
    y = net.op("Flatten", mapped(net, "x", MAP, (0.03, 120)))
    weight, scales = net.int8_weight(smooth((5, 72)) / 8, 0 if per_channel else None)
    bias = net.int32_bias(smooth((5,)), np.float32(0.03) * scales)
    net.output(net.quantized(net.op("Gemm", y, weight, bias, transB=1), 0.05, 120))
    lowered = check(net, {"x": smooth(MAP)}, step=0.05)
    assert lowered.float_fallback == ()
    assert "TRANSPOSE" not in operators(lowered)
    # FULLY_CONNECTED takes per-channel scales from version 12 on, which old runtimes refuse.
    assert lowered.operators.get("FULLY_CONNECTED") == (None if per_channel else 4)


@pytest.mark.parametrize(
    "attributes",
    [{}, {"alpha": 0.5}, {"beta": 2.0}, {"transB": 1}, {"transA": 1}, {"transA": 1, "transB": 1}],
)
@pytest.mark.parametrize("c", [None, (), (5,), (1, 5), (1,), (3, 5), (3, 1)])
@pytest.mark.parametrize("constant", [True, False])
def test_gemm(attributes: dict[str, float], c: tuple[int, ...] | None, constant: bool) -> None:
    net = Net()
    feeds = {"a": smooth((7, 3) if attributes.get("transA") else (3, 7))}
    operands = [net.input("a", feeds["a"].shape)]
    b = smooth((5, 7) if attributes.get("transB") else (7, 5), 1)
    if constant:
        operands.append(net.constant(b))
    else:
        feeds["b"] = b
        operands.append(net.input("b", b.shape))
    if c is not None:
        operands.append(net.constant(np.asarray(smooth(c, 2))))
    net.output(net.op("Gemm", *operands, **attributes))
    check(net, feeds)


MATMULS = [
    ((3, 7), (7, 5)),
    ((2, 3, 7), (7, 5)),
    ((2, 4, 3, 7), (7, 5)),
    ((2, 3, 7), (2, 7, 5)),
    ((2, 4, 3, 7), (2, 4, 7, 5)),
    ((2, 4, 3, 7), (4, 7, 5)),
    ((3, 7), (2, 7, 5)),
    ((7,), (7, 5)),
    ((3, 7), (7,)),
    ((7,), (7,)),
]


@pytest.mark.parametrize(("left", "right"), MATMULS)
@pytest.mark.parametrize("constant", [False, True])
def test_matmul(left: tuple[int, ...], right: tuple[int, ...], constant: bool) -> None:
    net = Net()
    feeds = {"a": np.asarray(smooth(left))}
    a = net.input("a", left)
    b = np.asarray(smooth(right, 1))
    if constant:
        y = net.op("MatMul", a, net.constant(b))
    else:
        feeds["b"] = b
        y = net.op("MatMul", a, net.input("b", right))
    net.output(y)
    check(net, feeds, layout=Layout.NCHW)


def test_matmul_takes_a_transposed_operand_as_it_is() -> None:
    net = Net()
    q, k = net.input("q", (2, 5, 4)), net.input("k", (2, 6, 4))
    net.output(net.op("MatMul", q, net.op("Transpose", k, perm=(0, 2, 1))))
    lowered = check(net, {"q": smooth((2, 5, 4)), "k": smooth((2, 6, 4), 1)})
    assert operators(lowered) == ["BATCH_MATMUL"]


@pytest.mark.parametrize("per_channel", [False, True])
def test_int8_matmul(per_channel: bool) -> None:
    net = Net()
    x = net.quantized(net.input("x", (2, 3, 7)), 0.03, 120)
    weight, _ = net.int8_weight(smooth((7, 5)) / 4, 1 if per_channel else None)
    net.output(net.quantized(net.op("MatMul", x, weight), 0.05, 120))
    lowered = check(net, {"x": smooth((2, 3, 7))}, step=0.05)
    assert lowered.float_fallback == ()


def test_int8_matmul_of_two_activations() -> None:
    net = Net()
    a = net.quantized(net.input("a", (2, 3, 7)), 0.03, 120)
    b = net.quantized(net.input("b", (2, 7, 5)), 0.02, 130)
    net.output(net.quantized(net.op("MatMul", a, b), 0.05, 120))
    lowered = check(net, {"a": smooth((2, 3, 7)), "b": smooth((2, 7, 5), 1)}, step=0.05)
    # TFLite's own int8 kernel is slower on ARM than XNNPACK's in float.
    assert len(lowered.float_fallback) == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(-4, 3), st.sampled_from(Layout), st.booleans(), st.booleans())
def test_concat(axis: int, layout: Layout, int8: bool, constant: bool) -> None:
    net = Net()
    parts = [mapped(net, "x", MAP, (0.05, 120) if int8 else None)]
    if constant:
        parts.append(net.constant(np.full(MAP, 0.25, np.float32)))
    else:
        parts.append(mapped(net, "y", MAP, (0.03, 130) if int8 else None))
    y = net.op("Concat", *parts, axis=axis)
    net.output(net.quantized(y, 0.04, 125) if int8 else y)
    feeds = {"x": smooth(MAP)} | ({} if constant else {"y": smooth(MAP, 1)})
    lowered = check(net, feeds, layout=layout, step=0.04 if int8 else None)
    assert lowered.float_fallback == ()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 2), min_size=8, max_size=8),
    st.sampled_from(["constant", "reflect", "edge"]),
    st.sampled_from([None, 0.0, 1.5]),
    st.booleans(),
    st.sampled_from(Layout),
)
def test_pad(pads: list[int], mode: str, value: float | None, int8: bool, layout: Layout) -> None:
    net = Net()
    # Reflection needs more elements than it reflects.
    x = mapped(net, "x", (3, 4, 6, 3), (0.05, 120) if int8 else None)
    operands = [x, net.constant(np.array(pads, np.int64))]
    if value is not None and mode == "constant":
        operands.append(net.constant(np.float32(value)))
    y = net.op("Pad", *operands, mode=mode)
    net.output(net.quantized(y, 0.05, 120) if int8 else y)
    lowered = check(net, {"x": smooth((3, 4, 6, 3))}, layout=layout, step=0.05 if int8 else None)
    assert lowered.float_fallback == ()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(-1, 1), min_size=8, max_size=8),
    st.sampled_from(["constant", "reflect", "edge", "wrap"]),
    st.sampled_from([None, 1.5]),
    st.booleans(),
    st.sampled_from(Layout),
)
def test_pad_by_negative_amounts(
    pads: list[int], mode: str, value: float | None, int8: bool, layout: Layout
) -> None:
    net = Net()
    x = mapped(net, "x", (3, 4, 6, 3), (0.05, 120) if int8 else None)
    operands = [x, net.constant(np.array(pads, np.int64))]
    if value is not None and mode == "constant":
        operands.append(net.constant(np.float32(value)))
    y = net.op("Pad", *operands, mode=mode)
    net.output(net.quantized(y, 0.05, 120) if int8 else y)
    lowered = check(net, {"x": smooth((3, 4, 6, 3))}, layout=layout, step=0.05 if int8 else None)
    assert lowered.float_fallback == ()


def test_a_pad_that_leaves_nothing_is_refused() -> None:
    net = Net()
    pads = net.constant(np.array([0, 0, -6, 0, 0, 0, 1, 0], np.int64))
    net.output(net.op("Pad", net.input("x", (3, 4, 6, 3)), pads))
    with pytest.raises(UnsupportedOperator, match="removes all"):
        lower(as_model(net.proto()))


@settings(max_examples=30, deadline=None)
@given(st.data(), st.booleans())
def test_slice(data: st.DataObject, int8: bool) -> None:
    axes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True))
    starts = [data.draw(st.integers(-MAP[axis], MAP[axis] - 1)) for axis in axes]
    steps = [data.draw(st.sampled_from([1, 1, 2, -1, -2])) for _ in axes]
    ends = []
    for axis, start, step in zip(axes, starts, steps, strict=True):
        first = start % MAP[axis]
        last = data.draw(
            st.integers(first + 1, 99) if step > 0 else st.integers(-99, -MAP[axis] - 1)
        )
        ends.append(last)
    net = Net()
    x = mapped(net, "x", MAP, (0.05, 120) if int8 else None)
    numbers = [net.constant(np.array(item, np.int64)) for item in (starts, ends, axes, steps)]
    y = net.op("Slice", x, *numbers)
    net.output(net.quantized(y, 0.05, 120) if int8 else y)
    check(net, {"x": smooth(MAP)}, step=0.0 if int8 else None)


@settings(max_examples=20, deadline=None)
@given(st.integers(-4, 3), st.booleans(), st.booleans())
def test_split(axis: int, int8: bool, even: bool) -> None:
    shape = (4, 6, 8, 2)
    net = Net()
    x = mapped(net, "x", shape, (0.05, 120) if int8 else None)
    size = shape[axis]
    sizes = [size // 2, size // 2] if even else [1, size - 1]
    parts = net.op("Split", x, net.constant(np.array(sizes, np.int64)), axis=axis, outputs=2)
    outputs = [net.quantized(part, 0.05, 120) if int8 else part for part in parts]
    net.output(*outputs)
    lowered = check(net, {"x": smooth(shape)}, step=0.0 if int8 else None)
    assert lowered.float_fallback == ()


@pytest.mark.parametrize("indices", [1, -1, [0, 2], [[0, -1], [1, 1]]])
@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("int8", [False, True])
def test_gather(indices: object, axis: int, int8: bool) -> None:
    net = Net()
    x = mapped(net, "x", MAP, (0.05, 120) if int8 else None)
    y = net.op("Gather", x, net.constant(np.array(indices, np.int64)), axis=axis)
    net.output(net.quantized(y, 0.05, 120) if int8 else y)
    check(net, {"x": smooth(MAP)}, step=0.0 if int8 else None)


@pytest.mark.parametrize("kind", ["DepthToSpace", "SpaceToDepth"])
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(kind: str, mode: str) -> None:
    net = Net()
    shape = (1, 12, 4, 6)
    attributes = {"mode": mode} if kind == "DepthToSpace" else {}
    net.output(net.op(kind, mapped(net, "x", shape), blocksize=2, **attributes))
    check(net, {"x": smooth(shape)})


def test_channel_shuffle() -> None:
    net = Net()
    y = net.op("Reshape", mapped(net, "x", MAP), net.constant((2, 2, 2, 6, 3)))
    y = net.op("Transpose", y, perm=(0, 2, 1, 3, 4))
    y = net.op("Reshape", y, net.constant(MAP))
    # The halves go on with their channels last, and cost no further transpose.
    left, right = net.op("Split", y, axis=1, num_outputs=2, outputs=2)
    net.output(net.op("Concat", net.op("Relu", left), right, axis=1))
    names = operators(check(net, {"x": smooth(MAP)}))
    assert names.count("TRANSPOSE") == 1


@pytest.mark.parametrize(
    ("before", "shape"),
    [
        ((4, 1, 3), (2, 4, 6, 3)),
        ((4, 1, 3), (5, 1, 4, 1, 3)),
        ((1,), (3,)),
        ((2, 1, 1, 1), (1, 1)),
        ((2, 1, 3, 1), (2, 4, 3, 5)),
    ],
)
def test_expand(before: tuple[int, ...], shape: tuple[int, ...]) -> None:
    net = Net()
    net.output(net.op("Expand", net.input("x", before), net.constant(shape)))
    check(net, {"x": smooth(before)}, layout=Layout.NCHW)


def test_tile() -> None:
    net = Net()
    net.output(net.op("Tile", mapped(net, "x", MAP), net.constant((1, 2, 1, 3))))
    check(net, {"x": smooth(MAP)})


def test_what_depends_on_constants_alone_is_computed_beforehand() -> None:
    net = Net()
    x = net.input("x", (2, 12))
    shape = net.op(
        "Concat",
        net.constant((2,)),
        net.op("Mul", net.constant((2,)), net.constant((3,))),
        net.constant((-1,)),
        axis=0,
    )
    net.output(net.op("Relu", net.op("Reshape", x, shape)))
    assert operators(check(net, {"x": smooth((2, 12))})) == ["RELU", "RESHAPE"]


def test_an_input_that_is_an_output() -> None:
    net = Net()
    x = net.input("x", MAP)
    y = net.op("Relu", x)
    net.output(net.op("Identity", x), y, net.op("Identity", y))
    check(net, {"x": smooth(MAP)})


def test_a_constant_output() -> None:
    net = Net()
    x = net.input("x", MAP)
    net.output(net.op("Relu", x), net.op("Identity", net.constant(smooth((3, 2)))))
    check(net, {"x": smooth(MAP)})


@pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("count", [5, 6, 9, 13])
def test_a_concat_of_many_parts_is_of_five_at_most(count: int, int8: bool) -> None:
    """XNNPACK takes no more, and what it does not take parts the network in two."""
    net = Net()
    shape = (1, 2 * count, 3, 4)
    x = net.input("x", shape)
    whole = net.quantized(x, 0.05, 120) if int8 else x
    sizes = [1 + 2 * (index % 2) for index in range(count - 1)]
    sizes.append(2 * count - sum(sizes))
    parts = net.op("Split", whole, net.constant(sizes), axis=1, outputs=count)
    parts = [net.quantized(part, 0.05, 120) if int8 else part for part in parts]
    y = net.op("Concat", *reversed(parts), axis=1)
    net.output(net.quantized(y, 0.05, 120) if int8 else y)
    lowered = check(net, {"x": smooth(shape)}, step=0.05 if int8 else None)
    model = schema.ModelT.InitFromPackedBuf(lowered.data, 0)
    joins = [
        operator.inputs
        for operator, name in zip(model.subgraphs[0].operators, operators(lowered), strict=True)
        if name == "CONCATENATION"
    ]
    assert max(map(len, joins)) <= 5
    assert len(joins) == -(-(count - 1) // 4)


def test_transpositions_that_pile_up_to_more_axes_than_one_can_move() -> None:
    """Windows of windows of windows, as Hiera unrolls a map: nine axes in one transposition."""
    net = Net()
    value = net.input("x", (1, 256, 5))
    for count, side in ((1, 8), (4, 4), (16, 2)):
        value = net.op("Reshape", value, net.constant([count, side, 2, side, 2, 5]))
        value = net.op("Transpose", value, perm=[0, 2, 4, 1, 3, 5])
    value = net.op("Reshape", value, net.constant([1, 256, 5]))
    check(net.output(net.op("Softmax", value, axis=1)), {"x": smooth((1, 256, 5))})


@pytest.mark.parametrize("int8", [False, True])
def test_a_transposition_of_eight_axes(int8: bool) -> None:
    net = Net()
    shape = (2, 3, 2, 2, 3, 2, 2, 2)
    perm = [7, 2, 5, 0, 3, 6, 1, 4]
    given = net.input("x", shape)
    value = net.quantized(given, 0.02, 120) if int8 else given
    value = net.op("Transpose", value, perm=perm)
    value = net.quantized(value, 0.02, 120) if int8 else value
    lowered = check(net.output(value), {"x": smooth(shape)})
    assert lowered.float_fallback == ()
