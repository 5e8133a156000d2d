"""Values on the command line that click has no type for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from edgeconv.errors import UsageError
from edgeconv.limits import LABELS_BYTES
from edgeconv.model_args import ModelArg, parse_model_arg
from edgeconv.near_names import did_you_mean, not_a_file

if TYPE_CHECKING:
    from click import ParamType

    from edgeconv.export.layer_rules import LayerRule
else:

    class ParamType(click.ParamType):
        """click's own, which states the type of its values from click 8.4 on only."""

        def __class_getitem__(cls, kind: object) -> type[ParamType]:
            return cls


T = TypeVar("T")
# float() also takes underscores, digits of other scripts, and words such as "inf".
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|\.[0-9]+")


def given() -> set[str]:
    """Names of the parameters that stand on the command line."""
    context = click.get_current_context()
    return {
        name
        for name in context.params
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def given_options(names: Iterable[str]) -> list[str]:
    """The flags, such as ``--model-arg``, of those parameters that are on the command line."""
    parameters = click.get_current_context().command.params
    flags = {parameter.name: parameter.opts[0] for parameter in parameters}
    present = given()
    return [flags[name] for name in names if name in present]


def as_given(parameter: click.Parameter, value: Any) -> str:
    """The text that a parameter turns into this value."""
    if isinstance(parameter.type, Share):
        return f"{100 * value:.12g}%"
    if isinstance(parameter.type, Threads) and isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(parameter.type, FrameSize):
        return "x".join(map(str, value))
    return str(value)


def stated_words(names: Iterable[str]) -> list[str]:
    """The words of those options that stand on the command line: flags, and others with a value."""
    context = click.get_current_context()
    wanted, present = set(names), given()
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name
        if name is not None and name in wanted & present and isinstance(parameter, click.Option):
            value = () if parameter.is_flag else (as_given(parameter, context.params[name]),)
            words += [max(parameter.opts, key=len), *value]
    return words


class NearChoice(click.Choice):  # type: ignore[type-arg]  # generic only since click 8.2
    """One of some texts; a wrong one is answered with near ones."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text, or a usage error."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            meant = did_you_mean(str(value), self.choices)
            if not meant:
                raise
            message = f"{error.message.rstrip('.')}; {meant}"
            raise click.BadParameter(message, ctx=ctx, param=param) from error


class EnumChoice(NearChoice):
    """One of some members of an enum, by their values."""

    def __init__(self, members: Iterable[Enum]) -> None:
        self.members = {str(member.value): member for member in members}
        super().__init__(list(self.members), case_sensitive=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Enum:
        """Turn the text into its member."""
        return self.members[super().convert(value, param, ctx)]


class Share(ParamType[float]):
    """Hundredths, such as ``3%`` or ``3``, as a share from 0 up to ``most``.

    Args:
        name: What the help calls the value.
        example: A value for messages.
        most: The largest share.
        inside: Whether neither 0 nor ``most`` itself is allowed.
    """

    def __init__(self, name: str, example: str, most: float, *, inside: bool = False) -> None:
        self.name, self.example, self.most, self.inside = name, example, most, inside

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The share; anything else is a usage error."""
        if isinstance(value, float):
            return value
        share = _hundredths(str(value).removesuffix("%"))
        if not (0 < share < self.most if self.inside else 0 <= share <= self.most):
            self.fail(
                f"{value} is not a number {self._bounds()} such as {self.example}", param, ctx
            )
        return share

    def _bounds(self) -> str:
        if self.inside:
            return f"above 0 and below {100 * self.most:g}"
        return "from 0 up" if self.most > 1 else f"from 0 to {100 * self.most:g}"


def _hundredths(text: str) -> float:
    """A number of percent as a share; not a number if it is none as people write them."""
    number = text.strip()
    return float(number) / 100 if _NUMBER.fullmatch(number) else math.nan


class FiniteRange(click.FloatRange):
    """A number within a range; click lets "nan" into every one."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; anything else is a usage error."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number", param, ctx)
        return float(number)


class Threads(ParamType[int | tuple[int, ...]]):
    """A number of threads, or several with commas between them."""

    name = "n[,n…]"
    most = 1024

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | tuple[int, ...]:
        """Turn the text into the numbers; each once."""
        parts = str(value).split(",")
        if not all(p.isascii() and p.isdigit() and 1 <= int(p[:5]) <= self.most for p in parts):
            self.fail(f"{value} is not a number from 1 to {self.most}, nor several as in 1,2,4")
        counts = tuple(map(int, parts))
        if len(set(counts)) < len(counts):
            self.fail(f"{value} names a number of threads twice")
        return counts[0] if len(counts) == 1 else counts


class FrameSize(ParamType[tuple[int, int]]):
    """The width and height of a picture."""

    name = "widthxheight"
    most = 8192

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Turn the text into the two numbers."""
        parts = str(value).split("x")
        fits = all(p.isascii() and p.isdigit() and 1 <= int(p[:5]) <= self.most for p in parts)
        if not fits or len(parts) != 2:
            self.fail(f"{value} is not a size such as 640x480, at most {self.most}x{self.most}")
        return int(parts[0]), int(parts[1])


def stated(read: Callable[[str], T]) -> Callable[[str], T]:
    """The type of an option whose value ``read`` reads; its ValueError is a usage error."""

    def convert(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return convert


def none_if_empty(
    context: click.Context, parameter: click.Parameter, value: tuple[T, ...]
) -> tuple[T, ...] | None:
    """Turn the value of a repeatable option that was not given into None."""
    return value or None


def as_set(
    context: click.Context, parameter: click.Parameter, value: tuple[T, ...]
) -> frozenset[T]:
    """Turn the values of a repeatable option into a set."""
    return frozenset(value)


def as_names(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """Split each text at its commas."""
    return tuple(name.strip() for text in value for name in text.split(",") if name.strip())


def as_dict(
    context: click.Context, parameter: click.Parameter, value: tuple[tuple[str, T], ...]
) -> dict[str, T]:
    """Turn the pairs of a repeatable option into a dict; the last one of a name counts."""
    return dict(value)


def negated(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    """Turn a flag such as ``--no-verify`` into the value of what it switches off."""
    return not value


def input_size(text: str) -> tuple[int, ...]:
    """Read the size of an input, as ``edgeconv.export.capture.input_shape.parse_size`` does."""
    from edgeconv.export.capture.input_shape import parse_size

    try:
        return parse_size(text)
    except UsageError as error:
        raise click.BadParameter(error.message) from error


def numbers(text: str) -> tuple[float, ...]:
    """Read numbers separated by commas: ``0.485,0.456,0.406``."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a list of numbers such as 0.485,0.456,0.406"
        ) from None


def percent(text: str) -> float:
    """Read ``1%`` or ``0.5 %`` as a share: 0.01, 0.005."""
    number = text.strip().removesuffix("%")
    share = _hundredths(number)
    if number == text.strip() or not 0 <= share < 1:
        raise click.BadParameter(f"{text!r} is not a percentage such as 1%")
    return share


def lines(text: str) -> tuple[str, ...]:
    """Read the lines of the text file at a path.

    Raises:
        UsageError: There is no such file, or it is not text.
        LimitExceeded: It is too large.
    """
    path = Path(text)
    if not path.is_file():
        raise not_a_file(path, "name a text file")
    LABELS_BYTES.check(path.stat().st_size, f"{path} has")
    try:
        # Editors of Windows begin UTF-8 with a mark, which is no part of the first line.
        with path.open(encoding="utf-8-sig") as file:
            return tuple(line.removesuffix("\n") for line in file)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text file in UTF-8", hint="save it as UTF-8") from error


def layer_rules(text: str | tuple[LayerRule, ...]) -> tuple[LayerRule, ...]:
    """Read the rules of precision by layer from the file at a path; a default is none of them.

    Raises:
        UsageError: There is no such file, or it says something else.
    """
    from edgeconv.export.layer_rules import read_layers

    return read_layers(text) if isinstance(text, str) else text


def key_value(text: str) -> tuple[str, ModelArg]:
    """Read ``key=value``; see :func:`edgeconv.model_args.parse_model_arg`."""
    key, separator, value = text.partition("=")
    if not separator or not key.isidentifier():
        raise click.BadParameter(f"{text!r} is not key=value")
    return key, parse_model_arg(value)


def key_text(text: str) -> tuple[str, str]:
    """Read ``key=text``."""
    key, separator, value = text.partition("=")
    if not separator:
        raise click.BadParameter(f"{text!r} is not key=text")
    return key, value
