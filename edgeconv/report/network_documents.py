"""The documents that ``models`` and ``cost`` print with ``--json``."""

from __future__ import annotations

from edgeconv.models.arithmetic import Convolution
from edgeconv.models.card import Accuracy, Preprocessing, Task
from edgeconv.models.conv_cost import FrequencyCost
from edgeconv.models.cost import Savings
from edgeconv.versioned import Record, Versioned


class ListedNetwork(Record):
    """A network of the zoo; ``options`` are the names of its arguments."""

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
    options: tuple[str, ...]
    pretrained: bool


class NetworksDocument(Versioned):
    """Networks of the zoo."""

    WHAT = "models --json"

    schema_version: int = 1
    networks: tuple[ListedNetwork, ...]


class Layer(Record):
    """A layer of a network; ``intensity`` is in MACs per byte."""

    name: str
    operator: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    weight_bytes: int
    activation_bytes: int
    receptive_field: int | None
    convolution: Convolution | None
    intensity: float


class CostDocument(Versioned):
    """What a network costs, by layer and in all."""

    WHAT = "cost --json"

    schema_version: int = 1
    parameters: int
    macs: int
    weight_bytes: int
    activation_bytes: int
    peak_bytes: int
    intensity: float
    receptive_field: int | None
    separable_savings: Savings
    layers: tuple[Layer, ...]


class ConvolutionCost(Record):
    """A kind of convolution; ``macs`` only with ``--size``."""

    name: str
    formula: str
    parameters: int
    reach: int
    condition: str
    macs: int | None = None


class ConvolutionsDocument(Versioned):
    """Kinds of one convolution beside each other."""

    WHAT = "cost --conv --json"

    schema_version: int = 1
    convolutions: tuple[ConvolutionCost, ...]
    frequency_domain: FrequencyCost | None = None
