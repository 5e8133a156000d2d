"""Quantization-aware training with torchao's PT2E flow, for networks that run in int8.

:class:`EdgeQuantizer` makes ``prepare_qat_pt2e`` quantize where the 8-bit specification of TFLite
(https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec) has
integers, so that training sees the rounding of the files. What ``convert_pt2e`` returns is exported
like any module; its scales are kept. Needs the extra ``edgeconv[qat]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import fx
from torchao.quantization.pt2e import (
    FakeQuantize,
    FusedMovingAvgObsFakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
)
from torchao.quantization.pt2e.quantizer import (
    FixedQParamsQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

from edgeconv.errors import UsageError

_aten = torch.ops.aten
_KEY = "quantization_annotation"  # where PT2E looks for it in a node's meta
_LEAST_SCALE = 2.0**-24  # PT2E's own, 2**-12, is coarser than the weights of many layers need
# Share of a range that each batch renews: fine-tuning has a few hundred.
_RENEWAL = 0.05

# Operators with a weight, to the dimension of its output channels.
_WEIGHTED: dict[Callable[..., Any], int] = {
    _aten.conv1d.default: 0,
    _aten.conv2d.default: 0,
    _aten.conv2d.padding: 0,
    _aten.conv_transpose2d.input: 1,
    _aten.linear.default: 0,
}
_NORMS = {_aten.batch_norm.default, _aten._native_batch_norm_legit.default}
_CLAMPS = {
    *(_aten.relu.default, _aten.relu_.default, _aten.relu6.default, _aten.relu6_.default),
    *(_aten.hardtanh.default, _aten.hardtanh_.default, _aten.clamp.default),
}
_SUMS = {_aten.add.Tensor, _aten.add_.Tensor, _aten.sub.Tensor}
_COMPUTING = {
    *_SUMS,
    *(_aten.mul.Tensor, _aten.mul_.Tensor, _aten.mean.dim),
    *(_aten.adaptive_avg_pool2d.default, _aten.leaky_relu.default, _aten.leaky_relu_.default),
    *(_aten.hardswish.default, _aten.hardswish_.default),
    *(_aten.hardsigmoid.default, _aten.hardsigmoid_.default),
}
# Their results have the scale of their inputs.
_SAME_SCALE = {
    *(_aten.max_pool2d.default, _aten.avg_pool2d.default, _aten.cat.default),
    *(_aten.flatten.using_ints, _aten.reshape.default, _aten.view.default, _aten.permute.default),
    *(_aten.transpose.int, _aten.slice.Tensor, _aten.squeeze.dim, _aten.unsqueeze.default),
    *(_aten.dropout.default, _aten.dropout_.default, _aten.pixel_shuffle.default),
    *(_aten.upsample_nearest2d.vec, _aten.upsample_bilinear2d.vec, _aten.pad.default),
}


class EdgeQuantizer(Quantizer):  # type: ignore[misc]  # torchao has no types
    """Quantizes to int8 wherever TFLite and ONNX Runtime compute in int8.

    Activations are int8 [-128, 127] per tensor, asymmetric, with moving averages as ranges. Weights
    are int8 [-127, 127] per output channel, symmetric, with their present range. Biases stay float
    until the export. A batch norm behind a convolution, and an activation behind either or behind a
    sum, belong to it.

    Args:
        weight_bits: 2 to 8. With fewer bits the int8 weights take fewer different values, which
            makes a compressed file smaller.
    """

    def __init__(self, weight_bits: int = 8) -> None:
        super().__init__()
        if not 2 <= weight_bits <= 8:
            raise UsageError(
                f"weights have 2 to 8 bits, not {weight_bits}", hint="give weight_bits from 2 to 8"
            )
        self._largest = 2 ** (weight_bits - 1) - 1

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        """Mark what is quantized, and how, in the nodes' meta; PT2E calls this."""
        for node in model.graph.nodes:
            if node.op != "call_function" or _KEY in node.meta:
                continue
            if node.target in _WEIGHTED:
                _annotate_weighted(node, self._largest)
            elif node.target in _COMPUTING:
                end = _through(node, _CLAMPS) if node.target in _SUMS else node
                _annotate(node, dict.fromkeys(_tensors(node.args), _activation()), end)
            elif node.target in _FIXED:
                _annotate(node, {node.args[0]: _activation()}, node, _FIXED[node.target])
            elif node.target in _SAME_SCALE:
                _annotate_same_scale(node)
        return model

    def validate(self, model: fx.GraphModule) -> None:
        """Check nothing: :meth:`annotate` only writes what PT2E accepts."""


def _annotate_weighted(node: fx.Node, largest: int) -> None:
    x, weight = node.args[:2]
    axis = _WEIGHTED[node.target]  # type: ignore[index]  # the target of a call is callable
    end = _through(_through(node, _NORMS), _CLAMPS)
    _annotate(node, {x: _activation(), weight: _weight(axis, largest)}, end)


def _annotate_same_scale(node: fx.Node) -> None:
    first, *others = _tensors(node.args)
    shared = SharedQuantizationSpec((first, node))
    _annotate(node, {first: _activation(), **dict.fromkeys(others, shared)}, node, shared)


def _annotate(
    node: fx.Node, inputs: dict[Any, Any], end: fx.Node, output: Any | None = None
) -> None:
    """Quantize the inputs of ``node`` and the result of ``end``, the last node that it absorbs."""
    output = output or _activation()
    for absorbed in _chain(node, end):
        absorbed.meta[_KEY] = QuantizationAnnotation(_annotated=True)
    node.meta[_KEY] = QuantizationAnnotation(input_qspec_map=inputs, _annotated=True)
    end.meta[_KEY].output_qspec = output


def _chain(node: fx.Node, end: fx.Node) -> Iterable[fx.Node]:
    """The nodes behind ``node`` up to ``end``, each the first user of the one before."""
    while node is not end:
        node = next(iter(node.users))
        yield node


def _through(node: fx.Node, targets: set[Any]) -> fx.Node:
    """The only user of ``node`` if it is one of ``targets``, else ``node``."""
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0].target in targets else node


def _tensors(args: Iterable[Any]) -> list[fx.Node]:
    """The float tensors among the arguments of a call."""
    found: list[fx.Node] = []
    for arg in args:
        if isinstance(arg, (list, tuple)):
            found += _tensors(arg)
        elif isinstance(arg, fx.Node):
            value = arg.meta.get("val")
            if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
                found.append(arg)
    return found


def _activation() -> QuantizationSpec:
    fake = FusedMovingAvgObsFakeQuantize.with_args(
        observer=MovingAverageMinMaxObserver, averaging_constant=_RENEWAL, eps=_LEAST_SCALE
    )
    return QuantizationSpec(torch.int8, fake, -128, 127, torch.per_tensor_affine)


def _weight(axis: int, largest: int) -> QuantizationSpec:
    # Not the fused kind: in training it also uses -largest - 1, which convert_pt2e does not.
    fake = FakeQuantize.with_args(
        observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0, eps=_LEAST_SCALE
    )
    scheme = torch.per_channel_symmetric
    return QuantizationSpec(torch.int8, fake, -largest, largest, scheme, axis)


def _fixed(scale: float, zero_point: int) -> FixedQParamsQuantizationSpec:
    return FixedQParamsQuantizationSpec(
        torch.int8, scale, zero_point, -128, 127, torch.per_tensor_affine
    )


_FIXED = {
    _aten.sigmoid.default: _fixed(1 / 256, -128),
    _aten.softmax.int: _fixed(1 / 256, -128),
    _aten.tanh.default: _fixed(1 / 128, 0),
}
