"""Segmentation on a mobile backbone: LR-ASPP and DeepLab."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from edgeconv.models.card import Accuracy, Task
from edgeconv.models.layers.aspp import ASPP
from edgeconv.models.layers.channels import make_divisible
from edgeconv.models.layers.conv_norm_act import ConvNormAct
from edgeconv.models.mobilenet_v2 import features as mobilenet_v2_features
from edgeconv.models.mobilenet_v3 import LARGE
from edgeconv.models.mobilenet_v3 import features as mobilenet_v3_features
from edgeconv.models.registry import register

# The block of mobilenet_v3_large whose output has stride 8 and 40 channels.
_LOW = 4


class _LRASPPHead(nn.Module):
    """Maps of stride 8 and 16 to logits of stride 8: a gated 1x1 convolution, and a skip."""

    def __init__(self, low: int, high: int, num_classes: int, inner: int) -> None:
        super().__init__()
        self.cbr = ConvNormAct(high, inner, 1)
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(high, inner, 1, bias=False), nn.Sigmoid()
        )
        self.low_classifier = nn.Conv2d(low, num_classes, 1)
        self.high_classifier = nn.Conv2d(inner, num_classes, 1)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        y = self.cbr(high) * self.scale(high)
        y = functional.interpolate(y, size=low.shape[-2:], mode="bilinear", align_corners=False)
        logits: Tensor = self.low_classifier(low) + self.high_classifier(y)
        return logits


class LRASPP(nn.Module):
    """(N, C, H, W) images to (N, num_classes, H, W) logits. Keys are torchvision's."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.backbone = mobilenet_v3_features(LARGE, in_channels, 1.0, output_stride=16)
        self.classifier = _LRASPPHead(40, 960, num_classes, inner=128)

    def forward(self, x: Tensor) -> Tensor:
        y = low = x
        for index, layer in enumerate(self.backbone):
            y = layer(y)
            if index == _LOW:
                low = y
        y = self.classifier(low, y)
        return functional.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)


class DeepLab(nn.Module):
    """(N, C, H, W) images to (N, num_classes, H, W) logits.

    The backbone stops striding at 16 and dilates instead; ASPP sees several scales of its map.
    """

    def __init__(
        self, num_classes: int, in_channels: int, width_mult: float, dropout: float
    ) -> None:
        super().__init__()
        # All but the last pointwise layer, which serves the classifier of images.
        self.backbone = mobilenet_v2_features(in_channels, width_mult, output_stride=16)[:-1]
        self.aspp = ASPP(make_divisible(320 * width_mult), 256)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(256, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(self.dropout(self.aspp(self.backbone(x))))
        return functional.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)


@register(
    family="LR-ASPP",
    task=Task.SEGMENTATION,
    input_shape=(3, 224, 224),
    parameters=3_221_538,
    macs=379_281_312,
    receptive_field=691,
    accuracy=Accuracy(57.9, "% mIoU", "COCO with VOC labels", "torchvision, at 520 px"),
    paper="Howard et al. 2019, arXiv:1905.02244",
)
def lraspp_mobilenet_v3(num_classes: int = 21, in_channels: int = 3) -> nn.Module:
    """Build Lite R-ASPP on MobileNetV3-Large, for the 21 classes of Pascal VOC."""
    return LRASPP(num_classes, in_channels)


@register(
    family="DeepLab v3",
    task=Task.SEGMENTATION,
    input_shape=(3, 256, 256),
    parameters=4_523_541,
    macs=1_267_613_696,
    receptive_field=1083,
    paper="Chen et al. 2017, arXiv:1706.05587",
)
def deeplab_mobilenet_v2(
    num_classes: int = 21, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.1
) -> nn.Module:
    """Build DeepLab v3 on MobileNetV2, for the 21 classes of Pascal VOC."""
    return DeepLab(num_classes, in_channels, width_mult, dropout)
