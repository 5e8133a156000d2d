"""Precision by layer: what a user states for layers by their names; importing it needs no torch."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgeconv.arguments import StatedRecord
from edgeconv.errors import UsageError
from edgeconv.toml_file import read_toml
from edgeconv.versioned import first_problem, near_hint


class LayerPrecision(str, Enum):
    """What a layer computes in, in an int8 file."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT16 = "int16"
    INT8 = "int8"


IN_FLOAT = (LayerPrecision.FLOAT32, LayerPrecision.FLOAT16)


class WeightScales(str, Enum):
    """Whether each output channel of a weight has a scale, or all of them share one."""

    PER_CHANNEL = "per-channel"
    PER_TENSOR = "per-tensor"


class ActivationZero(str, Enum):
    """Whether the integer that stands for zero follows from the range, or is 0."""

    ASYMMETRIC = "asymmetric"
    SYMMETRIC = "symmetric"


class LayerRule(StatedRecord):
    """What the layers of a name, or of a pattern, are made of.

    Attributes:
        name: A name that ``edgeconv blame`` prints, or a pattern such as ``head.*``.
        precision: float32; float16: computed in float32, of weights that are stored in float16;
            int16: activations of 16 bits and weights of 8; or int8.
        weights: How weights are scaled.
        activations: Where the zero of the layer's result lies; it is 0 in int16.
    """

    name: str = Field(min_length=1)
    precision: LayerPrecision = LayerPrecision.INT8
    weights: WeightScales = WeightScales.PER_CHANNEL
    activations: ActivationZero = ActivationZero.ASYMMETRIC

    @model_validator(mode="after")
    def _float_has_no_scales(self) -> LayerRule:
        stated = self.model_fields_set & {"weights", "activations"}
        if self.precision in IN_FLOAT and stated:
            raise ValueError(
                f"{self.precision.value} layers have no scales, so {min(stated)!r} says nothing"
            )
        return self


_HEADER = re.compile(r"\s*\[\[\s*layer\s*\]\]")

# What states nothing beyond the default.
ALL_IN_INT8 = (LayerRule(name="*", precision=LayerPrecision.INT8),)


class _Recipe(BaseModel):
    """The file: one ``[[layer]]`` for each rule."""

    model_config = ConfigDict(extra="forbid")

    layer: tuple[LayerRule, ...] = Field(min_length=1)


@dataclass(frozen=True)
class LayerChoices:
    """What rules come to in one graph, by the names of nodes.

    Attributes:
        int16: The nodes with activations of 16 bits.
        per_tensor: The layers whose weights have a single scale.
        symmetric: The nodes with the zero of their results at 0.
        by_rule: Each rule, with the nodes that it decides.
        asked: The nodes that were asked to stay in float.
    """

    int16: frozenset[str] = frozenset()
    per_tensor: frozenset[str] = frozenset()
    symmetric: frozenset[str] = frozenset()
    by_rule: tuple[tuple[LayerRule, tuple[str, ...]], ...] = ()
    asked: frozenset[str] = frozenset()


def read_layers(path: str | Path) -> tuple[LayerRule, ...]:
    """Read the rules of a TOML file, in their order.

    Raises:
        UsageError: There is no such file, or it says something else.
    """
    path = Path(path)
    keys = ", ".join(LayerRule.model_fields)
    hint = f"state a [[layer]] for each rule; its keys are {keys}"
    content = read_toml(path, hint=hint)
    try:
        return _Recipe.model_validate(content).layer
    except ValidationError as error:
        hint = near_hint(error, _Recipe, hint)
        raise UsageError(
            f"{path}{_line(path, error)}: {first_problem(error)}", hint=hint
        ) from error


def _line(path: Path, error: ValidationError) -> str:
    """Where the rule begins that is wrong, or the line with the key of it."""
    place = error.errors(include_url=False)[0]["loc"]
    if len(place) < 2 or not isinstance(place[1], int):
        return ""
    lines = path.read_text("utf-8").splitlines()
    headers = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    if place[1] >= len(headers):
        return ""  # written as an array of inline tables
    number = headers[place[1]]
    for after in range(number + 1, [*headers, len(lines)][place[1] + 1]):
        if len(place) > 2 and lines[after].partition("=")[0].strip(" \t\"'") == place[2]:
            number = after
    return f", line {number + 1}"


def write_layers(rules: tuple[LayerRule, ...]) -> str:
    """Write rules as the text of a file that :func:`read_layers` reads."""
    return "\n".join(_as_toml(rule) for rule in rules)


def _as_toml(rule: LayerRule) -> str:
    stated = rule.model_dump(mode="json", exclude_unset=True)
    # A JSON string is a TOML one.
    lines = [f"{key} = {json.dumps(value)}" for key, value in stated.items()]
    return "\n".join(["[[layer]]", *lines, ""])
