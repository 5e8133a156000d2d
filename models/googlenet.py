"""GoogLeNet: Inception blocks, and auxiliary heads that train their depths (Szegedy et al. 2014).

Keys are torchvision's.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.card import Preprocessing, imagenet
from edgeconv.models.layers.auxiliary_head import AuxiliaryHead
from edgeconv.models.layers.inception import BasicConv, Inception
from edgeconv.models.registry import register


def _pool(kernel_size: int) -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size, stride=2, ceil_mode=True)


class GoogLeNet(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; stride 32.

    In training mode with ``aux_logits`` the output is a tuple: the logits, then those of the later
    and the earlier auxiliary head.
    """

    def __init__(
        self, num_classes: int, in_channels: int, dropout: float, *, aux_logits: bool
    ) -> None:
        super().__init__()
        self.conv1 = BasicConv(in_channels, 64, 7, stride=2, padding=3)
        self.maxpool1 = _pool(3)
        self.conv2 = BasicConv(64, 64, 1)
        self.conv3 = BasicConv(64, 192, 3, padding=1)
        self.maxpool2 = _pool(3)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = _pool(3)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = _pool(2)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = AuxiliaryHead(512, num_classes) if aux_logits else None
        self.aux2 = AuxiliaryHead(528, num_classes) if aux_logits else None
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        if not aux_logits:
            # PyTorch leaves this method untyped.
            self.register_load_state_dict_pre_hook(_drop_heads)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        y = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(x)))))
        y = self.maxpool3(self.inception3b(self.inception3a(y)))
        early = self.inception4a(y)
        late = self.inception4d(self.inception4c(self.inception4b(early)))
        y = self.maxpool4(self.inception4e(late))
        y = self.inception5b(self.inception5a(y))
        logits: Tensor = self.fc(self.dropout(y.mean(dim=(2, 3))))
        if self.training and self.aux1 is not None and self.aux2 is not None:
            return logits, self.aux2(late), self.aux1(early)
        return logits


def _drop_heads(
    _module: nn.Module, state: dict[str, Tensor], prefix: str, *_unused: object
) -> None:
    """Torchvision's file has the auxiliary heads, which a network built without them leaves."""
    for key in [key for key in state if key.startswith((f"{prefix}aux1.", f"{prefix}aux2."))]:
        del state[key]


@register(
    family="GoogLeNet",
    parameters=6_624_904,
    macs=1_498_376_192,
    receptive_field=379,
    accuracy=imagenet(69.778, "torchvision IMAGENET1K_V1"),
    # The published weights were trained on this normalization.
    preprocessing=Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, resize=256),
    paper="Szegedy et al. 2014, arXiv:1409.4842",
)
def googlenet(
    num_classes: int = 1000,
    in_channels: int = 3,
    dropout: float = 0.2,
    aux_logits: bool = False,
) -> nn.Module:
    """Build the network; ``aux_logits`` adds the heads that help while training."""
    return GoogLeNet(num_classes, in_channels, dropout, aux_logits=aux_logits)
