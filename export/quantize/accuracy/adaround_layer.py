"""AdaRound for one layer: learn, from samples of its input, which weights are rounded up or down.

Rounding to the nearest integer keeps each weight close. What counts is the layer's output, where
the errors of many weights can cancel (Nagel et al. 2020, arXiv:2004.10568). Every weight has a
variable v. Its integer is the floor plus h(v) = clip(1.2 sigmoid(v) - 0.1, 0, 1), the rectified
sigmoid. A regularizer draws h to 0 or 1 in the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import Tensor

from edgeconv.export.quantize.layers import grouped, ungrouped
from edgeconv.export.quantize.parameters import ActivationParameters
from edgeconv.export.quantize.weights import QuantizedWeight

_STEPS = 1000
_BATCH = 256
_LEARNING_RATE = 0.01
# The weight of the regularizer, for errors relative to that of rounding to the nearest.
_LAMBDA = 1.0
_WARM_UP = 0.2
# The exponent of the regularizer, from one that acts only close to 0 and 1 to one that acts
# everywhere.
_BETA = (20.0, 2.0)
# The share of the samples that decides whether the result is better.
_HELD_OUT = 0.2


@dataclass(frozen=True)
class Clamp:
    """The bounds of a Relu or Clip after the layer."""

    low: float = -np.inf
    high: float = np.inf


def learn_rounding(
    node: ir.Node,
    weight: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    nearest: QuantizedWeight,
    activation: ActivationParameters,
    patches: npt.NDArray[np.float32],
    clamp: Clamp,
    longer: int = 1,
) -> QuantizedWeight:
    """Learn the rounding that brings a layer's outputs closest to those in float.

    Args:
        node: The layer.
        weight: Its weight as [groups, outputs per group, inputs per group, taps].
        bias: Its bias as [outputs].
        nearest: Its weight rounded to the nearest integers.
        activation: The parameters of what the layer reads in 8 bits.
        patches: Samples of what it reads in float, [samples, groups, inputs per group * taps].
        clamp: The bounds of what follows it.
        longer: How many times as many steps as usual to learn.

    Returns:
        The learned rounding, or ``nearest`` if that is better on held-out samples.
    """
    groups, outputs = weight.shape[:2]
    shape = (groups, outputs, -1)
    x = torch.tensor(patches).transpose(0, 1)
    w = torch.tensor(weight.reshape(shape))
    b = torch.tensor(bias.reshape(groups, 1, outputs))
    scale = torch.tensor(_scales(node, nearest).reshape(shape))
    integers = torch.tensor(grouped(node, nearest.integers).reshape(shape), dtype=torch.float32)
    problem = _Problem(x, _in_8_bits(x, activation), w, b, scale, clamp)
    learned = problem.solve(integers, _STEPS * longer)
    shaped = ungrouped(node, learned.numpy().reshape(weight.shape), nearest.integers.shape)
    return QuantizedWeight(shaped.astype(np.int8), nearest.parameters)


class _Problem:
    """The tensors of one layer, with G groups, S samples, D inputs and O outputs per group.

    x and seen are [G, S, D]: the input in float, and as the integer layer sees it. w and scale are
    [G, O, D], and b is [G, 1, O].
    """

    def __init__(
        self, x: Tensor, seen: Tensor, w: Tensor, b: Tensor, scale: Tensor, clamp: Clamp
    ) -> None:
        split = max(1, int(x.shape[1] * (1 - _HELD_OUT)))
        self._w, self._b, self._scale, self._clamp = w, b, scale, clamp
        target = self._output(x, w)
        self._train = (seen[:, :split], target[:, :split])
        held = slice(split, None) if split < x.shape[1] else slice(None)
        self._held_out = (seen[:, held], target[:, held])

    def solve(self, nearest: Tensor, steps: int) -> Tensor:
        """Find integers in [-127, 127], [G, O, D]."""
        unit = self._error(nearest * self._scale, *self._train)
        if float(unit) == 0:
            return nearest
        learned = self._learn(nearest, unit, steps)
        before = self._error(nearest * self._scale, *self._held_out)
        after = self._error(learned * self._scale, *self._held_out)
        return learned if after < before else nearest

    def _learn(self, nearest: Tensor, unit: Tensor, steps: int) -> Tensor:
        floor = torch.floor(self._w / self._scale)
        share = (self._w / self._scale - floor).clamp(1e-3, 1 - 1e-3)
        v = torch.logit((share + 0.1) / 1.2).requires_grad_()
        optimizer = torch.optim.Adam([v], lr=_LEARNING_RATE)
        seen, target = self._train
        generator = torch.Generator().manual_seed(0)
        for step in range(steps):
            rows = torch.randint(0, seen.shape[1], (_BATCH,), generator=generator)
            h = _rectified_sigmoid(v)
            weight = (floor + h).clamp(-127, 127) * self._scale
            loss = self._error(weight, seen[:, rows], target[:, rows]) / unit
            progress = (step / steps - _WARM_UP) / (1 - _WARM_UP)
            if progress > 0:
                beta = _BETA[1] + (_BETA[0] - _BETA[1]) * (1 - progress)
                loss = loss + _LAMBDA * (1 - (2 * h - 1).abs() ** beta).mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        with torch.no_grad():
            up = (_rectified_sigmoid(v) >= 0.5).to(floor.dtype)
        return (floor + up).clamp(-127, 127)

    def _error(self, weight: Tensor, seen: Tensor, target: Tensor) -> Tensor:
        """The mean squared error of the outputs."""
        return torch.mean((self._output(seen, weight) - target) ** 2)

    def _output(self, x: Tensor, weight: Tensor) -> Tensor:
        return (x @ weight.transpose(1, 2) + self._b).clamp(self._clamp.low, self._clamp.high)


def _rectified_sigmoid(v: Tensor) -> Tensor:
    return (1.2 * torch.sigmoid(v) - 0.1).clamp(0, 1)


def _scales(node: ir.Node, weight: QuantizedWeight) -> npt.NDArray[np.float32]:
    """The scale of every element of the weight, in the grouped form."""
    scale = weight.parameters.aligned_scale(weight.integers.ndim)
    return grouped(node, np.broadcast_to(scale, weight.integers.shape))


def _in_8_bits(x: Tensor, parameters: ActivationParameters) -> Tensor:
    return torch.fake_quantize_per_tensor_affine(
        x, parameters.scale, parameters.zero_point, -128, 127
    )
