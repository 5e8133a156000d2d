"""``edgeconv models``: the networks of the zoo and their cards."""

from __future__ import annotations

import dataclasses
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.cli.command_class import Command
from edgeconv.cli.completions import complete_model
from edgeconv.cli.next_command import model_words, suggest
from edgeconv.cli.outputs import refuse_unwritable
from edgeconv.cli.settings import takes
from edgeconv.cli.shared_options import input_size_option, model_args_option, wide_option
from edgeconv.cli.values import given_options
from edgeconv.errors import UsageError
from edgeconv.model_args import ModelArg
from edgeconv.near_names import did_you_mean
from edgeconv.report.output import echo_json, echo_line
from edgeconv.report.stacked import GAP, print_fitted
from edgeconv.report.tables import WIDTH, Column, console, table
from edgeconv.units import format_count

if TYPE_CHECKING:
    from edgeconv.models import NetworkInfo


@dataclass(frozen=True)
class ModelsSettings:
    """What the command line asks of ``edgeconv models``.

    Attributes:
        pattern: Shell-style pattern of the names to list.
        gradients: Whether to draw the gradients of the one network.
        receptive_field: Whether to draw what a unit of it sees.
        out: The picture's file; None for one of the network's name here.
        model_args: Arguments of the factory of the network to draw.
        input_size: Size of its input, where the network leaves it open.
        wide: Whether to show every column of the list.
        as_json: Whether to print JSON.
    """

    pattern: str
    gradients: bool
    receptive_field: bool
    out: Path | None
    model_args: dict[str, ModelArg]
    input_size: tuple[int, ...] | None
    wide: bool
    as_json: bool


@click.command(
    "models",
    cls=Command,
    examples=(
        "edgeconv models 'mobile*'",
        "edgeconv models mobilenet_v2",
    ),
)
@click.argument("pattern", default="*", shell_complete=complete_model)
@click.option(
    "--gradients",
    is_flag=True,
    help="Draw the gradient that reaches each layer, with and without shortcuts.",
)
@click.option(
    "--receptive-field",
    is_flag=True,
    help="Draw what a unit of the last map sees: in theory, and measured.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The picture, .png or .svg.  [default: NAME-gradients.png or NAME-field.png]",
)
@model_args_option
@input_size_option
@wide_option
@click.option("--json", "as_json", is_flag=True, help="Print versioned JSON instead of a table.")
@takes(ModelsSettings)
def command(settings: ModelsSettings) -> None:
    """List the networks of the zoo whose name matches PATTERN (shell style, such as 'mobile*').

    The full name of one network shows its card, or draws a picture of it. A picture can also be
    of file.py:factory or package.module:factory.
    """
    if settings.gradients or settings.receptive_field or settings.out:
        _draw(settings)
        return
    for option in given_options(("model_args", "input_size")):
        raise UsageError(f"{option} applies to a picture", hint="leave it out")
    from edgeconv.models import list_models, model_info, model_options
    from edgeconv.models.pretrained import FILES

    pattern = settings.pattern
    cards = [model_info(name) for name in list_models(pattern)]
    if not cards:
        hint = did_you_mean(pattern, list_models(), "list them all with `edgeconv models`")
        raise UsageError(f"no network matches {pattern!r}", hint=hint)
    if settings.as_json:
        networks = [
            dataclasses.asdict(card)
            | {"options": list(model_options(card.name)), "pretrained": card.name in FILES}
            for card in cards
        ]
        from edgeconv.report.network_documents import NetworksDocument

        echo_json(NetworksDocument.model_validate({"networks": networks}))
    elif pattern == cards[0].name:
        _print_card(cards[0], model_options(pattern), pretrained=pattern in FILES)
        suggest("export", *model_words(pattern))
    else:
        _print_list(cards, wide=settings.wide)


def _draw(settings: ModelsSettings) -> None:
    from edgeconv.cli.models_pictures import draw_field, draw_gradients
    from edgeconv.models import list_models
    from edgeconv.report.plotting import check_suffix, new_figure

    name, out = settings.pattern, settings.out
    if settings.gradients == settings.receptive_field:
        raise UsageError(
            "a picture shows either the gradients or the receptive field",
            hint="pass --gradients or --receptive-field",
        )
    if settings.as_json:
        raise UsageError("a picture is not JSON", hint="leave --json out")
    if name not in list_models() and ":" not in name:
        raise UsageError(
            f"{name!r} names no single network",
            hint=did_you_mean(
                name,
                list_models(),
                "list them all with `edgeconv models`, or name one of your own as file.py:factory",
            ),
        )
    kind = "gradients" if settings.gradients else "field"
    out = out or Path(f"{name.rpartition(':')[2]}-{kind}.png")
    check_suffix(out)
    refuse_unwritable(out)
    new_figure(1, 1)  # a missing matplotlib is reported before anything slow
    draw = draw_gradients if settings.gradients else draw_field
    draw(name, settings.model_args, settings.input_size, out)
    echo_line(f"wrote {out}")


def _print_list(cards: list[NetworkInfo], *, wide: bool) -> None:
    numbers = [Column(name, numeric=True) for name in ("parameters", "MACs", "field")]
    texts = [Column("published", spare=True), Column("paper", spare=True)]
    columns = [Column("network"), Column("input"), *numbers, *texts]
    rows = [
        [
            card.name,
            _shape(card),
            format_count(card.parameters),
            format_count(card.macs),
            _field(card),
            f"{card.accuracy.value:g} {card.accuracy.metric}" if card.accuracy else "-",
            card.paper,
        ]
        for card in cards
    ]
    print_fitted(columns, rows, wide=wide)


def _print_card(card: NetworkInfo, options: dict[str, object], *, pretrained: bool) -> None:
    rows = [
        ["family", card.family],
        ["task", card.task.value],
        ["input", _shape(card)],
        ["outputs", ", ".join(card.outputs)],
        ["parameters", f"{card.parameters:,}"],
        ["MACs", f"{card.macs:,}"],
        ["receptive field", _field(card)],
        ["published", str(card.accuracy) if card.accuracy else "-"],
        ["paper", card.paper],
        ["weights", "torchvision's, with --pretrained" if pretrained else "none are published"],
        ["options", ", ".join(_option(*item) for item in options.items()) or "-"],
    ]
    if "stage" in options:
        last = len(card.outputs) - 1
        rows.append(["stages", f"0 to {last}; --model-arg stage=0 is the first by itself"])
    if card.preprocessing:
        mean, std = (
            ", ".join(f"{value:.4g}" for value in values)
            for values in (card.preprocessing.mean, card.preprocessing.std)
        )
        resize = card.preprocessing.resize
        rows.append(["preprocessing", f"mean {mean}; std {std}; resize {resize or '-'}"])
    out = console()
    out.print(card.name, style="bold")
    width = WIDTH - max(len(name) for name, _ in rows) - len(GAP)
    lines = [(name, textwrap.wrap(value, width, break_long_words=False)) for name, value in rows]
    wrapped = [[("" if i else name), line] for name, each in lines for i, line in enumerate(each)]
    out.print(table(["", ""], wrapped, header=False))


def _option(name: str, default: object) -> str:
    return name if default is None else f"{name}={default}"


def _shape(card: NetworkInfo) -> str:
    return "x".join(map(str, card.input_shape))


def _field(card: NetworkInfo) -> str:
    return "-" if card.receptive_field is None else f"{card.receptive_field:,} px"
