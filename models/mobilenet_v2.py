"""MobileNetV2: inverted residuals with linear bottlenecks (Sandler et al. 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.card import imagenet
from edgeconv.models.layers.activation import relu6
from edgeconv.models.layers.channels import make_divisible
from edgeconv.models.layers.conv_norm_act import ConvNormAct
from edgeconv.models.layers.inverted_residual import InvertedResidual
from edgeconv.models.registry import register

LAST_CHANNELS = 1280

# Table 2 of the paper: expansion, output channels, repeats, stride of the first repeat.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def features(in_channels: int, width_mult: float, *, output_stride: int = 32) -> nn.Sequential:
    """Everything before the pool. Strides beyond ``output_stride`` become dilations."""
    channels = make_divisible(32 * width_mult)
    layers: list[nn.Module] = [ConvNormAct(in_channels, channels, stride=2, activation=relu6)]
    reached, dilation = 2, 1
    for expansion, width, repeats, first_stride in _STAGES:
        out_channels = make_divisible(width * width_mult)
        for index in range(repeats):
            stride = first_stride if index == 0 else 1
            if reached * stride > output_stride:
                # The block itself still reads undilated input; those after it dilate.
                layers.append(InvertedResidual(channels, out_channels, 1, expansion, dilation))
                dilation *= stride
            else:
                reached *= stride
                layers.append(InvertedResidual(channels, out_channels, stride, expansion, dilation))
            channels = out_channels
    # The last layer narrows for no multiplier below 1: small networks need its features most.
    last = make_divisible(LAST_CHANNELS * max(1.0, width_mult))
    layers.append(ConvNormAct(channels, last, 1, activation=relu6))
    return nn.Sequential(*layers)


class MobileNetV2(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; stride 32. Keys are torchvision's."""

    def __init__(
        self, num_classes: int, in_channels: int, width_mult: float, dropout: float
    ) -> None:
        super().__init__()
        self.features = features(in_channels, width_mult)
        last = make_divisible(LAST_CHANNELS * max(1.0, width_mult))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.features(x)
        logits: Tensor = self.classifier(y.mean(dim=(2, 3)))
        return logits


@register(
    family="MobileNetV2",
    parameters=3_504_872,
    macs=300_774_272,
    receptive_field=491,
    accuracy=imagenet(71.878, "torchvision IMAGENET1K_V1"),
    paper="Sandler et al. 2018, arXiv:1801.04381",
)
def mobilenet_v2(
    num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.2
) -> nn.Module:
    """Build 17 inverted residuals behind a stem."""
    return MobileNetV2(num_classes, in_channels, width_mult, dropout)
