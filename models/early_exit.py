"""Networks with several exits (Teerapittayanon et al. 2016, "BranchyNet").

The option ``stage``, counted from 0, builds one link of the chain instead of the whole. Stage 0
reads the image, every other one the features of the stage before it; all but the last return
features and logits, the last returns logits.
"""

from __future__ import annotations

from torch import nn

from edgeconv.models import resnet
from edgeconv.models.layers.channels import make_divisible
from edgeconv.models.layers.early_exit import (
    EarlyExitNetwork,
    ExitHead,
    ExitStage,
    LastStage,
    SingleStage,
)
from edgeconv.models.layers.residual import BasicBlock
from edgeconv.models.mobilenet_v2 import LAST_CHANNELS, features
from edgeconv.models.registry import register

_PAPER = "Teerapittayanon et al. 2016, arXiv:1709.01686"
_OUTPUTS = ("exit1", "exit2", "final")


@register(
    family="Early exit",
    parameters=3_634_872,
    macs=300_902_272,
    receptive_field=491,
    paper=_PAPER,
    outputs=_OUTPUTS,
)
def mobilenet_v2_early_exit(
    num_classes: int = 1000,
    in_channels: int = 3,
    width_mult: float = 1.0,
    dropout: float = 0.2,
    stage: int | None = None,
) -> nn.Module:
    """MobileNetV2 with exits after its stages of 32 and 96 channels (strides 8 and 16)."""
    body = features(in_channels, width_mult)
    early, late = make_divisible(32 * width_mult), make_divisible(96 * width_mult)
    last = make_divisible(LAST_CHANNELS * max(1.0, width_mult))
    whole = EarlyExitNetwork(
        [
            ExitStage(body[:7], ExitHead(early, num_classes, dropout)),
            ExitStage(body[7:14], ExitHead(late, num_classes, dropout)),
        ],
        LastStage(body[14:], ExitHead(last, num_classes, dropout)),
    )
    return whole if stage is None else SingleStage(whole, stage)


@register(
    family="Early exit",
    parameters=12_075_512,
    macs=1_814_457_344,
    receptive_field=435,
    paper=_PAPER,
    outputs=_OUTPUTS,
)
def resnet_early_exit(
    num_classes: int = 1000,
    in_channels: int = 3,
    dropout: float = 0.0,
    stage: int | None = None,
) -> nn.Module:
    """ResNet-18 with exits after its second and third stage."""
    stem = resnet.stem(in_channels)
    one, two, second, third = resnet.stages(BasicBlock, 1, (2, 2, 2, 2))
    first = nn.Sequential(stem, one, two)
    whole = EarlyExitNetwork(
        [
            ExitStage(first, ExitHead(128, num_classes, dropout)),
            ExitStage(second, ExitHead(256, num_classes, dropout)),
        ],
        LastStage(third, ExitHead(512, num_classes, dropout)),
    )
    return whole if stage is None else SingleStage(whole, stage)
