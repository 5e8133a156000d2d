"""Simple baseline of pose estimation: a ResNet and three transposed convolutions.

Xiao et al. 2018. Keys are those of the paper's own code.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.card import Accuracy, Preprocessing, Task
from edgeconv.models.layers.residual import Bottleneck
from edgeconv.models.layers.transposed import TransposedConv
from edgeconv.models.registry import register
from edgeconv.models.resnet import Block, Trunk

_WIDTH = 256


class SimpleBaseline(Trunk):
    """(N, C, H, W) images to (N, J, H / 4, W / 4): where each of J joints is, as a heat map each.

    H and W are multiples of 32. The backbone shrinks the image 32 times; three transposed
    convolutions, 4x4 with stride 2, enlarge the map 8 times, without any skip.
    """

    def __init__(
        self,
        block: Block,
        depths: tuple[int, int, int, int],
        expansion: int,
        num_joints: int,
        in_channels: int,
    ) -> None:
        super().__init__(block, depths, expansion, in_channels)
        layers: list[nn.Module] = []
        for channels in (512 * expansion, _WIDTH, _WIDTH):
            deconvolution = TransposedConv(channels, _WIDTH, 4, bias=False)
            layers += [deconvolution, nn.BatchNorm2d(_WIDTH), nn.ReLU(inplace=True)]
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = nn.Conv2d(_WIDTH, num_joints, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.final_layer(self.deconv_layers(self.features(x)))
        return maps


@register(
    family="Simple Baseline",
    task=Task.POSE,
    input_shape=(3, 256, 256),
    parameters=33_999_440,
    macs=7_234_125_824,
    receptive_field=491,
    accuracy=Accuracy(88.532, "% mean PCKh@0.5", "MPII validation", "paper's code, flip test"),
    preprocessing=Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    paper="Xiao et al. 2018, arXiv:1804.06208",
    size_multiple=32,
)
def pose_resnet50(num_joints: int = 16, in_channels: int = 3) -> nn.Module:
    """Build the network on ResNet-50; its input is one person, cut out."""
    block = Bottleneck
    return SimpleBaseline(block, (3, 4, 6, 3), block.expansion, num_joints, in_channels)
