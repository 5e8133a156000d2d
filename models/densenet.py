"""DenseNet: every layer reads all earlier ones (Huang et al. 2016). Keys are torchvision's."""

from __future__ import annotations

import re
from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

from edgeconv.models.card import imagenet
from edgeconv.models.layers.dense import DenseBlock, Transition
from edgeconv.models.registry import register

# torchvision's file still has the names of an early release, such as "norm.1" for "norm1".
_OLD_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


class DenseNet(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; stride 32."""

    def __init__(
        self,
        depths: tuple[int, ...],
        growth: int,
        num_classes: int,
        in_channels: int,
        dropout: float,
    ) -> None:
        super().__init__()
        channels = 2 * growth
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        for index, depth in enumerate(depths, start=1):
            layers[f"denseblock{index}"] = DenseBlock(channels, growth, depth)
            channels += depth * growth
            if index < len(depths):
                layers[f"transition{index}"] = Transition(channels)
                channels //= 2
        layers["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(layers)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, num_classes)
        # PyTorch leaves this method untyped.
        self.register_load_state_dict_pre_hook(_rename_old_keys)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.features(x), inplace=True)
        logits: Tensor = self.classifier(self.dropout(y.mean(dim=(2, 3))))
        return logits


def _rename_old_keys(_module: nn.Module, state: dict[str, Tensor], *_unused: object) -> None:
    for key in list(state):
        name = _OLD_KEY.sub(r"\1\2", key)
        if name != key:
            state[name] = state.pop(key)


@register(
    family="DenseNet",
    parameters=7_978_856,
    macs=2_834_161_664,
    receptive_field=2071,
    accuracy=imagenet(74.434, "torchvision IMAGENET1K_V1"),
    paper="Huang et al. 2016, arXiv:1608.06993",
)
def densenet121(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> nn.Module:
    """Build dense blocks of 6, 12, 24 and 16 layers that add 32 channels each."""
    return DenseNet((6, 12, 24, 16), 32, num_classes, in_channels, dropout)
