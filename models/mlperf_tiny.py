"""The networks of the MLPerf Tiny benchmark (Banbury et al. 2021).

The references are Keras networks, whose stride-2 convolutions pad on the far side only; here the
padding is symmetric. Parameter counts are the references' without the batch-norm statistics, which
Keras counts and PyTorch does not.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from edgeconv.models.card import Accuracy, Preprocessing, Task
from edgeconv.models.layers.activation import relu
from edgeconv.models.mobilenet_v1 import MobileNetV1
from edgeconv.models.registry import register

_FAMILY = "MLPerf Tiny"
_PAPER = "Banbury et al. 2021, arXiv:2106.07597"
_TARGET = "benchmark's target"


class _TinyBlock(nn.Module):
    """A residual block as the benchmark's reference has it.

    Its convolutions have biases, and its projection has no normalization.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = (
            nn.Identity() if stride == 1 else nn.Conv2d(in_channels, out_channels, 1, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: Tensor = self.relu(y + self.shortcut(x))
        return out


class ResNet8(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; three blocks, stride 4."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = relu()
        self.blocks = nn.Sequential(
            _TinyBlock(16, 16, 1), _TinyBlock(16, 32, 2), _TinyBlock(32, 64, 2)
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(self.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.fc(self.dropout(y.mean(dim=(2, 3))))
        return logits


class DsCnn(nn.Module):
    """(N, C, 49, 10) cepstral coefficients, 49 frames of 10, to (N, num_classes) logits.

    Zhang et al. 2017, "Hello Edge: Keyword Spotting on Microcontrollers" (arXiv:1711.07128).
    """

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, 64, (10, 4), stride=2, padding=(5, 1)),
            nn.BatchNorm2d(64),
            relu(),
            nn.Dropout(dropout / 2),
        ]
        for _ in range(4):
            layers += [
                nn.Conv2d(64, 64, 3, padding=1, groups=64),
                nn.BatchNorm2d(64),
                relu(),
                nn.Conv2d(64, 64, 1),
                nn.BatchNorm2d(64),
                relu(),
            ]
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x).mean(dim=(2, 3))
        logits: Tensor = self.fc(self.dropout(y))
        return logits


class DsTcn(nn.Module):
    """(N, C, 30) log-mel energies, 30 frames of C, to (N, num_classes) logits.

    Four depthwise separable convolutions in time, without padding, whose kernels of 3, 5, 10 and 15
    frames use up exactly 30: nothing is left to pool. On a stream the same ``features`` slide over
    any length, one result for each new frame.
    """

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        widths = (in_channels, 128, 128, 128, 32)
        for (before, after), kernel in zip(itertools.pairwise(widths), (3, 5, 10, 15), strict=True):
            layers += [
                nn.Conv1d(before, before, kernel, groups=before, bias=False),
                nn.Conv1d(before, after, 1, bias=False),
                nn.BatchNorm1d(after),
                relu(),
                nn.Dropout(dropout),
            ]
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(x).flatten(1))
        return logits


class Autoencoder(nn.Sequential):
    """(N, 640) five frames of 128 log-mel energies to their reconstruction, (N, 640).

    The anomaly score is the mean squared difference of the two. Koizumi et al. 2020 (DCASE
    challenge, task 2; arXiv:2006.05822).
    """

    def __init__(self) -> None:
        widths = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), relu()]
        super().__init__(*layers, nn.Linear(128, 640))


@register(
    family=_FAMILY,
    input_shape=(3, 32, 32),
    parameters=78_186,
    macs=12_501_632,
    receptive_field=25,
    accuracy=Accuracy(85, "% top-1", "CIFAR-10", _TARGET),
    # The reference feeds bytes as they are; (x / 255) / (1 / 255) says so.
    preprocessing=Preprocessing(mean=(0.0,) * 3, std=(1 / 255,) * 3),
    paper=_PAPER,
)
def resnet8(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0) -> nn.Module:
    """Image classification."""
    return ResNet8(num_classes, in_channels, dropout)


@register(
    family=_FAMILY,
    task=Task.KEYWORD_SPOTTING,
    input_shape=(1, 49, 10),
    parameters=23_756,
    macs=2_656_768,
    receptive_field=26,
    accuracy=Accuracy(90, "% top-1", "Speech Commands v2", _TARGET),
    preprocessing=None,
    paper=_PAPER,
)
def ds_cnn(num_classes: int = 12, in_channels: int = 1, dropout: float = 0.4) -> nn.Module:
    """Keyword spotting."""
    return DsCnn(num_classes, in_channels, dropout)


@register(
    family=_FAMILY,
    task=Task.KEYWORD_SPOTTING,
    input_shape=(40, 30),
    parameters=46_875,
    macs=826_368,
    receptive_field=30,
    accuracy=Accuracy(
        96.07, "% top-1", "Speech Commands v2 in MUSAN noise", "reference's float network"
    ),
    preprocessing=None,
    paper=_PAPER + "; since MLPerf Tiny 1.3",
)
def ds_tcn(num_classes: int = 3, in_channels: int = 40, dropout: float = 0.2) -> nn.Module:
    """Streaming wake word: the word, silence, or anything else."""
    return DsTcn(num_classes, in_channels, dropout)


@register(
    family=_FAMILY,
    input_shape=(3, 96, 96),
    parameters=213_586,
    macs=7_489_664,
    receptive_field=315,
    accuracy=Accuracy(80, "% top-1", "Visual Wake Words", _TARGET),
    preprocessing=Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3, resize=96),
    paper=_PAPER,
)
def mobilenet_v1_025(
    num_classes: int = 2, in_channels: int = 3, width_mult: float = 0.25, dropout: float = 0.0
) -> nn.Module:
    """Visual wake words: is there a person in the picture?"""
    return MobileNetV1(num_classes, in_channels, width_mult, dropout)


@register(
    family=_FAMILY,
    task=Task.ANOMALY_DETECTION,
    input_shape=(640,),
    parameters=267_928,
    macs=264_192,
    receptive_field=None,
    accuracy=Accuracy(0.85, "AUC", "ToyADMOS toy car", _TARGET),
    preprocessing=None,
    paper=_PAPER,
)
def autoencoder() -> nn.Module:
    """Anomaly detection: machines that sound wrong are reconstructed badly."""
    return Autoencoder()
