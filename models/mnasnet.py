"""MnasNet: an architecture searched for latency on a phone (Tan et al. 2018).

torchvision's MnasNet-B1, without squeeze-and-excitation, and its keys.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from edgeconv.models.card import imagenet
from edgeconv.models.layers.activation import relu
from edgeconv.models.layers.channels import make_divisible
from edgeconv.models.registry import register

# Output channels, kernel size, stride of the first repeat, expansion, repeats.
_STAGES = (
    (24, 3, 2, 3, 3),
    (40, 5, 2, 3, 3),
    (80, 5, 2, 6, 3),
    (96, 3, 1, 6, 2),
    (192, 5, 2, 6, 4),
    (320, 3, 1, 6, 1),
)

_norm = partial(nn.BatchNorm2d, momentum=0.0003)


class _Block(nn.Module):
    """An inverted residual whose layers lie flat in one sequence."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.layers = nn.Sequential(
            *_conv(in_channels, hidden, 1),
            *_conv(hidden, hidden, kernel_size, stride, groups=hidden),
            *_conv(hidden, out_channels, 1)[:2],
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.has_shortcut else y


def _conv(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module, nn.Module]:
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding=kernel_size // 2,
        groups=groups,
        bias=False,
    )
    return conv, _norm(out_channels), relu()


class MnasNet(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; stride 32."""

    def __init__(
        self, num_classes: int, in_channels: int, width_mult: float, dropout: float
    ) -> None:
        super().__init__()
        stem, channels = make_divisible(32 * width_mult), make_divisible(16 * width_mult)
        layers: list[nn.Module] = [
            *_conv(in_channels, stem, 3, stride=2),
            *_conv(stem, stem, 3, groups=stem),
            *_conv(stem, channels, 1)[:2],
        ]
        for width, kernel_size, stride, expansion, repeats in _STAGES:
            out_channels = make_divisible(width * width_mult)
            first = _Block(channels, out_channels, kernel_size, stride, expansion)
            rest = (
                _Block(out_channels, out_channels, kernel_size, 1, expansion)
                for _ in range(repeats - 1)
            )
            layers.append(nn.Sequential(first, *rest))
            channels = out_channels
        layers += _conv(channels, 1280, 1)
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(1280, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        logits: Tensor = self.classifier(y.mean(dim=(2, 3)))
        return logits


@register(
    family="MnasNet",
    parameters=4_383_312,
    macs=314_415_872,
    receptive_field=843,
    accuracy=imagenet(73.456, "torchvision IMAGENET1K_V1"),
    paper="Tan et al. 2018, arXiv:1807.11626",
)
def mnasnet1_0(
    num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.2
) -> nn.Module:
    """Build MnasNet-B1, which has no squeeze-and-excitation."""
    return MnasNet(num_classes, in_channels, width_mult, dropout)
