"""GhostNet: inverted residuals whose pointwise convolutions are ghost modules (Han et al. 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.card import imagenet
from edgeconv.models.layers.activation import relu
from edgeconv.models.layers.channels import make_divisible
from edgeconv.models.layers.conv_norm_act import ConvNormAct
from edgeconv.models.layers.ghost import GhostModule
from edgeconv.models.layers.squeeze_excitation import SqueezeExcitation
from edgeconv.models.registry import register

# Table 1 of the paper: kernel size, hidden channels, output channels, gated or not, stride.
_ROWS = (
    (3, 16, 16, False, 1),
    (3, 48, 24, False, 2),
    (3, 72, 24, False, 1),
    (5, 72, 40, True, 2),
    (5, 120, 40, True, 1),
    (3, 240, 80, False, 2),
    (3, 200, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 480, 112, True, 1),
    (3, 672, 112, True, 1),
    (5, 672, 160, True, 2),
    (5, 960, 160, False, 1),
    (5, 960, 160, True, 1),
    (5, 960, 160, False, 1),
    (5, 960, 160, True, 1),
)


class GhostBottleneck(nn.Module):
    """(N, C, H, W) to (N, M, ceil(H / stride), ceil(W / stride)): expand, convolve, project."""

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        *,
        gated: bool,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [GhostModule(in_channels, hidden)]
        if stride > 1:
            layers.append(_depthwise(hidden, kernel_size, stride))
        if gated:
            squeezed = make_divisible(hidden / 4, 4)
            layers.append(SqueezeExcitation(hidden, squeezed, gate=nn.Hardsigmoid))
        layers.append(GhostModule(hidden, out_channels, activation=None))
        self.layers = nn.Sequential(*layers)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                _depthwise(in_channels, kernel_size, stride),
                ConvNormAct(in_channels, out_channels, 1, activation=None),
            )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x) + self.shortcut(x)
        return y


def _depthwise(channels: int, kernel_size: int, stride: int) -> nn.Module:
    return ConvNormAct(channels, channels, kernel_size, stride, groups=channels, activation=None)


class GhostNet(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; stride 32."""

    def __init__(
        self, num_classes: int, in_channels: int, width_mult: float, dropout: float
    ) -> None:
        super().__init__()
        channels = make_divisible(16 * width_mult, 4)
        layers: list[nn.Module] = [ConvNormAct(in_channels, channels, stride=2)]
        for kernel_size, hidden, width, gated, stride in _ROWS:
            out_channels = make_divisible(width * width_mult, 4)
            hidden = make_divisible(hidden * width_mult, 4)
            layers.append(
                GhostBottleneck(channels, hidden, out_channels, kernel_size, stride, gated=gated)
            )
            channels = out_channels
        last = make_divisible(960 * width_mult, 4)
        layers.append(ConvNormAct(channels, last, 1))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(last, 1280)
        self.relu = relu()
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(1280, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x).mean(dim=(2, 3))
        logits: Tensor = self.classifier(self.relu(self.head(y)))
        return logits


@register(
    family="GhostNet",
    parameters=5_182_508,
    macs=141_150_512,
    receptive_field=1171,
    accuracy=imagenet(73.9, "paper"),
    paper="Han et al. 2019, arXiv:1911.11907",
)
def ghostnet(
    num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.2
) -> nn.Module:
    """Build the paper's network (table 1)."""
    return GhostNet(num_classes, in_channels, width_mult, dropout)
