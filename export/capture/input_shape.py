"""What a user says of a network's inputs: shapes, names and types. It needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from edgeconv.arguments import checked_arguments
from edgeconv.errors import UsageError
from edgeconv.near_names import did_you_mean

DTYPES = ("float32", "int64", "int32", "int16", "int8", "uint8", "bool")

# Of PyTorch, Python and C, by whose distance from ours int would be int8.
_OTHER_NAMES = {
    "int": "int64",
    "long": "int64",
    "short": "int16",
    "char": "int8",
    "byte": "uint8",
    "float": "float32",
    "double": "float32",
    "float64": "float32",
    "half": "float32",
    "float16": "float32",
    "bfloat16": "float32",
    "boolean": "bool",
}

_MOST_SIDES = 3
"""Of a size without the batch; more numbers are a whole shape."""

_FORM = "NAME:SHAPE or NAME:SHAPE:DTYPE, as in ids:1,16:int64, or NAME=VALUE for what is no tensor"


class InputShape(tuple[int, ...]):
    """An input size that is the whole shape of the input, batch first: ``InputShape((1, 12, 8))``.

    Nothing is added to it, unlike to a plain tuple of sizes.

    Raises:
        UsageError: It is made of something else than one tuple of whole numbers.
    """

    def __new__(cls, *sides: Iterable[int]) -> InputShape:
        """Take the sides as a tuple takes its items."""
        one = sides[0] if len(sides) == 1 and isinstance(sides[0], Iterable) else None
        shape = () if one is None else tuple(one)
        if one is None or not all(isinstance(side, int) and side > 0 for side in shape):
            raise UsageError(
                f"an InputShape is made of one tuple of whole numbers, not of {sides!r}",
                hint="pass the whole shape, batch first: InputShape((1, 12, 8))",
            )
        return super().__new__(cls, shape)

    @property
    def batch(self) -> int:
        """The first dimension."""
        return self[0]

    @property
    def sample(self) -> tuple[int, ...]:
        """The dimensions after the batch."""
        return self[1:]


def parse_size(text: str) -> tuple[int, ...]:
    """Read the size of an input.

    Returns:
        (height, width) for ``224`` (a square) or ``192x160``, (channels, height, width) for
        ``1x28x28``, and an :class:`InputShape` for a whole shape, batch first: with commas, as in
        ``1,12,8``, or of more numbers than a size has, as in ``1x3x28x28``.

    Raises:
        UsageError: The text has another form.
    """
    whole = "," in text
    parts = text.lower().replace("×", "x").split("," if whole else "x")
    if not all(map(_is_count, parts)):
        raise UsageError(
            f"{text!r} is not a size such as 224, 192x160 or 1x28x28, nor a whole shape, batch "
            "first, with commas, such as 1,2,8,16,16",
            hint="state several inputs, or other types, with --input NAME:SHAPE[:DTYPE]",
        )
    sides = tuple(int(part) for part in parts)
    if whole:
        return InputShape(sides)
    return sides * 2 if len(sides) == 1 else whole_or_size(sides)


def _is_count(text: str) -> bool:
    return text.strip().isdecimal() and int(text) > 0


@checked_arguments(hints={"dtype": f"pass its name, one of {', '.join(DTYPES)}"})
@dataclass(frozen=True)
class InputSpec:
    """One input of a network.

    Attributes:
        name: The parameter of ``forward``; within a list or a dict also the place or the key, as
            in ``images.0`` and ``batch.mask``. For an ``.onnx`` file the name of the input.
        shape: The whole shape, batch first; empty for a scalar.
        dtype: The type of the elements.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Refuse a type or a size that no input has."""
        if self.dtype not in DTYPES:
            hint = did_you_mean(self.dtype, DTYPES, f"pass one of {', '.join(DTYPES)}")
            if self.dtype.lower() in _OTHER_NAMES:
                hint = f"did you mean {_OTHER_NAMES[self.dtype.lower()]!r}?"
            raise UsageError(
                f"the input {self.name!r} has the unknown type {self.dtype!r}", hint=hint
            )
        if any(side < 1 for side in self.shape):
            raise UsageError(
                f"the input {self.name!r} of {list(self.shape)} has an empty dimension",
                hint="give sizes of at least 1",
            )
        object.__setattr__(self, "shape", tuple(self.shape))


@checked_arguments()
@dataclass(frozen=True)
class FixedArgument:
    """An argument of ``forward`` that is not a tensor, and stays what it is in the files.

    Attributes:
        name: As in :class:`InputSpec`.
        value: The argument.
    """

    name: str
    value: str | int | float | bool | None


def parse_input(text: str) -> InputSpec | FixedArgument:
    """Read ``image:1,3,64,64``, ``ids:1,16:int64`` or ``causal=true``.

    Raises:
        UsageError: The text has another form.
    """
    fixed = re.fullmatch(r"([\w.]+)=(.*)", text)
    if fixed:
        return FixedArgument(fixed[1], _literal(fixed[2]))
    match = re.fullmatch(r"([^:=]+):([\d,x× ]*)(?::(\w+))?", text)
    if match is None:
        raise UsageError(
            f"the input {text!r} is not {_FORM}",
            hint="name it as forward or the file does, with its whole shape, batch first",
        )
    name, sides, dtype = match.groups()
    parts = [part for part in re.split(r"[,x×]", sides.strip()) if part.strip()]
    return InputSpec(name, tuple(int(part) for part in parts), dtype or "float32")


def _literal(text: str) -> str | int | float | bool | None:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


def whole_or_size(sides: tuple[int, ...]) -> tuple[int, ...]:
    """A tuple of sizes; one of more numbers than a size has is a whole shape, batch first."""
    whole = len(sides) > _MOST_SIDES and min(sides) > 0
    return InputShape(sides) if whole else sides


def check_input_size(size: tuple[int, ...] | None, batch: int | None) -> None:
    """Refuse an input size that has no form of one, or that contradicts the batch.

    Raises:
        UsageError: It is so.
    """
    if isinstance(size, InputShape):
        if batch not in (None, size.batch):
            raise UsageError(
                f"--batch {batch} contradicts --input-size {','.join(map(str, size))}, which "
                "begins with the batch",
                hint="leave --batch out",
            )
    elif size is not None and not size:
        raise UsageError(
            "an input size has at least one number",
            hint="give height and width, or channels, height and width; for sequences channels and "
            "length, for vectors the number of features, and for any other input its whole shape, "
            "batch first: InputShape((1, 12, 8))",
        )
