"""Values on the command line that click has no type for."""

from __future__ import annotations

from typing import Any

import click


class InputSize(click.ParamType):
    """``224`` (a square), ``192x160`` (height x width) or ``1x28x28`` (channels first)."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        parts = str(value).lower().replace("×", "x").split("x")
        if not all(part.isdecimal() and int(part) > 0 for part in parts) or len(parts) > 3:
            self.fail(f"{value!r} is not a size such as 224, 192x160 or 1x28x28", param, ctx)
        sides = tuple(int(part) for part in parts)
        return sides * 2 if len(sides) == 1 else sides


class Numbers(click.ParamType):
    """Numbers separated by commas: ``0.485,0.456,0.406``."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 0.485,0.456,0.406", param, ctx)


class KeyValue(click.ParamType):
    """``key=value``; the value is an integer, a float, true, false, or else text."""

    name = "key=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str | int | float | bool]:
        key, separator, text = str(value).partition("=")
        if not separator or not key.isidentifier():
            self.fail(f"{value!r} is not key=value", param, ctx)
        return key, _literal(text)


def _literal(text: str) -> str | int | float | bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
