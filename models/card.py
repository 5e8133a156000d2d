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
    POSE = "pose"
    SUPER_RESOLUTION = "super-resolution"
    COLORIZATION = "colorization"
    KEYWORD_SPOTTING = "keyword spotting"
    ANOMALY_DETECTION = "anomaly detection"


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input.

    Resize the shorter side to ``resize`` pixels, crop the center to the input size, scale bytes to
    [0, 1], then compute (x - mean) / std per channel.
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
    """Return a top-1 accuracy on the validation set of ImageNet-1K, in percent."""
    return Accuracy(top1, "% top-1", "ImageNet-1K", source)


@dataclass(frozen=True)
class NetworkInfo:
    """The card of a network with its default options.

    Attributes:
        name: The name of the factory.
        family: The family, as papers call it.
        task: What the outputs mean.
        input_shape: (C, H, W) for images and spectrograms, (C, T) for sequences, (F,) for feature
            vectors; the batch dimension is left out.
        num_classes: Outputs of the classifier; None where there is none.
        preprocessing: How an image becomes an input; None where the input is not an image.
        parameters: Learned weights, without the statistics of normalization.
        macs: Multiply-accumulate operations of one inference on one input of ``input_shape``.
        receptive_field: Side, in input pixels, of the square that one position of the last feature
            map sees along the longest chain of convolutions and local pools (global pools and
            squeeze-and-excitation, which see everything, are not counted); None for a network
            without convolutions.
        accuracy: The published figure; None where there is none.
        paper: Authors, year and address.
        outputs: Names of what the network returns, in order.
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
