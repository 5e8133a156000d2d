"""Print the layers that lose accuracy in 8 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeconv.bench.compare.accuracy import format_figure
from edgeconv.evaluation import SHARE
from edgeconv.metrics import EQUAL_DB
from edgeconv.report.in_float import by_reason
from edgeconv.report.stacked import print_facts, print_fitted
from edgeconv.report.tables import Column, console
from edgeconv.units import format_percent, format_samples, significant

if TYPE_CHECKING:
    from edgeconv.evaluation import Figure
    from edgeconv.export.blame.report import Blame, LayerBlame, Span

_BAR = 20  # characters
# A file whose SQNR differs by more was not quantized in the same way.
_SAME_DB = 1.0


def print_blame(found: Blame, limit: int | None = None, *, wide: bool = False) -> None:
    """Print the worst ``limit`` layers, or all; with every column if ``wide``."""
    out = console()
    out.print(
        f"{found.model}: int8 keeps {_decibels(found.sqnr_db)} at the output, over "
        f"{format_samples(found.samples)} of {found.data} (ranges: {found.method} of "
        f"{found.calibration_samples})"
    )
    if found.task is not None:
        before, after = found.task.float_network, found.task.int8_network
        out.print(
            f"{before.name} on {before.samples} labeled {before.of}: {format_figure(before)} in "
            f"float, {format_figure(after)} with all layers in int8"
        )
    shown = found.layers[:limit]
    worst = max(layer.share for layer in found.layers)
    columns = list(_COLUMNS)
    rows = [_row(layer, worst) for layer in shown]
    if found.task is not None:
        figure = found.task.float_network
        columns.insert(2, Column(f"{figure.name} lost", numeric=True))
        for layer, row in zip(shown, rows, strict=True):
            row.insert(2, _lost(layer, figure))
    print_fitted(columns, rows, wide=wide)
    out.print()
    print_facts(((layer.name, layer.reason) for layer in shown), separator=": ")
    if len(shown) < len(found.layers):
        rest = sum(layer.share for layer in found.layers[len(shown) :])
        out.print(
            f"{len(found.layers) - len(shown)} more layers make {format_percent(rest)} of the noise"
        )
    out.print()
    print_facts(_WORDS, separator=": ")
    in_float = (f"{names}: {reason}" for names, reason in by_reason(found.float_fallback))
    print_facts((("in float", line) for line in in_float), separator=": ")
    file_db = found.file_sqnr_db
    if file_db is not None and abs(file_db - found.sqnr_db) > _SAME_DB:
        out.print(
            f"The bundle's int8 file has {_decibels(file_db)} on these samples: it was quantized "
            "on other samples, with other options, or with what `blame` leaves out: bias "
            "correction, layer reconstruction and repair."
        )


_WORDS = (
    ("alone", "SQNR of the network's output with this layer in int8 and all others in float"),
    ("noise", "its share in the sum over the layers"),
    (
        "in place",
        "SQNR of the layer's own output with all layers in int8; ↑ most of that noise comes from "
        "layers before it",
    ),
)
_COLUMNS = (
    Column("layer"),
    Column("operator"),
    Column("alone", numeric=True),
    Column("noise", numeric=True),
    Column("", spare=True),
    Column("in place", numeric=True),
    Column("input", numeric=True, spare=True),
    Column("output", numeric=True, spare=True),
)


def _row(layer: LayerBlame, worst: float) -> list[str]:
    return [
        layer.name,
        layer.operator,
        _decibels(layer.alone_db),
        format_percent(layer.share),
        "█" * round(_BAR * layer.share / worst),
        f"{_decibels(layer.in_place_db)} {'↑' if layer.inherited else ' '}",
        ", ".join(_interval(span) for span in layer.inputs),
        _interval(layer.output),
    ]


def _lost(layer: LayerBlame, figure: Figure) -> str:
    """What the layer costs in the figure of the task, such as "1.20 points"."""
    value = layer.task_loss or 0.0
    return f"{100 * value:.2f} points" if figure.unit == SHARE else f"{value:.3g}"


def _decibels(value: float) -> str:
    return "equal" if value >= EQUAL_DB else f"{significant(value)} dB"


def _interval(span: Span) -> str:
    return f"[{_bound(span.low)}, {_bound(span.high)}]"


def _bound(value: float) -> str:
    return f"{value:.3g}" if value else "0"
