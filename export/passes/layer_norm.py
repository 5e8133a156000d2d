"""Layer and RMS normalizations written out become operators again.

(x - mean) / sqrt(variance + epsilon) * scale + bias (Ba et al. 2016, arXiv:1607.06450), and
x / sqrt(mean square + epsilon) * scale (Zhang and Sennrich 2019, arXiv:1910.07467).
RMSNormalization exists since opset 23; LayerNormalization since 17.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import pattern

from edgeconv.export.graph_edit import GraphEditor
from edgeconv.export.passes.rewriting import MATCH, Build, Rewrites, no_match, number

FIRST_OPSET_RMS = 23


def _square_by_product(op: Any, x: Any) -> Any:
    return op.Mul(x, x)


def _square_by_power(op: Any, x: Any, two: Any) -> Any:
    return op.Pow(x, two)


def _root(op: Any, square: Any, axes: Any, epsilon: Any) -> Any:
    return op.Sqrt(op.Add(_mean(op, square, axes, "variance"), epsilon))


def _mean(op: Any, x: Any, axes: Any, name: str) -> Any:
    return op.ReduceMean(x, axes, _allow_other_attributes=True, _outputs=[name])


def _divided(op: Any, x: Any, root: Any) -> Any:
    return op.Div(x, root)


def _multiplied(op: Any, x: Any, root: Any) -> Any:
    return op.Mul(x, op.Reciprocal(root))


def _first_axis(x: ir.Value, axes: ir.Value) -> int | None:
    """The first of ``axes``, counted from the end, if they are all of the last axes of x."""
    known = ir.convenience.get_const_tensor(axes)
    if known is None or x.shape is None:
        return None
    rank = len(x.shape)
    reduced = sorted(int(axis) % rank for axis in known.numpy().reshape(-1))
    return -len(reduced) if reduced == list(range(rank - len(reduced), rank)) else None


def _applies(
    context: Any,
    x: ir.Value,
    axes: ir.Value,
    epsilon: ir.Value,
    variance: ir.Value,
    mean: ir.Value | None = None,
    again: ir.Value | None = None,
    two: ir.Value | None = None,
    **_: Any,
) -> pattern.MatchResult:
    if x.shape is None or not x.shape.is_static() or x.dtype != ir.DataType.FLOAT:
        return no_match("its input has no static shape, or is not float32")
    first = _first_axis(x, axes)
    if first is None:
        return no_match("it does not reduce the last axes")
    if again is not None and _first_axis(x, again) != first:
        return no_match("its mean and its variance reduce different axes")
    if not all(_keeps_axes(value) for value in (mean, variance) if value is not None):
        return no_match("it drops the axes that it reduces")
    if number(epsilon) is None:
        return no_match("its epsilon is not a constant")
    return MATCH if two is None or number(two) == 2 else no_match("it does not square")


def _keeps_axes(value: ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.attributes.get_int("keepdims", 1) == 1


def _ones(op: Any, x: ir.Value, axis: int) -> ir.Value:
    assert x.shape is not None
    assert x.graph is not None
    shape = x.shape.numpy()[axis:]
    value: ir.Value = op.initializer(
        ir.tensor(np.ones(shape, np.float32)),
        name=GraphEditor(x.graph).free_name(f"{x.name}_unscaled"),
    )
    return value


def _normalization(name: str) -> Build:
    def build(op: Any, x: ir.Value, axes: ir.Value, epsilon: ir.Value, **_: Any) -> Any:
        axis = _first_axis(x, axes)
        assert axis is not None
        small = number(epsilon)
        return getattr(op, name)(x, _ones(op, x, axis), axis=axis, epsilon=small)

    return build


def _layer_norm(square: Build, finish: Build) -> Build:
    def build(op: Any, x: Any, axes: Any, again: Any, epsilon: Any, **two: Any) -> Any:
        centered = op.Sub(x, _mean(op, x, axes, "mean"))
        return finish(op, centered, _root(op, square(op, centered, **two), again, epsilon))

    return build


def _rms_norm(square: Build, finish: Build) -> Build:
    def build(op: Any, x: Any, axes: Any, epsilon: Any, **two: Any) -> Any:
        return finish(op, x, _root(op, square(op, x, **two), axes, epsilon))

    return build


def _layer_norm_rules(finish: Build) -> tuple[pattern.RewriteRule, ...]:
    """The formula with either square; a rule's variables are the parameters of its function."""
    product = _layer_norm(_square_by_product, finish)
    power = _layer_norm(_square_by_power, finish)
    replacement = _normalization("LayerNormalization")
    return (
        pattern.RewriteRule(
            lambda op, x, axes, again, epsilon: product(op, x, axes, again, epsilon),
            replacement,
            _applies,
        ),
        pattern.RewriteRule(
            lambda op, x, axes, again, epsilon, two: power(op, x, axes, again, epsilon, two=two),
            replacement,
            _applies,
        ),
    )


