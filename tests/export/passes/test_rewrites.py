"""Each rewrite of the float graph: the operators before, those after, and the same results."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch

from edgeconv.export.passes import optimize
from edgeconv.export.passes.clamp_before_concat import ClampBeforeConcat
from edgeconv.export.passes.constants_second import ConstantsSecond
from edgeconv.export.passes.gelu import Gelu
from edgeconv.export.passes.gemm import MatMulAddToGemm
from edgeconv.export.passes.hard_swish import HardSwish
from edgeconv.export.passes.layer_norm import LayerNorm, RMSNorm
from edgeconv.export.passes.pixel_shuffle import PixelShuffle
from edgeconv.export.passes.prelu import PReluToLeakyRelu
from edgeconv.export.passes.sigmoid import Sigmoid
from edgeconv.export.passes.sigmoid_shares import SigmoidShares
from edgeconv.export.passes.softplus import Softplus
from edgeconv.export.passes.sums import SumToAdd
from edgeconv.models.randomize import structured_input
from support.runtimes import run_onnx

SHAPE = (2, 4, 6, 8)
SCALARS = {
    "one": 1.0,
    "twenty": 20.0,
    "ten": 10.0,
    "half": 0.5,
    "two": 2.0,
    "three": 3.0,
    "six": 6.0,
    "sixth": 1 / 6,
    "zero": 0.0,
    "root": 2**0.5,
    "unroot": 2**-0.5,
    "factor": (2 / np.pi) ** 0.5,
    "cubic": 0.044715,
    "epsilon": 1e-5,
}
ROWS = {"scale": np.linspace(0.5, 2, 8), "bias": np.linspace(-1, 1, 8)}


def graph(body: str, opset: int = 20, shape: tuple[int, ...] = SHAPE) -> ir.Model:
    """``y`` of ``x`` by ``body``; constants by the names above, and ``last``, the last axis."""
    size = ",".join(map(str, shape))
    model = ir.from_onnx_text(
        f'<ir_version: 10, opset_import: ["" : {opset}]>\n'
        f"g (float[{size}] x) => (float[{size}] y) <int64[1] last = {{-1}}> {{ {body} }}"
    )
    arrays = {name: np.array(number, np.float32) for name, number in SCALARS.items()}
    arrays |= {name: row.astype(np.float32) for name, row in ROWS.items()}
    for name, array in arrays.items():
        value = ir.val(name, const_value=ir.tensor(array, name=name))
        model.graph.register_initializer(value)
        for node in model.graph:
            for index, given in enumerate(node.inputs):
                if given is not None and given.name == name:
                    node.replace_input_with(index, value)
    proto = ir.to_proto(model)
    return ir.passes.common.ShapeInferencePass()(ir.from_proto(proto)).model


def run(model: ir.Model, *inputs: np.ndarray) -> np.ndarray:
    return next(iter(run_onnx(model, inputs, fused=False).values()))


def kinds(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def rewritten(model: ir.Model, rewrite: ir.passes.InPlacePass, *inputs: np.ndarray) -> list[str]:
    """The operators after a rewrite, which must compute the same."""
    inputs = inputs or (structured_input(SHAPE).numpy() * 3,)
    expected = run(model, *inputs)
    ConstantsSecond()(model)
    assert rewrite(model).modified
    ir.passes.common.RemoveUnusedNodesPass()(model)
    # The rewrite changes the order of a few float32 operations.
    np.testing.assert_allclose(run(model, *inputs), expected, rtol=2e-5, atol=2e-6)
    return kinds(model)


CLIPPED = "a = Add(x, three) c = Clip(a, zero, six)"


@pytest.mark.parametrize(
    "body",
    [
        f"{CLIPPED} m = Mul(x, c) y = Div(m, six)",
        f"{CLIPPED} m = Mul(c, x) y = Div(m, six)",
        f"{CLIPPED} m = Mul(x, c) y = Mul(sixth, m)",
        f"{CLIPPED} d = Div(c, six) y = Mul(x, d)",
        f"{CLIPPED} d = Mul(c, sixth) y = Mul(d, x)",
        "a = Add(three, x) c = Clip(a, zero, six) d = Div(c, six) y = Mul(x, d)",
        "h = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) y = Mul(h, x)",
    ],
)
def test_a_written_out_hard_swish_is_one_operator(body: str) -> None:
    assert rewritten(graph(body), HardSwish()) == ["HardSwish"]


def test_a_written_out_hard_sigmoid_is_one_operator() -> None:
    assert rewritten(graph(f"{CLIPPED} y = Div(c, six)"), HardSwish()) == ["HardSigmoid"]


@pytest.mark.parametrize(
    "body",
    [
        "a = Add(x, two) c = Clip(a, zero, six) y = Div(c, six)",
        "a = Add(x, three) c = Clip(a, zero, three) y = Div(c, six)",
        "h = HardSigmoid(x) y = Mul(h, x)",
    ],
)
def test_another_hard_sigmoid_stays(body: str) -> None:
    assert not HardSwish()(graph(body)).modified


RAISED = "n = Neg(x) e = Exp(n) a = Add(one, e)"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f"{RAISED} y = Div(one, a)", ["Sigmoid"]),
        (f"{RAISED} y = Reciprocal(a)", ["Sigmoid"]),
        (f"{RAISED} y = Div(x, a)", ["Sigmoid", "Mul"]),
        (f"{RAISED} s = Div(one, a) y = Mul(x, s)", ["Sigmoid", "Mul"]),
    ],
)
def test_a_written_out_sigmoid_is_one_operator(body: str, expected: list[str]) -> None:
    assert rewritten(graph(body), Sigmoid()) == expected


ERF = "d = Div(x, root) e = Erf(d) a = Add(e, one)"
POLYNOMIAL = "f = Mul(cubic, p) s = Add(x, f) k = Mul(factor, s) t = Tanh(k) a = Add(one, t)"
CUBE = "q = Mul(x, x) p = Mul(q, x)"


@pytest.mark.parametrize(
    "body",
    [
        f"{ERF} m = Mul(x, a) y = Mul(m, half)",
        f"{ERF} h = Mul(half, x) y = Mul(h, a)",
        f"{ERF} h = Mul(a, half) y = Mul(x, h)",
        "d = Mul(x, unroot) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)",
        f"p = Pow(x, three) {POLYNOMIAL} h = Mul(x, half) y = Mul(h, a)",
        f"{CUBE} {POLYNOMIAL} m = Mul(x, a) y = Mul(half, m)",
        f"{CUBE} {POLYNOMIAL} h = Mul(half, a) y = Mul(x, h)",
    ],
)
def test_a_written_out_gelu_is_one_operator(body: str) -> None:
    model = graph(body)
    assert rewritten(model, Gelu()) == ["Gelu"]
    approximate = next(iter(model.graph)).attributes.get_string("approximate", "none")
    assert approximate == ("tanh" if "Tanh" in body else "none")


def test_a_gelu_without_an_operator_is_told(caplog: pytest.LogCaptureFixture) -> None:
    body = f"{ERF} m = Mul(x, a) y = Mul(m, half)"
    assert "Gelu" in kinds(optimize(graph(body)))
    assert "GELU" not in caplog.text
    assert "Gelu" not in kinds(optimize(graph(body, opset=18)))
    assert "the network's GELU stays written out" in caplog.text
    assert "opset=20" in caplog.text


def test_a_node_without_a_name_has_that_of_its_result() -> None:
    model = optimize(graph("a = Neg(x) y = Exp(a)"))
    assert [node.name for node in model.graph] == ["a", "y"]


CENTERED = "m = ReduceMean(x, last) c = Sub(x, m)"


@pytest.mark.parametrize("square", ["q = Mul(c, c)", "q = Pow(c, two)"])
@pytest.mark.parametrize("quotient", ["n = Div(c, s)", "r = Reciprocal(s) n = Mul(c, r)"])
@pytest.mark.parametrize(
    ("tail", "inputs"),
    [("g = Mul(scale, n) y = Add(g, bias)", 3), ("y = Mul(n, scale)", 2), ("y = Identity(n)", 2)],
)
def test_a_written_out_layer_norm_is_one_operator(
    square: str, quotient: str, tail: str, inputs: int
) -> None:
    body = f"{CENTERED} {square} v = ReduceMean(q, last) e = Add(v, epsilon) s = Sqrt(e)"
    model = graph(f"{body} {quotient} {tail}")
    after = rewritten(model, LayerNorm())
    assert after == ["LayerNormalization"] + ["Identity"] * ("Identity" in tail)
    assert len(next(iter(model.graph)).inputs) == inputs


def test_a_written_out_rms_norm_is_one_operator() -> None:
    body = "q = Mul(x, x) v = ReduceMean(q, last) e = Add(v, epsilon) s = Sqrt(e) n = Div(x, s)"
    model = graph(f"{body} y = Mul(n, scale)", opset=23)
    assert rewritten(model, RMSNorm()) == ["RMSNormalization"]


@pytest.mark.parametrize(
    ("split", "perm", "mode"),
    [
        ((2, 1, 2, 2, 6, 8), (0, 1, 4, 2, 5, 3), "CRD"),
        ((2, 2, 2, 1, 6, 8), (0, 3, 4, 1, 5, 2), "DCR"),
    ],
)
def test_a_written_out_pixel_shuffle_is_one_operator(
    split: tuple[int, ...], perm: tuple[int, ...], mode: str
) -> None:
    model = ir.from_onnx_text(
        '<ir_version: 9, opset_import: ["" : 20]> g (float[2,4,6,8] x) => (float[2,1,12,16] y)'
        f" <int64[6] a = {{{','.join(map(str, split))}}}, int64[4] b = {{2,1,12,16}}>"
        f"{{ r = Reshape(x, a) t = Transpose<perm = [{','.join(map(str, perm))}]>(r)"
        " y = Reshape(t, b) }"
    )
    ir.passes.common.ShapeInferencePass()(model)
    assert rewritten(model, PixelShuffle()) == ["DepthToSpace"]
    assert next(iter(model.graph)).attributes.get_string("mode") == mode


def test_a_channel_shuffle_is_no_pixel_shuffle() -> None:
    model = ir.from_onnx_text(
        '<ir_version: 9, opset_import: ["" : 20]> g (float[2,4,6,8] x) => (float[2,4,6,8] y)'
        " <int64[5] a = {2,2,2,6,8}, int64[4] b = {2,4,6,8}>"
        "{ r = Reshape(x, a) t = Transpose<perm = [0,2,1,3,4]>(r) y = Reshape(t, b) }"
    )
    ir.passes.common.ShapeInferencePass()(model)
    assert not PixelShuffle()(model).modified


@pytest.mark.parametrize("shape", [(5, 8), (2, 5, 8), (2, 3, 5, 8)])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_matrix_product_takes_its_bias(shape: tuple[int, ...], swapped: bool) -> None:
    rng = np.random.default_rng(0)
    size = ",".join(map(str, shape))
    out = ",".join(map(str, (*shape[:-1], 3)))
    add = "Add(bias, m)" if swapped else "Add(m, bias)"
    model = ir.from_onnx_text(
        f'<ir_version: 9, opset_import: ["" : 20]> g (float[{size}] x) => (float[{out}] y)'
        f" <float[8,3] w = {{{','.join(f'{n:.6f}' for n in rng.standard_normal(24))}}},"
        f" float[3] bias = {{0.5, -1.0, 2.0}}> {{ m = MatMul(x, w) y = {add} }}"
    )
    ir.passes.common.ShapeInferencePass()(model)
    x = structured_input((1, 1, 8, 30)).numpy().reshape(-1)[: np.prod(shape)].reshape(shape)
    after = rewritten(model, MatMulAddToGemm(), x)
    assert after == (["Gemm"] if len(shape) == 2 else ["Reshape", "Gemm", "Reshape"])
    assert model.graph.outputs[0].name == "y"


def test_a_clamp_moves_into_the_convolutions_of_a_concat() -> None:
    rng = np.random.default_rng(0)
    weights = ",".join(f"{n:.6f}" for n in rng.standard_normal(12))
    model = ir.from_onnx_text(
        '<ir_version: 9, opset_import: ["" : 20]> g (float[2,4,6,8] x) => (float[2,6,6,8] y)'
        f" <float[3,4,1,1] w = {{{weights}}}>"
        "{ a = Conv(x, w) b = Conv(x, w) c = Concat<axis = 1>(a, b) y = Relu(c) }"
    )
    ir.passes.common.ShapeInferencePass()(model)
    assert sorted(rewritten(model, ClampBeforeConcat())) == sorted(
        ["Conv", "Relu", "Conv", "Relu", "Concat"]
    )
    assert model.graph.outputs[0].name == "y"


def test_a_clamp_stays_behind_a_concat_of_what_is_used_elsewhere() -> None:
    model = graph("a = Exp(x) c = Concat<axis = 1>(a, a) r = Relu(c) y = Add(a, a)")
    assert not ClampBeforeConcat()(model).modified


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Sum(x, half, scale)", ["Add", "Add"]),
        ("a = Neg(x) y = Sum(a, x)", ["Neg", "Add"]),
        ("a = Neg(x) y = Sum(a)", ["Neg", "Identity"]),
    ],
)
def test_a_sum_is_adds(body: str, expected: list[str]) -> None:
    model = graph(body)
    assert rewritten(model, SumToAdd()) == expected
    assert all(node.outputs[0].shape == ir.Shape(SHAPE) for node in model.graph)


def test_a_prelu_with_one_slope_is_leaky_relu() -> None:
    model = graph("y = PRelu(x, half)")
    assert rewritten(model, PReluToLeakyRelu()) == ["LeakyRelu"]
    assert next(iter(model.graph)).attributes.get_float("alpha", 0.01) == 0.5


@pytest.mark.parametrize("body", ["y = PRelu(x, scale)", "a = Neg(x) y = PRelu(x, a)"])
def test_a_prelu_with_several_slopes_stays(body: str) -> None:
    assert not PReluToLeakyRelu()(graph(body)).modified


def scaled_softplus(threshold: str) -> str:
    return (
        "a = Mul(x, two) b = Softplus(a) c = Div(b, two) "
        f"d = Greater(a, {threshold}) y = Where(d, x, c)"
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = Softplus(x) b = Greater(x, twenty) y = Where(b, x, a)", ["Softplus"]),
        (scaled_softplus("twenty"), ["Mul", "Softplus", "Div"]),
    ],
)
def test_a_softplus_with_a_threshold_is_a_plain_one(body: str, expected: list[str]) -> None:
    x = np.linspace(-40, 40, np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    assert rewritten(graph(body), Softplus(), x) == expected


@pytest.mark.parametrize(
    "body",
    ["a = Sigmoid(x) y = Log(a)", "a = Sigmoid(x) b = Log(a) c = Sub(a, a) y = Add(b, c)"],
    ids=["alone", "read by others too"],
)
def test_the_logarithm_of_a_sigmoid_is_finite_far_from_zero(body: str) -> None:
    model = graph(body)
    assert Softplus()(model).modified
    assert all(node.outputs[0].dtype is ir.DataType.FLOAT for node in model.graph)
    x = np.linspace(-300, 300, np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    (got,) = run_onnx(model, x).values()
    expected = torch.nn.functional.logsigmoid(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-30)


def test_sigmoids_divided_by_their_sum_are_right_where_all_are_tiny() -> None:
    """ONNX Runtime's Sigmoid is zero from -18 down, so that the quotient was 0 / 0."""
    model = graph("a = Sigmoid(x) b = ReduceSum<keepdims = 1>(a, last) y = Div(a, b)")
    assert SigmoidShares()(model).modified
    x = np.linspace(-60, 60, np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    (got,) = run_onnx(model, x).values()
    shares = torch.sigmoid(torch.from_numpy(x))
    expected = (shares / shares.sum(-1, keepdim=True)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        "a = Sigmoid(x) b = ReduceSum<keepdims = 1>(a) y = Div(a, b)",
        "a = Sigmoid(x) c = Exp(x) b = ReduceSum<keepdims = 1>(c, last) y = Div(a, b)",
    ],
)
def test_another_quotient_of_sigmoids_stays(body: str) -> None:
    assert not SigmoidShares()(graph(body)).modified


def test_a_softplus_with_a_low_threshold_stays() -> None:
    """Above 10 it differs from x by 4.5e-6 of it, which float32 can express."""
    assert not Softplus()(graph(scaled_softplus("ten"))).modified
