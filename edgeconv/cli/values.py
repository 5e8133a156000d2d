"""Values on the command line that click has no type for, as functions of the text."""

from __future__ import annotations

import click


def input_size(text: str) -> tuple[int, ...]:
    """``224`` (a square), ``192x160`` (height x width), ``1x28x28`` (channels first), or a whole
    shape, batch first, with commas: ``1,12,8``.
    """
    whole = "," in text
    parts = text.lower().replace("×", "x").split("," if whole else "x")
    if (len(parts) > 3 and not whole) or not all(map(_is_count, parts)):
        raise click.BadParameter(
            f"{text!r} is not a size such as 224, 192x160 or 1x28x28, nor a whole shape, batch "
            "first, with commas, such as 1,2,8,16,16"
        )
    sides = tuple(int(part) for part in parts)
    if whole:
        from edgeconv.export.capture.input_shape import InputShape

        return InputShape(sides)
    return sides * 2 if len(sides) == 1 else sides


def _is_count(text: str) -> bool:
    return text.strip().isdecimal() and int(text) > 0


def numbers(text: str) -> tuple[float, ...]:
    """Numbers separated by commas: ``0.485,0.456,0.406``."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a list of numbers such as 0.485,0.456,0.406"
        ) from None


def percent(text: str) -> float:
    """``1%`` or ``0.5 %`` as a share: 0.01, 0.005."""
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / 100
    except ValueError:
        share = -1.0
    if number == text.strip() or not 0 <= share < 1:
        raise click.BadParameter(f"{text!r} is not a percentage such as 1%")
    return share


def key_value(text: str) -> tuple[str, str | int | float | bool]:
    """``key=value``; the value is an integer, a float, true, false, or else text."""
    key, separator, value = text.partition("=")
    if not separator or not key.isidentifier():
        raise click.BadParameter(f"{text!r} is not key=value")
    return key, _literal(value)


def _literal(text: str) -> str | int | float | bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
