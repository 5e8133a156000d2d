"""What the factory of a network is called with, from the command line or from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None
ModelArg: TypeAlias = Scalar | Sequence[Scalar]
ModelArgs: TypeAlias = Mapping[str, ModelArg]


def parse_model_arg(text: str) -> ModelArg:
    """Read a value: true, false, None, a number, a list such as ``[1,2]``, or else a text."""
    if text.startswith("[") and text.endswith("]"):
        return [_scalar(part.strip()) for part in text[1:-1].split(",") if part.strip()]
    return _scalar(text)


def _scalar(text: str) -> Scalar:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text in ("None", "null"):  # "none" is a name that factories give to many a choice
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
