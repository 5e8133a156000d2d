"""Lists of passes: what each pass ensures, and the notes on what nearly matched."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.bundle import IoType
from edgeconv.export.passes import float_steps, optimize
from edgeconv.export.passes.batch_norm import BatchNormToDepthwise
from edgeconv.export.passes.channel_shuffle import ChannelShuffle
from edgeconv.export.passes.clamp_before_concat import ClampBeforeConcat
from edgeconv.export.passes.constants_second import ConstantsSecond
from edgeconv.export.passes.finish import NameNodes
from edgeconv.export.passes.gelu import Gelu
from edgeconv.export.passes.gemm import MatMulAddToGemm
from edgeconv.export.passes.global_pool import MeanToGlobalPool
from edgeconv.export.passes.hard_swish import HardSwish
from edgeconv.export.passes.layer_norm import LayerNorm, RMSNorm
from edgeconv.export.passes.pixel_shuffle import PixelShuffle
from edgeconv.export.passes.prelu import PReluToLeakyRelu
from edgeconv.export.passes.sigmoid import Sigmoid
from edgeconv.export.passes.softplus import Softplus
from edgeconv.export.passes.steps import Step, run
from edgeconv.export.passes.sums import SumToAdd
from edgeconv.export.precision.float16_onnx import ToFloat16
from edgeconv.export.precision.int8_dynamic_onnx import QuantizeDynamically
from edgeconv.export.precision.int16x8_onnx import PutBackRelus, RaiseOpset, WidenActivations
from edgeconv.export.precision.prequantized import StatePooledScales
from edgeconv.export.quantize.integer_io import IntegerIo


def model_of(
    body: str, signature: str = "(float[2,4] x) => (float[2,4] y)", **constants: object
) -> ir.Model:
    """``body`` with constants by name: float32 numbers, or arrays."""
    model = ir.from_onnx_text(
        f'<ir_version: 10, opset_import: ["" : 20]>\ng {signature} {{ {body} }}'
    )
    for name, number in constants.items():
        array = number if isinstance(number, np.ndarray) else np.float32(number)
        array = np.asarray(array)
        value = ir.val(name, const_value=ir.tensor(array, name=name))
        model.graph.register_initializer(value)
        for node in model.graph:
            for index, given in enumerate(node.inputs):
                if given is not None and given.name == name:
                    node.replace_input_with(index, value)
    return ir.passes.common.ShapeInferencePass()(ir.from_proto(ir.to_proto(model))).model


GELU = "d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)"
GELU_NUMBERS = {"root": 2**0.5, "one": 1.0, "half": 0.5}
IMAGE = "(float[1,4,6,6] x) => (float[1,4,6,6] y)"
QUANTIZED = (
    "q = QuantizeLinear(x, scale, zero) d = DequantizeLinear(q, scale, zero) "
    "p = GlobalAveragePool(d) q2 = QuantizeLinear(p, scale, zero) "
    "y = DequantizeLinear(q2, scale, zero)"
)
POOLED = (
    "p = GlobalAveragePool(x) r = Reshape(p, flat) q = QuantizeLinear(r, scale, zero) "
    "y = DequantizeLinear(q, scale, zero)"
)
INT8 = {"scale": 0.1, "zero": np.array(0, np.int8)}
NORM = {
    "g": np.ones(4, "f4"),
    "b": np.zeros(4, "f4"),
    "m": np.zeros(4, "f4"),
    "v": np.ones(4, "f4"),
}
SQUARE = np.ones((4, 4), np.float32)
ROW = np.ones(4, np.float32)
KERNEL = np.ones((4, 4, 1, 1), np.float32)
SPATIAL = np.array([2, 3], np.int64)
FLAT = np.array([1, 4], np.int64)
LAST = np.array([-1], np.int64)


def case(rewrite: ir.passes.PassBase, model: ir.Model) -> object:
    return pytest.param(rewrite, model, id=type(rewrite).__name__)


NORMALIZED = (
    "mean = ReduceMean<keepdims=1>(x, last) c = Sub(x, mean) s = Mul(c, c) "
    "var = ReduceMean<keepdims=1>(s, last) v = Add(var, epsilon) r = Sqrt(v) y = Div(c, r)"
)
ROOT_MEAN = (
    "s = Mul(x, x) var = ReduceMean<keepdims=1>(s, last) v = Add(var, epsilon) "
    "r = Sqrt(v) y = Div(x, r)"
)
SHUFFLED = (
    "a = Conv(x, w) b = Reshape(a, groups) c = Transpose<perm=[0,2,1,3,4]>(b) "
    "d = Reshape(c, whole) y = Conv(d, w)"
)


@pytest.mark.parametrize(
    ("rewrite", "model"),
    [
        case(SumToAdd(), model_of("y = Sum(x, x, x)")),
        case(ConstantsSecond(), model_of("y = Add(half, x)", half=0.5)),
        case(Gelu(), model_of(GELU, **GELU_NUMBERS)),
        case(PReluToLeakyRelu(), model_of("y = PRelu(x, slope)", slope=0.1)),
        case(
            HardSwish(),
            model_of(
                "a = Add(x, three) c = Clip(a, low, six) y = Div(c, six)",
                **{"three": 3.0, "low": 0.0, "six": 6.0},
            ),
        ),
        case(Sigmoid(), model_of("n = Neg(x) e = Exp(n) a = Add(e, one) y = Div(one, a)", one=1.0)),
        case(
            Softplus(),
            model_of("g = Greater(x, t) s = Softplus(x) y = Where(g, x, s)", t=20.0),
        ),
        case(LayerNorm(), model_of(NORMALIZED, last=LAST, epsilon=1e-5)),
        case(RMSNorm(), model_of(ROOT_MEAN, last=LAST, epsilon=1e-5)),
        case(
            PixelShuffle(),
            model_of(
                "a = Reshape(x, split) b = Transpose<perm=[0,1,4,2,5,3]>(a) y = Reshape(b, whole)",
                "(float[1,4,3,3] x) => (float[1,1,6,6] y)",
                split=np.array([1, 1, 2, 2, 3, 3]),
                whole=np.array([1, 1, 6, 6]),
            ),
        ),
        case(MatMulAddToGemm(), model_of("m = MatMul(x, w) y = Add(m, row)", w=SQUARE, row=ROW)),
        case(
            ClampBeforeConcat(),
            model_of(
                "a = Conv(x, w) b = Conv(x, w) c = Concat<axis=1>(a, b) y = Relu(c)",
                "(float[1,4,6,6] x) => (float[1,8,6,6] y)",
                w=KERNEL,
            ),
        ),
        case(
            MeanToGlobalPool(),
            model_of(
                "y = ReduceMean(x, axes)", "(float[1,4,6,6] x) => (float[1,4,1,1] y)", axes=SPATIAL
            ),
        ),
        case(
            ChannelShuffle(),
            model_of(
                SHUFFLED,
                IMAGE,
                w=KERNEL,
                groups=np.array([1, 2, 2, 6, 6]),
                whole=np.array([1, 4, 6, 6]),
            ),
        ),
        case(
            BatchNormToDepthwise(), model_of("y = BatchNormalization(x, g, b, m, v)", IMAGE, **NORM)
        ),
        case(NameNodes(), model_of("y = Relu(x)")),
        case(ToFloat16(IoType.FLOAT32), model_of("y = MatMul(x, w)", w=SQUARE)),
        case(QuantizeDynamically(), model_of("y = MatMul(x, w)", w=SQUARE)),
        case(RaiseOpset(), model_of("y = Relu(x)")),
        case(
            PutBackRelus(),
            model_of(
                "a = Add(x, x) q = QuantizeLinear(a, scale, zero) "
                "y = DequantizeLinear(q, scale, zero)",
                scale=0.1,
                zero=np.array(-128, np.int8),
            ),
        ),
        case(
            WidenActivations(),
            model_of(QUANTIZED, "(float[1,4,6,6] x) => (float[1,4,1,1] y)", **INT8),
        ),
        case(
            StatePooledScales(),
            model_of(POOLED, "(float[1,4,6,6] x) => (float[1,4] y)", flat=FLAT, **INT8),
        ),
        case(
            IntegerIo(IoType.INT8),
            model_of(QUANTIZED, "(float[1,4,6,6] x) => (float[1,4,1,1] y)", **INT8),
        ),
    ],
)
def test_a_pass_ensures_what_did_not_hold_before(
    rewrite: ir.passes.PassBase, model: ir.Model
) -> None:
    with pytest.raises(ir.passes.PostconditionError, match=type(rewrite).__name__):
        rewrite.ensures(model)
    result = rewrite(model)
    assert result.modified
    rewrite.ensures(result.model)


def test_at_the_end_everything_holds_that_a_pass_ensured() -> None:
    model = model_of(
        f"{GELU.replace('y =', 'z =')} n = Sum(one, z) y = Sum(n, x, z)", **GELU_NUMBERS
    )
    optimize(model)
    for step in float_steps():
        if step.applies_to(model):
            step.rewrite.ensures(model)


def test_every_step_says_why_it_stands_where_it_does() -> None:
    for step in float_steps():
        assert len(step.reason.split()) > 3


def test_a_step_waits_for_an_opset_with_its_operators() -> None:
    model = model_of("y = Sum(x, x)")
    assert run(model, [Step(SumToAdd(), "alone", first_opset=21)]).graph[0].op_type == "Sum"
    assert run(model, [Step(SumToAdd(), "alone", first_opset=20)]).graph[0].op_type == "Add"


@pytest.mark.parametrize(
    ("model", "note"),
    [
        (
            model_of(GELU, **{**GELU_NUMBERS, "root": 1.41}),
            "stays written out, because its constant is 1.41 and not 1.41421",
        ),
        (
            model_of(
                "a = Add(x, three) c = Clip(a, low, six) m = Mul(x, c) y = Mul(m, sixth)",
                **{"three": 3.0, "low": 0.0, "six": 6.0, "sixth": 0.167},
            ),
            "because its constant is 0.167 and not 0.166667",
        ),
        (
            model_of("g = Greater(x, t) s = Softplus(x) y = Where(g, x, s)", t=10.0),
            "because its threshold is 10",
        ),
    ],
)
def test_a_near_miss_is_reported(
    model: ir.Model, note: str, caplog: pytest.LogCaptureFixture
) -> None:
    optimize(model)
    assert note in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "model",
    [
        model_of(GELU, **GELU_NUMBERS),
        model_of(GELU, **{**GELU_NUMBERS, "root": 1.0}),  # another function
        model_of(GELU, **{**GELU_NUMBERS, "half": 0.49, "root": 1.41}),  # and so is this one
        model_of(
            "a = Add(x, one) c = Clip(a, low, two) y = Div(c, two)",
            **{"one": 1.0, "low": 0.0, "two": 2.0},
        ),
        model_of("h = HardSigmoid<alpha = 0.2, beta = 0.5>(x) y = Mul(h, x)"),
        model_of("y = PRelu(x, slopes)", slopes=np.array([0.1, 0.2, 0.3, 0.4], np.float32)),
    ],
)
def test_what_is_something_else_is_not_reported(
    model: ir.Model, caplog: pytest.LogCaptureFixture
) -> None:
    optimize(model)
    assert not caplog.records


def test_many_near_misses_of_one_kind_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    body, value = "", "x"
    for index in range(5):
        names = {"y": f"y{index}", "x": value, "d": f"d{index}", "e": f"e{index}"}
        names |= {"a": f"a{index}", "m": f"m{index}"}
        words = GELU.replace("(", "( ").replace(")", " )").replace(",", " ,").split()
        body += " " + " ".join(names.get(word, word) for word in words)
        value = f"y{index}"
    model = model_of(f"{body} y = Identity({value})", **{**GELU_NUMBERS, "root": 1.41})
    caplog.clear()
    optimize(model)
    assert len(caplog.records) == 4
    assert "2 more" in caplog.records[-1].getMessage()


def test_a_reason_is_given_for_every_failed_check() -> None:
    """A rule whose check says only no would leave the reader without a word."""
    model = model_of("y = PRelu(x, slopes)", slopes=np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    reasons: list[str] = []

    class Tracer:
        def log(self, *arguments: object) -> None:
            reasons.append(arguments[3].reason)

    for rule in PReluToLeakyRelu.rules:
        rule.match(model, model.graph, model.graph[0], tracer=Tracer())
    assert reasons == ["its slopes differ"]
