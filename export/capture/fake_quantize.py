"""What eager quantization-aware training leaves in a network, as plain quantization.

Its modules hold their scales in tensors that they may change in every call. For a file the scales
are numbers, and a convolution that was trained together with its batch norm has one bias.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.ao.nn.intrinsic import qat
from torch.ao.quantization import FakeQuantizeBase
from torch.ao.quantization.fx import _decomposed  # noqa: F401  # registers the operators below

from edgeconv.errors import CaptureError

_quantized = torch.ops.quantized_decomposed

_WITH_NORM = (qat.ConvBn1d, qat.ConvBn2d, qat.ConvBn3d)
_WITH_NORM_AND_RELU = (qat.ConvBnReLU1d, qat.ConvBnReLU2d, qat.ConvBnReLU3d)


class QuantizeDequantize(nn.Module):
    """Quantizes by fixed scales, and back.

    Raises:
        CaptureError: the module to replace still changes its scales.
    """

    scales: torch.Tensor
    zero_points: torch.Tensor

    def __init__(self, trained: FakeQuantizeBase, name: str) -> None:
        super().__init__()
        assert isinstance(trained.observer_enabled, torch.Tensor)
        if int(trained.observer_enabled[0]):
            raise CaptureError(
                f"the fake quantization {name} still observes: its scales change in every call",
                hint="call network.apply(torch.ao.quantization.disable_observer)",
            )
        assert isinstance(trained.scale, torch.Tensor)
        assert isinstance(trained.zero_point, torch.Tensor)
        scale, zero_point = trained.scale.flatten(), trained.zero_point.flatten()
        axis: Any = trained.ch_axis
        self.axis = int(axis) if trained.is_per_channel else None
        self.scale, self.zero_point = float(scale[0]), int(zero_point[0])
        self.register_buffer("scales", scale.double())
        self.register_buffer("zero_points", zero_point.long())
        # Either is a number or a tensor of one, which the stubs do not say.
        lowest: Any = trained.quant_min
        highest: Any = trained.quant_max
        self.range = (int(lowest), int(highest))
        self.dtype = torch.int8 if self.range[0] < 0 else torch.uint8

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x``, rounded to what the integers can say."""
        x = self._clamped(x)
        form = (*self._whole_range, self.dtype)
        if self.axis is None:
            pair = (self.scale, self.zero_point)
            codes = _quantized.quantize_per_tensor(x, *pair, *form)
            result = _quantized.dequantize_per_tensor(codes, *pair, *form)
        else:
            channels = (self.scales.float(), self.zero_points, self.axis)
            codes = _quantized.quantize_per_channel(x, *channels, *form)
            result = _quantized.dequantize_per_channel(codes, *channels, *form)
        assert isinstance(result, torch.Tensor)
        return result

    @property
    def _whole_range(self) -> tuple[int, int]:
        info = torch.iinfo(self.dtype)
        return info.min, info.max

    def _clamped(self, x: torch.Tensor) -> torch.Tensor:
        """ONNX saturates at the ends of the type only; a narrower range is clamped before."""
        if self.range == self._whole_range:
            return x
        shape = [1] * x.dim()
        if self.axis is not None:
            shape[self.axis] = -1
        low, high = ((end - self.zero_points) * self.scales for end in self.range)
        return x.clamp(low.float().reshape(shape), high.float().reshape(shape))


class FoldedConvolution(nn.Module):
    """A convolution with the batch norm that it was trained with, in its weight and bias."""

    def __init__(self, trained: Any) -> None:
        super().__init__()
        norm = trained.bn
        # In this order the training module computes it, so that both round to the same integers.
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shape = [-1] + [1] * (trained.weight.dim() - 1)
        bias = 0 if trained.bias is None else trained.bias
        self.convolution = trained
        self.weight = nn.Parameter((trained.weight * factor.reshape(shape)).detach())
        self.bias = nn.Parameter((norm.bias + (bias - norm.running_mean) * factor).detach())
        self.has_relu = isinstance(trained, _WITH_NORM_AND_RELU)
        # PyTorch calls it in a hook of the module that this one replaces.
        self.after = getattr(trained, "activation_post_process", nn.Identity())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The result of the convolution, normalized, and quantized if it was so in training."""
        weight = self.convolution.weight_fake_quant(self.weight)
        result = self.convolution._conv_forward(x, weight, self.bias)
        assert isinstance(result, torch.Tensor)
        quantized: torch.Tensor = self.after(torch.relu(result) if self.has_relu else result)
        return quantized


def is_of_training(module: nn.Module) -> bool:
    """Whether the module has a plain form."""
    return isinstance(module, (FakeQuantizeBase, *_WITH_NORM))


def plain(module: Any, name: str) -> nn.Module:
    """The plain form of a module of eager quantization-aware training."""
    if isinstance(module, FakeQuantizeBase):
        if not int(module.fake_quant_enabled[0]):
            return nn.Identity()
        return QuantizeDequantize(module, name)
    return FoldedConvolution(module)
