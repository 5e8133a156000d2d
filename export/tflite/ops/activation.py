"""Functions of one element."""

from __future__ import annotations

from math import inf

import numpy as np

from edgeconv.export.tflite.builder import FLOAT, Stored, codes
from edgeconv.export.tflite.emit.formula import Formula
from edgeconv.export.tflite.fusion import activation, bounds, needed
from edgeconv.export.tflite.graph import (
    Activation,
    Options,
    Quantization,
    Tensor,
)
from edgeconv.export.tflite.node_lowering import Site
from edgeconv.export.tflite.registry import Integer, operator

SIGMOID_OUTPUT = Quantization(1 / 256, -128)
TANH_OUTPUT = Quantization(1 / 128, 0)
"""What the int8 kernels of LOGISTIC, SOFTMAX and TANH demand of their results."""


def unary(
    site: Site,
    name: str,
    quantization: Quantization | None = None,
    options: Options | None = None,
) -> None:
    """Emit an operator that leaves every element where it is."""
    stored = site.stored(0)
    x = stored.tensor
    site.emit_stored(name, [x], x.shape, stored.order, options, quantization)


@operator("Relu", "Clip", integer=Integer.COMPUTES)
def clip(site: Site) -> None:
    """An activation that the operator before it could not apply itself."""
    limits = bounds(site.node, site.builder)
    if limits is None:
        raise site.unsupported("its bounds are computed by the network", "make them constant")
    if site.integer:
        _integer_clip(site, limits)
        return
    fused = activation(limits, None)
    if fused is Activation.NONE:
        site.same(0)
    elif fused is not None:
        unary(site, fused.name)
    else:
        _limit(site, limits, site.stored(0).tensor)


def _integer_clip(site: Site, limits: tuple[float, float]) -> None:
    """Limits that the codes of the result saturate at need a change of scale and no more; the
    others are MAXIMUM and MINIMUM, because TFLite's own RELU in int8 has no vector code
    (28x28x128 on a Cortex-A72, millions of instructions: RELU 4.33, MAXIMUM 0.05)."""
    order = site.stored(0).order
    x = site.builder.quantize(site.stored(0).tensor, site.wanted)
    low, high = needed(limits, site.wanted)
    if not low and not high:
        site.builder.bind(site.result, Stored(x, order))
        return
    _limit(site, (limits[0] if low else -inf, limits[1] if high else inf), x)


def _limit(site: Site, limits: tuple[float, float], x: Tensor) -> None:
    """MAXIMUM and MINIMUM with constants of the tensor's own type."""
    low, high = limits
    order = site.stored(0).order
    if low != -inf and high != inf:
        raised = site.fresh("raised", x.shape, x.quantization)
        site.builder.emit("MAXIMUM", [x, _number(site, low, x)], [raised])
        x, low = raised, -inf
    name, number = ("MAXIMUM", low) if low != -inf else ("MINIMUM", high)
    site.emit_stored(name, [x, _number(site, number, x)], x.shape, order)


def _number(site: Site, number: float, like: Tensor) -> Tensor:
    real = np.array(number, FLOAT)
    if isinstance(like.quantization, Quantization):
        real = codes(real, like.quantization)
    return site.builder.constant(np.asarray(real), f"{site.name}/bound", like.quantization)


def table(site: Site, name: str, options: Options | None = None) -> None:
    """A function of one element; in integers by way of float, which XNNPACK makes a table of."""
    if not site.integer:
        unary(site, name, options=options)
        return
    f = Formula(site)
    f.finish(f(name, f.x, options=options))


@operator("Sigmoid", integer=Integer.COMPUTES)
def sigmoid(site: Site) -> None:
    """LOGISTIC, whose int8 kernel has one scale for its results; for others by way of float."""
    _fixed(site, "LOGISTIC", SIGMOID_OUTPUT)


@operator("Tanh", integer=Integer.COMPUTES)
def tanh(site: Site) -> None:
    """TANH, whose int8 kernel has one scale for its results; for others by way of float."""
    _fixed(site, "TANH", TANH_OUTPUT)


def _fixed(site: Site, name: str, own: Quantization) -> None:
    if site.integer and site.wanted != own:
        table(site, name)
    else:
        unary(site, name)


@operator("HardSwish", integer=Integer.COMPUTES)
def hard_swish(site: Site) -> None:
    """In integers by way of float, which XNNPACK makes a table of: that is exact, and on ARM faster
    than TFLite's int8 kernel, whose 16-bit multipliers miss one code in 170 (docs/rewrites.md)."""
    table(site, "HARD_SWISH")


@operator("LeakyRelu", integer=Integer.COMPUTES)
def leaky_relu(site: Site) -> None:
    """LEAKY_RELU; in integers by way of float, which XNNPACK makes a table of: it is exact, and has
    half the instructions of XNNPACK's int8 kernel, an eighth of tflite-runtime 2.14's."""
    leaky(site, site.float_attribute("alpha", 0.01))


def leaky(site: Site, slope: float) -> None:
    table(site, "LEAKY_RELU", {"alpha": slope})


@operator("Gelu", integer=Integer.COMPUTES)
def gelu(site: Site) -> None:
    """GELU, an operator of ONNX since opset 20; under an earlier one the formula with Erf or Tanh
    stays written out, partly in float."""
    approximate = site.string_attribute("approximate", "none") == "tanh"
    unary(site, "GELU", options={"approximate": approximate})


@operator("HardSigmoid", integer=Integer.COMPUTES)
def hard_sigmoid(site: Site) -> None:
    """relu6(6 alpha x + 6 beta) / 6; in integers by way of float, which is a table in XNNPACK."""
    alpha, beta = site.float_attribute("alpha", 0.2), site.float_attribute("beta", 0.5)
    f = Formula(site)
    if site.integer:
        # As ONNX Runtime computes it: a half may lie between two codes.
        line = f("ADD", f("MUL", f.x, alpha), beta)
        f.finish(f("MINIMUM", f("MAXIMUM", line, 0.0), 1.0))
        return
    scaled = f.x if abs(6 * alpha - 1) < 1e-6 else f("MUL", f.x, 6 * alpha)
    f.finish(f("MUL", f("ADD", scaled, 6 * beta, fused=Activation.RELU6), 1 / 6))


@operator("Softmax", integer=Integer.COMPUTES)
def softmax(site: Site) -> None:
    """SOFTMAX over the last axis of the stored tensor."""
    shape = site.shape(0)
    rank = len(shape)
    axis = site.integer_attribute("axis", -1) % rank
    stored = site.stored(0)
    perm = stored.order.nearest_perm(shape)
    if perm[-1] != axis:
        others = [other for other in range(rank) if other != axis]
        perm = (*others, axis)
    x = site.builder.placed(stored, shape, perm)
    quantization = SIGMOID_OUTPUT if site.integer else None
    site.emit("SOFTMAX", [x], perm, {"beta": 1.0}, quantization)


@operator("Identity", integer=Integer.MOVES)
def same(site: Site) -> None:
    site.same(0)


@operator("Dropout", integer=Integer.MOVES)
def dropout(site: Site) -> None:
    """Nothing, outside of training."""
    if site.has(2) and site.demand_constant(2, "training_mode").item():
        raise site.unsupported("training_mode is set", "export the network in eval mode")
    site.same(0)
