"""Weights and inputs for tests and dry runs: untrained, yet alive.

A freshly initialized network is a poor subject: its batch-norm statistics belong to no data, its
activations fade or explode with depth, and its output hardly depends on its input.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeconv.models.initialize import Convolution

BatchNorm = (nn.BatchNorm1d, nn.BatchNorm2d)
_BATCH = 8
_PASSES = 2
_LEAST_VARIANCE = 0.1  # of the mean over the channels of a layer


def randomize_(module: nn.Module, seed: int = 0, shape: tuple[int, ...] | None = None) -> nn.Module:
    """Give ``module`` He-scaled weights and batch-norm statistics of its own activations, in place.

    Gammas are uniform in [0.5, 1.5], so no residual branch is silenced; betas are about 0.5, so
    rounding and quantization are not amplified with depth; running mean and variance come from
    passes over :func:`structured_input` with batch statistics. Returns the module, in eval mode.

    Args:
        module: The network to change.
        seed: Two modules of the same architecture and seed get the same weights.
        shape: Shape of one input without the batch dimension; guessed from the first layer if
            None.
    """
    generator = torch.Generator().manual_seed(seed)
    module.eval()
    with torch.no_grad():
        for layer in module.modules():
            _randomize_layer(layer, generator)
    norms = [layer for layer in module.modules() if isinstance(layer, BatchNorm)]
    if norms:
        _measure_statistics(module, norms, shape or _guess_shape(module), seed)
    return module.eval()


def structured_input(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Return a batch of smooth random fields plus a little noise, float32.

    Mean and variance are about zero and one. As in images, neighbors are correlated, and samples
    and channels differ.

    Args:
        seed: The same seed gives the same values.
        shape: With the batch dimension: (N, C, H, W), (N, C, T) or (N, F).
    """
    generator = torch.Generator().manual_seed(seed)
    lead, spatial = (shape[:2], shape[2:]) if len(shape) > 2 else ((shape[0], 1), shape[1:])
    offset = torch.randn((*lead, *(1 for _ in spatial)), generator=generator)
    field = 0.5 * offset.expand(*lead, *spatial)
    mode = "bicubic" if len(spatial) == 2 else "linear"
    for cells in (3, 8):
        coarse = torch.randn((*lead, *(min(cells, n) for n in spatial)), generator=generator)
        smooth = functional.interpolate(coarse, size=spatial, mode=mode, align_corners=False)
        field = field + 0.8 * smooth
    noise = torch.randn((*lead, *spatial), generator=generator)
    return (field + 0.2 * noise).reshape(shape)


def _randomize_layer(layer: nn.Module, generator: torch.Generator) -> None:
    if isinstance(layer, (*Convolution, nn.Linear)):
        fan_in = layer.weight[0].numel()
        if isinstance(layer, nn.ConvTranspose2d):
            taps = math.prod(layer.kernel_size) / math.prod(layer.stride)
            fan_in = max(1, round(layer.in_channels // layer.groups * taps))
        layer.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
        if layer.bias is not None:
            layer.bias.normal_(0, 0.1, generator=generator)
    elif isinstance(layer, BatchNorm) and layer.affine:
        layer.weight.uniform_(0.5, 1.5, generator=generator)
        # About zero, half of every ReLU is shut and rounding errors grow by 1.21 a layer, a
        # thousandfold in 37 (Yang et al. 2019, arXiv:1902.08129); so it is 1.12, sixtyfold.
        layer.bias.normal_(0.5, 0.3, generator=generator)


def _measure_statistics(
    module: nn.Module,
    norms: list[nn.BatchNorm1d | nn.BatchNorm2d],
    shape: tuple[int, ...],
    seed: int,
) -> None:
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over the passes
        norm.train()
    with torch.no_grad():
        for index in range(_PASSES):
            module(structured_input((_BATCH, *shape), seed + index))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        # A channel that hardly moved here may move for other inputs; its scale must not explode.
        variance = norm.running_var
        if variance is not None:
            variance.clamp_(min=_LEAST_VARIANCE * float(variance.mean()))


def _guess_shape(module: nn.Module) -> tuple[int, ...]:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            return (layer.in_channels, 128, 128)
        if isinstance(layer, nn.Conv1d):
            return (layer.in_channels, 256)
        if isinstance(layer, nn.Linear):
            return (layer.in_features,)
    raise ValueError("no shape of an input follows from the layers, so `shape` is needed")
