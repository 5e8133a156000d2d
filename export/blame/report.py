"""The result of ``edgeconv blame`` as versioned JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeconv.evaluation import Figure
from edgeconv.versioned import Record, Versioned


class Span(Record):
    """The real interval that an activation's 8 bits cover."""

    low: float
    high: float


class LayerBlame(Record):
    """One layer; SQNR is the signal-to-quantization-noise ratio in dB, and 200 means no noise."""

    name: str = Field(description="the PyTorch module of the weight, or else the output's name")
    position: int = Field(description="the position in the network, from 0")
    node: str = Field(description="the node's name in the ONNX graph")
    operator: str
    alone_db: float = Field(
        description="SQNR of the network's output with only this layer in 8 bits"
    )
    share: float = Field(description="its noise at the network's output in the sum over the layers")
    own_db: float = Field(description="SQNR of the layer's output with only this layer in 8 bits")
    in_place_db: float = Field(
        description="SQNR of the layer's output with all layers in 8 bits, relative to float"
    )
    inherited: bool = Field(description="most of the noise in place comes from layers before")
    inputs: tuple[Span, ...]
    output: Span
    reason: str
    task_loss: float | None = Field(
        default=None,
        description="how much of the task's figure is lost with only this layer in 8 bits",
    )


class TaskFigures(Record):
    """The first figure of a task on labeled samples: in float, and with all layers in 8 bits."""

    task: str
    float_network: Figure
    int8_network: Figure


class Blame(Versioned):
    """``edgeconv blame --json``: the layers, worst first, by the task where there is one."""

    WHAT = "a result of edgeconv blame"

    schema_version: int = 1
    kind: Literal["blame"] = "blame"
    model: str
    data: str
    calibration_samples: int
    samples: int = Field(description="how many samples the figures are taken on")
    method: str
    sqnr_db: float = Field(description="SQNR of the output with all layers in 8 bits")
    file_sqnr_db: float | None = Field(description="SQNR of the bundle's int8 file, if it has one")
    layers: tuple[LayerBlame, ...]
    float_fallback: tuple[str, ...]
    task: TaskFigures | None = Field(default=None, description="with labeled samples only")
