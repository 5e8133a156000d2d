"""``edgeconv models``: the networks of the zoo and their cards."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from edgeconv.errors import UsageError

if TYPE_CHECKING:
    from edgeconv.models import NetworkInfo


@click.command("models")
@click.argument("pattern", default="*")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(pattern: str, as_json: bool) -> None:
    """List the networks of the zoo whose name matches PATTERN (shell style, such as 'mobile*')."""
    from edgeconv.models import list_models, model_info

    cards = [model_info(name) for name in list_models(pattern)]
    if not cards:
        raise UsageError(f"no network matches {pattern!r}; `edgeconv models` lists them all")
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(card) for card in cards], indent=2))
    else:
        _print_table(cards)


def _print_table(cards: list[NetworkInfo]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("network", "input", box=None, pad_edge=False)
    for heading in ("parameters", "MACs", "receptive field"):
        table.add_column(heading, justify="right")
    table.add_column("published accuracy")
    table.add_column("paper")
    for card in cards:
        field = card.receptive_field
        table.add_row(
            card.name,
            "x".join(map(str, card.input_shape)),
            f"{card.parameters:,}",
            f"{card.macs / 1e6:,.1f} M",
            "-" if field is None else f"{field:,} px",
            "-" if card.accuracy is None else str(card.accuracy),
            card.paper,
        )
    Console().print(table)
