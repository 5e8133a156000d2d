"""``edgeconv inspect``: what is inside a model file, or inside every file of a bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.bundle import Bundle
from edgeconv.cli import kept
from edgeconv.cli.command_class import Command
from edgeconv.cli.next_command import suggest
from edgeconv.cli.outputs import refuse_unwritable
from edgeconv.cli.settings import takes
from edgeconv.errors import UsageError
from edgeconv.report.output import echo_json, echo_sentence
from edgeconv.report.stacked import print_facts, stacked
from edgeconv.report.tables import WIDTH, Column, cell_text, console
from edgeconv.units import format_bytes, format_count

if TYPE_CHECKING:
    from edgeconv.export.inspect.report import BundleReport, FileReport, TensorReport


# The figures of a bundle's files, in tables of some columns each.
_BLOCKS = (
    ("size", "weights", "MACs", "peak activations", "operators"),
    ("format", "lowest runtime"),
    ("quantization", "quantized weights", "quantize, dequantize"),
    ("parameters",),
    ("left in float",),
)


@dataclass(frozen=True)
class InspectSettings:
    """What the command line asks of ``edgeconv inspect``.

    Attributes:
        path: A model file, or a bundle.
        as_json: Whether to print JSON.
        svg: Where a drawing of the graph goes.
        html: Where a page with the drawing goes.
    """

    path: Path
    as_json: bool
    svg: Path | None
    html: Path | None


@click.command(
    "inspect",
    cls=Command,
    examples=(
        "edgeconv inspect model.tflite",
        "edgeconv inspect model.onnx --svg graph.svg",
    ),
)
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE|BUNDLE")
@click.option("--json", "as_json", is_flag=True, help="Print versioned JSON.")
@click.option("--svg", type=click.Path(path_type=Path), help="Draw the graph of FILE here.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page with the drawing.")
@takes(InspectSettings)
def command(settings: InspectSettings) -> None:
    """Show what is inside an ONNX or TFLite file.

    Operators and their versions, parameters, MACs, memory, quantization, and the lowest runtime
    release that loads the file. For a bundle: all of its files side by side.
    """
    from edgeconv.export.inspect import FileReport, inspect_file

    refuse_unwritable(settings.svg)
    refuse_unwritable(settings.html)
    report: FileReport | BundleReport
    if settings.path.is_dir():
        if settings.svg or settings.html:
            raise UsageError(
                f"{settings.path} has several graphs", hint="name one of its files to draw it"
            )
        report = _inspect_bundle(settings.path)
    else:
        report = inspect_file(settings.path)
        _draw(settings)
    if settings.as_json:
        echo_json(report)
        return
    if isinstance(report, FileReport):
        _print_file(report)
    else:
        _print_bundle(report)
    suggest("bench", settings.path)


def _draw(settings: InspectSettings) -> None:
    if settings.svg is None and settings.html is None:
        return
    from edgeconv.export.inspect.drawn import drawn_nodes
    from edgeconv.report.graph_drawing import graph_page, graph_svg
    from edgeconv.whole_file import write_whole

    nodes, title = drawn_nodes(settings.path), settings.path.name
    if settings.svg is not None:
        write_whole(settings.svg, graph_svg(nodes, title))
        kept.made(settings.svg)
    if settings.html is not None:
        write_whole(settings.html, graph_page(nodes, title))
        kept.made(settings.html)


def _inspect_bundle(path: Path) -> BundleReport:
    from edgeconv.export.inspect import inspect_file
    from edgeconv.export.inspect.report import BundleReport

    bundle = Bundle.load(path)
    files = tuple(inspect_file(bundle.file(artifact)) for artifact in bundle.manifest.artifacts)
    return BundleReport(path=str(path), model=bundle.manifest.model, files=files)


def _print_file(report: FileReport) -> None:
    out = console()
    out.print(report.path, style="bold")
    print_facts(_figures(report))
    out.print()
    borders = [_border("input", tensor) for tensor in report.inputs]
    borders += [_border("output", tensor) for tensor in report.outputs]
    columns = [Column("name"), *map(Column, ("", "shape", "dtype"))]
    out.print(stacked([*columns, *_numeric("scale", "zero point")], borders))
    out.print()
    rows = [
        [
            f"{operator.domain}::{operator.name}" if operator.domain else operator.name,
            str(operator.version),
            str(operator.count),
            _unless_unknown(operator.macs, format_count),
        ]
        for operator in report.operators
    ]
    out.print(stacked([Column("operator"), *_numeric("version", "count", "MACs")], rows))
    for note in report.notes:
        echo_sentence(f"Note: {note}.")


def _numeric(*names: str) -> list[Column]:
    return [Column(name, numeric=True) for name in names]


def _print_bundle(report: BundleReport) -> None:
    out = console()
    out.print(f"{report.path}: {report.model}", style="bold")
    figures = {Path(file.path).name: dict(_figures(file)) for file in report.files}
    for names in _BLOCKS:
        columns = [Column("file"), *(Column(name, numeric=True) for name in names)]
        rows = [[file, *map(found.__getitem__, names)] for file, found in figures.items()]
        out.print(stacked(columns, rows))
        out.print()
    for file in report.files:
        for note in file.notes:
            echo_sentence(f"Note on {Path(file.path).name}: {note}.")


def _figures(report: FileReport) -> list[tuple[str, str]]:
    quantization = report.quantization
    weights = [
        f"{count} {name}"
        for name, count in (
            ("per channel", quantization.per_channel_weights),
            ("per tensor", quantization.per_tensor_weights),
        )
        if count
    ]
    floats = [f"{count} {name}" for name, count in quantization.float_operators.items()]
    return [
        ("format", _format(report)),
        ("producer", report.producer or "not stated"),
        ("size", format_bytes(report.bytes)),
        ("weights", format_bytes(report.weight_bytes)),
        ("parameters", _parameters(report)),
        ("MACs", _unless_unknown(report.macs, format_count)),
        ("peak activations", _unless_unknown(report.peak_activation_bytes, format_bytes)),
        ("operators", str(sum(operator.count for operator in report.operators))),
        ("quantization", " of ".join([quantization.kind.value, *quantization.activations][:2])),
        ("quantized weights", ", ".join(weights) or "none"),
        ("quantize, dequantize", f"{quantization.quantize}, {quantization.dequantize}"),
        ("left in float", ", ".join(floats) or "none"),
        ("lowest runtime", report.lowest_runtime),
    ]


def _format(report: FileReport) -> str:
    if report.opset is None:
        return "TFLite"
    return f"ONNX, opset {report.opset}, IR version {report.ir_version}"


def _parameters(report: FileReport) -> str:
    dtypes = ", ".join(
        f"{format_count(count)} {dtype}" for dtype, count in report.parameter_dtypes.items()
    )
    return f"{report.parameters:,} ({dtypes})" if dtypes else "0"


def _border(role: str, tensor: TensorReport) -> list[str]:
    return [
        tensor.name,
        role,
        _shape_text(tensor.shape),
        tensor.dtype,
        "" if tensor.scale is None else f"{tensor.scale:.6g}",
        "" if tensor.zero_point is None else str(tensor.zero_point),
    ]


def _shape_text(shape: Sequence[int | str]) -> str:
    """A shape in at most as many columns as a table has beside a margin.

    The names of open dimensions stand apart, because an x may be part of them.
    """
    if all(isinstance(size, int) for size in shape):
        return "x".join(map(str, shape)) or "scalar"
    gap = " x "
    widest = max(3, (WIDTH - 10) // len(shape) - len(gap))
    return gap.join(cell_text(str(size), widest) for size in shape)


def _unless_unknown(number: int | None, write: Callable[[int], str]) -> str:
    return "unknown" if number is None else write(number)
