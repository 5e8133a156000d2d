"""What is known about a network before it is built: the card that ``edgeconv models`` prints."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Task(str, Enum):
    """What the outputs mean."""

    CLASSIFICATION = "classification"
    SEGMENTATION = "segmentation"
    DETECTION_FEATURES = "detection features"
    DEPTH = "depth"
    SUPER_RESOLUTION = "super-resolution"
    COLORIZATION = "colorization"
    KEYWORD_SPOTTING = "keyword spotting"
    ANOMALY_DETECTION = "anomaly detection"


@dataclass(frozen=True)
class Preprocessing:
    """From an image to the network's input: resize the shorter side to ``resize`` pixels, crop the
    center to the input size, scale bytes to [0, 1], then (x - mean) / std for each channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None


# The statistics of ImageNet-1K in RGB, as torchvision publishes them.
IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize=256)


@dataclass(frozen=True)
class Accuracy:
    """A published figure, never one of ours: ``value`` in ``metric`` on ``dataset``."""

    value: float
    metric: str
    dataset: str
    source: str

    def __str__(self) -> str:
        return f"{self.value:g} {self.metric}, {self.dataset} ({self.source})"


def imagenet(top1: float, source: str) -> Accuracy:
    """Top-1 accuracy on the validation set of ImageNet-1K, in percent."""
    return Accuracy(top1, "% top-1", "ImageNet-1K", source)


@dataclass(frozen=True)
class NetworkInfo:
    """The card of a network with its default options.

    ``input_shape`` is (C, H, W) for images and spectrograms, (C, T) for sequences, (F,) for feature
    vectors; the batch dimension is left out. ``receptive_field`` is the side, in input pixels, of
    the square that one position of the last feature map sees along the longest chain of
    convolutions and local pools (global pools and squeeze-and-excitation, which see everything,
    are not counted); None for a network without convolutions. ``macs`` are the multiply-accumulate
    operations of one inference on one input of ``input_shape``. ``outputs`` names what the network
    returns, in order.
    """

    name: str
    family: str
    task: Task
    input_shape: tuple[int, ...]
    num_classes: int | None
    preprocessing: Preprocessing | None
    parameters: int
    macs: int
    receptive_field: int | None
    accuracy: Accuracy | None
    paper: str
    outputs: tuple[str, ...]
