"""A feature pyramid on ResNet-18: what detectors read (Lin et al. 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.card import Task
from edgeconv.models.layers.feature_pyramid import FeaturePyramid
from edgeconv.models.layers.residual import BasicBlock
from edgeconv.models.registry import register
from edgeconv.models.resnet import stages, stem


class FpnResNet(nn.Module):
    """(N, C, H, W) images to four maps (N, M, H / s, W / s) with s = 4, 8, 16, 32."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.stem = stem(in_channels)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages(BasicBlock, 1, (2, 2, 2, 2))
        self.pyramid = FeaturePyramid((64, 128, 256, 512), out_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        c2 = self.layer1(self.stem(x))
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        c5 = self.layer4(c4)
        maps: tuple[Tensor, ...] = self.pyramid((c2, c3, c4, c5))
        return maps


@register(
    family="FPN",
    task=Task.DETECTION_FEATURES,
    parameters=11_890_240,
    macs=2_475_884_544,
    receptive_field=499,
    paper="Lin et al. 2016, arXiv:1612.03144",
    outputs=("p2", "p3", "p4", "p5"),
)
def fpn_resnet18(in_channels: int = 3, out_channels: int = 128) -> nn.Module:
    """Build a pyramid of ``out_channels`` maps at strides 4, 8, 16 and 32."""
    return FpnResNet(in_channels, out_channels)
