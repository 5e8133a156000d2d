"""``edgeconv cost``: parameters, multiply-accumulates, memory and receptive field."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from edgeconv.cli import values
from edgeconv.errors import CaptureError, UsageError
from edgeconv.report.tables import Column, console, table
from edgeconv.report.units import format_bytes, format_count, format_percent, significant

if TYPE_CHECKING:
    from edgeconv.models.conv_cost import ConvKind
    from edgeconv.models.cost import NetworkCost

SCHEMA_VERSION = 1

_OF_A_MODEL = ("model_args", "input_size", "precision", "no_layers")
_OF_CONV = ("groups", "dilation", "size")
_BYTES = {"float32": 4, "int8": 1}


@click.command("cost")
@click.argument("model", required=False)
@click.option(
    "--model-arg",
    "model_args",
    metavar="KEY=VALUE",
    type=values.key_value,
    multiple=True,
    help="Argument of the network's factory, as in width_mult=0.5. Repeatable.",
)
@click.option(
    "--input-size",
    metavar="SIZE",
    type=values.input_size,
    help="224, 192x160 (height x width) or 1x28x28 (channels first); 20x184 for networks that "
    "begin with a Conv1d. Any other input: its whole shape, batch first, with commas: 1,12,8.",
)
@click.option(
    "--precision",
    type=click.Choice(list(_BYTES)),
    default="float32",
    show_default=True,
    help="What weights and activations are stored in.",
)
@click.option("--no-layers", is_flag=True, help="The sums alone.")
@click.option(
    "--conv",
    metavar="IN,OUT,K",
    help="Compare the kinds of convolution; channels in and out, kernel side: 32,64,3.",
)
@click.option("--groups", type=click.IntRange(1), default=2, show_default=True, help="For --conv.")
@click.option(
    "--dilation", type=click.IntRange(1), default=2, show_default=True, help="For --conv."
)
@click.option("--size", type=click.IntRange(1), help="For --conv: side of the output, for MACs.")
@click.option("--json", "as_json", is_flag=True, help="Print versioned JSON instead of tables.")
@click.pass_context
def command(
    context: click.Context,
    model: str | None,
    model_args: tuple[tuple[str, str | int | float | bool], ...],
    input_size: tuple[int, ...] | None,
    precision: str,
    no_layers: bool,
    conv: str | None,
    groups: int,
    dilation: int,
    size: int | None,
    as_json: bool,
) -> None:
    """Show what MODEL costs by layer, or compare the kinds of convolution with --conv.

    MODEL is a zoo name, file.py:factory or package.module:factory.
    """
    if (model is None) == (conv is None):
        raise UsageError("name a MODEL, or pass --conv in,out,kernel such as --conv 32,64,3")
    _refuse_stray_options(context, _OF_A_MODEL if conv is not None else _OF_CONV)
    if conv is not None:
        kinds = _compare(conv, groups, dilation)
        _print_kinds_json(kinds, size) if as_json else _print_kinds(kinds, size)
        return
    assert model is not None
    cost = _cost(model, dict(model_args), input_size, _BYTES[precision])
    if as_json:
        click.echo(json.dumps(_plain(cost), indent=2))
        return
    if not no_layers:
        _print_layers(cost)
    _print_sums(cost)


def _refuse_stray_options(context: click.Context, stray: tuple[str, ...]) -> None:
    """Raise UsageError for an option given that the other mode alone reads."""
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is not ParameterSource.DEFAULT
        if parameter.name in stray and given:
            mode = "--conv" if stray is _OF_CONV else "a MODEL"
            raise UsageError(f"{parameter.opts[0]} applies to {mode}; leave it out")


def _compare(conv: str, groups: int, dilation: int) -> tuple[ConvKind, ...]:
    from edgeconv.models.conv_cost import compare_convolutions

    parts = conv.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"--conv {conv}: give channels in, channels out, kernel side: 32,64,3")
    c, m, k = (int(part) for part in parts)
    try:
        return compare_convolutions(c, m, k, groups=groups, dilation=dilation)
    except ValueError as error:
        raise UsageError(f"--conv: {error}") from error


def _cost(
    model: str,
    args: dict[str, str | int | float | bool],
    input_size: tuple[int, ...] | None,
    bytes_per_value: int,
) -> NetworkCost:
    from torch import nn

    from edgeconv.export.capture.source import input_shape, resolve
    from edgeconv.models.cost import network_cost
    from edgeconv.models.graph import TraceError

    source = resolve(model, args=args, input_size=input_size, weights=None)
    if not isinstance(source.network, nn.Module):
        raise UsageError(f"{model} is a file; `edgeconv inspect` shows what it costs")
    try:
        return network_cost(source.network, input_shape(source, input_size), bytes_per_value)
    except TraceError as error:
        raise CaptureError(str(error)) from error


def _print_kinds(kinds: tuple[ConvKind, ...], size: int | None) -> None:
    standard = kinds[0].parameters
    columns: list[Column | str] = ["convolution", "formula"]
    columns += [Column("parameters", numeric=True), Column("of standard", numeric=True)]
    columns += [Column("MACs", numeric=True)] if size else []
    columns += [Column("sees", numeric=True), "equals the standard one where"]
    rows = []
    for kind in kinds:
        macs = [f"{kind.macs(size**2):,}"] if size else []
        share = format_percent(kind.parameters / standard)
        counts = [f"{kind.parameters:,}", share, *macs, f"{kind.reach} px"]
        rows.append([kind.name, kind.formula, *counts, kind.condition])
    console().print(table(columns, rows))


def _print_kinds_json(kinds: tuple[ConvKind, ...], size: int | None) -> None:
    plain = [dataclasses.asdict(kind) for kind in kinds]
    if size:
        for entry, kind in zip(plain, kinds, strict=True):
            entry["macs"] = kind.macs(size**2)
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, "convolutions": plain}, indent=2))


def _print_layers(cost: NetworkCost) -> None:
    names = ("parameters", "MACs", "weights", "activations", "MACs/B", "field")
    numbers = [Column(name, numeric=True) for name in names]
    columns: list[Column | str] = ["layer", "operator", "output", *numbers]
    rows = [
        [
            layer.name or "(network)",
            layer.operator,
            "x".join(map(str, layer.output_shape)),
            f"{layer.parameters:,}",
            format_count(layer.macs),
            format_bytes(layer.weight_bytes),
            format_bytes(layer.activation_bytes),
            significant(layer.intensity, 2),
            "-" if layer.receptive_field is None else f"{layer.receptive_field} px",
        ]
        for layer in cost.layers
    ]
    out = console()
    out.print(table(columns, rows))
    out.print()


def _print_sums(cost: NetworkCost) -> None:
    field = cost.receptive_field
    rows = [
        ["parameters", f"{cost.parameters:,}"],
        ["MACs", f"{cost.macs:,}"],
        ["weights", format_bytes(cost.weight_bytes)],
        ["activations read and written", format_bytes(cost.activation_bytes)],
        ["most alive at one time", format_bytes(cost.peak_bytes)],
        ["arithmetic intensity", f"{significant(cost.intensity)} MACs a byte"],
        ["receptive field", "-" if field is None else f"{field} px"],
    ]
    savings = cost.separable_savings()
    if savings.replaced:
        parameters = savings.parameters_after / savings.parameters_before
        macs = savings.macs_after / savings.macs_before
        rows.append(
            [
                f"with depthwise separable for {savings.replaced} standard convolution"
                + ("" if savings.replaced == 1 else "s"),
                f"{savings.parameters_after:,} parameters ({format_percent(parameters)}), "
                f"{savings.macs_after:,} MACs ({format_percent(macs)})",
            ]
        )
    console().print(table(["", ""], rows, header=False))


def _plain(cost: NetworkCost) -> dict[str, object]:
    sums = ("parameters", "macs", "weight_bytes", "activation_bytes", "peak_bytes")
    layers = [dataclasses.asdict(layer) | {"intensity": layer.intensity} for layer in cost.layers]
    return {
        "schema_version": SCHEMA_VERSION,
        **{name: getattr(cost, name) for name in sums},
        "intensity": cost.intensity,
        "receptive_field": cost.receptive_field,
        "separable_savings": dataclasses.asdict(cost.separable_savings()),
        "layers": layers,
    }
