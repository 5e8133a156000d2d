"""``edgeconv cost``: parameters, multiply-accumulates, memory and receptive field."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from edgeconv.bundle import Precision
from edgeconv.cli.command_class import Command
from edgeconv.cli.completions import complete_model
from edgeconv.cli.next_command import model_words, suggest
from edgeconv.cli.settings import takes
from edgeconv.cli.shared_options import input_size_option, model_args_option, wide_option
from edgeconv.cli.values import EnumChoice, given_options, negated
from edgeconv.errors import CaptureError, UsageError
from edgeconv.model_args import ModelArg
from edgeconv.report.output import echo_json
from edgeconv.report.stacked import print_fitted
from edgeconv.report.tables import Column, console, table
from edgeconv.units import format_bytes, format_count, format_percent, significant

if TYPE_CHECKING:
    from edgeconv.models.conv_cost import ConvKind, FrequencyCost
    from edgeconv.models.cost import NetworkCost
    from edgeconv.report.network_documents import CostDocument


_OF_A_MODEL = ("model_args", "input_size", "precision", "layers")
_OF_CONV = ("groups", "dilation", "size")
_BYTES = {Precision.FLOAT32: 4, Precision.INT8: 1}


@dataclass(frozen=True)
class CostSettings:
    """What the command line asks of ``edgeconv cost``: a network, or a convolution.

    Attributes:
        model: The network; None for a convolution.
        model_args: Arguments of the network's factory.
        input_size: Size of its input, where the network leaves it open.
        precision: The precision of weights and activations.
        layers: Whether to show each layer.
        conv: Channels in and out and kernel side, with commas.
        groups: Groups of the grouped convolution; None for two, if that is possible.
        dilation: Dilation of the dilated convolution.
        size: Side of the convolution's output, for MACs.
        wide: Whether to show every column.
        as_json: Whether to print JSON.
    """

    model: str | None
    model_args: dict[str, ModelArg]
    input_size: tuple[int, ...] | None
    precision: Precision
    layers: bool
    conv: str | None
    groups: int | None
    dilation: int
    size: int | None
    wide: bool
    as_json: bool


@click.command(
    "cost",
    cls=Command,
    examples=(
        "edgeconv cost mobilenet_v2 --input-size 160",
        "edgeconv cost --conv 32,64,3",
    ),
)
@click.argument("model", required=False, shell_complete=complete_model)
@model_args_option
@input_size_option
@click.option(
    "--precision",
    type=EnumChoice(_BYTES),
    default=Precision.FLOAT32.value,
    show_default=True,
    help="The precision that weights and activations are stored in.",
)
@click.option("--no-layers", "layers", is_flag=True, callback=negated, help="Show only the sums.")
@click.option(
    "--conv",
    metavar="IN,OUT,K",
    help="Compare the kinds of convolution, by channels in and out and kernel side: 32,64,3.",
)
@click.option(
    "--groups",
    type=click.IntRange(1),
    help="Groups, for --conv.  [default: 2, where they divide the channels]",
)
@click.option(
    "--dilation", type=click.IntRange(1), default=2, show_default=True, help="Dilation, for --conv."
)
@click.option("--size", type=click.IntRange(1), help="Side of the output, for the MACs of --conv.")
@wide_option
@click.option("--json", "as_json", is_flag=True, help="Print versioned JSON instead of tables.")
@takes(CostSettings)
def command(settings: CostSettings) -> None:
    """Show what MODEL costs by layer, or compare the kinds of convolution with --conv.

    MODEL is a zoo name, file.py:factory or package.module:factory.
    """
    if (settings.model is None) == (settings.conv is None):
        raise UsageError(
            "cost takes either a MODEL or --conv",
            hint="name a MODEL, or pass --conv in,out,kernel such as --conv 32,64,3",
        )
    for option in given_options(_OF_CONV if settings.conv is None else _OF_A_MODEL):
        other = "--conv" if settings.conv is None else "a MODEL"
        raise UsageError(f"{option} applies to {other}", hint="leave it out")
    if settings.model is None:
        kinds = _compare(str(settings.conv), settings.groups, settings.dilation)
        frequency = _frequency(str(settings.conv), settings.size) if settings.size else None
        if settings.as_json:
            _print_kinds_json(kinds, settings.size, frequency)
        else:
            _print_kinds(kinds, settings.size, frequency, wide=settings.wide)
        return
    cost = _cost(settings.model, settings)
    if settings.as_json:
        echo_json(_document(cost))
        return
    if settings.layers:
        _print_layers(cost, wide=settings.wide)
    _print_sums(cost)
    if not given_options(("model_args", "input_size")):
        suggest("export", *model_words(settings.model))


def _compare(conv: str, groups: int | None, dilation: int) -> tuple[ConvKind, ...]:
    from edgeconv.models.conv_cost import compare_convolutions

    c, m, k = _sizes(conv)
    try:
        return compare_convolutions(c, m, k, groups=groups, dilation=dilation)
    except ValueError as error:
        raise UsageError(f"--conv: {error}") from error


def _frequency(conv: str, size: int) -> FrequencyCost:
    from edgeconv.models.conv_cost import frequency_cost

    return frequency_cost(*_sizes(conv), size)


def _sizes(conv: str) -> tuple[int, int, int]:
    """The channels in and out and the kernel side that ``--conv`` names."""
    parts = conv.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise UsageError(
            f"--conv {conv} is not three numbers",
            hint="give channels in, channels out, kernel side, such as 32,64,3",
        )
    c, m, k = (int(part) for part in parts)
    return c, m, k


def _cost(model: str, settings: CostSettings) -> NetworkCost:
    from torch import nn

    from edgeconv.export.capture.guess import input_shape
    from edgeconv.export.capture.resolve import resolve
    from edgeconv.models.cost import network_cost
    from edgeconv.models.graph import TraceError

    size = settings.input_size
    source = resolve(model, args=settings.model_args, input_size=size, weights=None)
    if not isinstance(source.network, nn.Module):
        raise UsageError(
            f"{model} is a file, not a PyTorch network",
            hint=f"run `edgeconv inspect {model}` for what it costs",
        )
    try:
        return network_cost(source.network, input_shape(source, size), _BYTES[settings.precision])
    except TraceError as error:
        raise CaptureError(str(error)) from error


def _print_kinds(
    kinds: tuple[ConvKind, ...], size: int | None, frequency: FrequencyCost | None, *, wide: bool
) -> None:
    standard = kinds[0].parameters
    columns = [Column("convolution"), Column("formula", spare=True)]
    columns += [Column("parameters", numeric=True), Column("of standard", numeric=True)]
    columns += [Column("MACs", numeric=True)] if size else []
    columns += [Column("sees", numeric=True), Column("when equal to standard", spare=True)]
    rows = []
    for kind in kinds:
        macs = [f"{kind.macs(size**2):,}"] if size else []
        share = format_percent(kind.parameters / standard)
        counts = [f"{kind.parameters:,}", share, *macs, f"{kind.reach} px"]
        rows.append([kind.name, kind.formula, *counts, kind.condition])
    print_fitted(columns, rows, wide=wide)
    out = console()
    if frequency is not None:
        out.print()
        for line in _frequency_lines(frequency, size):
            out.print(line)


def _frequency_lines(cost: FrequencyCost, size: int | None) -> tuple[str, str]:
    share = format_percent(cost.macs / cost.direct_macs)
    ranges = [
        f"from {first}x{first} on"
        if first == cost.fewer_from
        else f"of {first}x{first}" + (f" to {last}x{last}" if last > first else "")
        for first, last in cost.fewer_at
    ]
    where = f"kernels {' and '.join(ranges)}" if ranges else "no kernel that fits the map"
    return (
        f"in the frequency domain: {cost.macs:,} multiplications ({share} of standard)",
        f"at {size}x{size} fewer for {where}",
    )


def _print_kinds_json(
    kinds: tuple[ConvKind, ...], size: int | None, frequency: FrequencyCost | None
) -> None:
    from edgeconv.report.network_documents import ConvolutionsDocument

    plain = [dataclasses.asdict(kind) for kind in kinds]
    if size:
        for entry, kind in zip(plain, kinds, strict=True):
            entry["macs"] = kind.macs(size**2)
    fields = {
        "convolutions": plain,
        "frequency_domain": None if frequency is None else dataclasses.asdict(frequency),
    }
    echo_json(ConvolutionsDocument.model_validate(fields))


def _print_layers(cost: NetworkCost, *, wide: bool) -> None:
    names = ("parameters", "MACs", "weights", "activations", "MACs/B", "field")
    spare = ("activations", "MACs/B", "weights")
    numbers = [Column(name, numeric=True, spare=name in spare) for name in names]
    columns = [*map(Column, ("layer", "operator", "output")), *numbers]
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
    print_fitted(columns, rows, wide=wide)
    console().print()


def _print_sums(cost: NetworkCost) -> None:
    field = cost.receptive_field
    rows = [
        ["parameters", f"{cost.parameters:,}"],
        ["MACs", f"{cost.macs:,}"],
        ["weights", format_bytes(cost.weight_bytes)],
        ["activations read and written", format_bytes(cost.activation_bytes)],
        ["most alive at one time", format_bytes(cost.peak_bytes)],
        ["arithmetic intensity", f"{significant(cost.intensity)} MACs per byte"],
        ["receptive field", "-" if field is None else f"{field} px"],
    ]
    savings = cost.separable_savings()
    if savings.replaced:
        parameters = savings.parameters_after / savings.parameters_before
        macs = savings.macs_after / savings.macs_before
        several = "" if savings.replaced == 1 else "s"
        rows += [
            [
                f"with {savings.replaced} depthwise separable convolution{several}",
                f"{savings.parameters_after:,} parameters ({format_percent(parameters)})",
            ],
            ["in place of standard ones", f"{savings.macs_after:,} MACs ({format_percent(macs)})"],
        ]
    console().print(table(["", ""], rows, header=False))


def _document(cost: NetworkCost) -> CostDocument:
    from edgeconv.report.network_documents import CostDocument

    sums = ("parameters", "macs", "weight_bytes", "activation_bytes", "peak_bytes")
    layers = [dataclasses.asdict(layer) | {"intensity": layer.intensity} for layer in cost.layers]
    fields = {
        **{name: getattr(cost, name) for name in sums},
        "intensity": cost.intensity,
        "receptive_field": cost.receptive_field,
        "separable_savings": dataclasses.asdict(cost.separable_savings()),
        "layers": layers,
    }
    return CostDocument.model_validate(fields)