def _rms_norm_rules(finish: Build) -> tuple[pattern.RewriteRule, ...]:
    product = _rms_norm(_square_by_product, finish)
    power = _rms_norm(_square_by_power, finish)
    replacement = _normalization("RMSNormalization")
    return (
        pattern.RewriteRule(
            lambda op, x, axes, epsilon: product(op, x, axes, epsilon), replacement, _applies
        ),
        pattern.RewriteRule(
            lambda op, x, axes, epsilon, two: power(op, x, axes, epsilon, two=two),
            replacement,
            _applies,
        ),
    )


def _parameter(normalized: ir.Value, value: ir.Value) -> bool:
    """Whether ``value`` is a constant of the normalized shape."""
    node = normalized.producer()
    if node is None or ir.convenience.get_const_tensor(value) is None or value.shape is None:
        return False
    scale = node.inputs[1]
    return scale is not None and scale.shape == value.shape


def _unscaled(context: Any, normalized: ir.Value, scale: ir.Value, **_: Any) -> pattern.MatchResult:
    node = normalized.producer()
    if node is None or len(node.inputs) > 2 or not _parameter(normalized, scale):
        return no_match("the factor is not a constant of the normalized shape")
    own = node.inputs[1]
    known = None if own is None else ir.convenience.get_const_tensor(own)
    if known is None or np.any(known.numpy() != 1):
        return no_match("it has a scale already")
    return MATCH


def _unbiased(context: Any, normalized: ir.Value, bias: ir.Value, **_: Any) -> pattern.MatchResult:
    node = normalized.producer()
    if node is None or len(node.inputs) != 2:
        return no_match("it has a bias already")
    if not _parameter(normalized, bias):
        return no_match("the summand is not a constant of the normalized shape")
    return MATCH


def _with_scale(name: str) -> pattern.RewriteRule:
    def build(op: Any, x: ir.Value, scale: ir.Value, normalized: ir.Value, **_: Any) -> Any:
        node = normalized.producer()
        assert node is not None
        return getattr(op, name)(x, scale, **node.attributes)

    def shape(op: Any, x: Any, ones: Any, scale: Any) -> Any:
        inner = getattr(op, name)(x, ones, _allow_other_attributes=True, _outputs=["normalized"])
        return op.Mul(inner, scale)

    return pattern.RewriteRule(shape, build, _unscaled)


def _with_bias() -> pattern.RewriteRule:
    def build(op: Any, x: ir.Value, scale: ir.Value, bias: ir.Value, normalized: ir.Value) -> Any:
        node = normalized.producer()
        assert node is not None
        return op.LayerNormalization(x, scale, bias, **node.attributes)

    def shape(op: Any, x: Any, scale: Any, bias: Any) -> Any:
        inner = op.LayerNormalization(
            x, scale, _allow_other_attributes=True, _outputs=["normalized"]
        )
        return op.Add(inner, bias)

    return pattern.RewriteRule(shape, build, _unbiased)


class LayerNorm(Rewrites):
    """The formula → ``LayerNormalization(x, scale, bias)``.

    Scale and bias are the constants of the normalized shape that follow it. Without them the scale
    is one, and there is no bias.
    """

    subject = "layer norm"
    rules = (
        *_layer_norm_rules(_divided),
        *_layer_norm_rules(_multiplied),
        _with_scale("LayerNormalization"),
        _with_bias(),
    )


class RMSNorm(Rewrites):
    """The formula → ``RMSNormalization(x, scale)``, opset 23 or later."""

    subject = "RMS norm"
    rules = (
        *_rms_norm_rules(_divided),
        *_rms_norm_rules(_multiplied),
        _with_scale("RMSNormalization"),
    )
