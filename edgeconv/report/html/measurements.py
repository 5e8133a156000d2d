"""What the page says of results: latencies, counts, accuracies, operators and blame."""

from __future__ import annotations

from edgeconv.bench.end_to_end import EndToEndResult
from edgeconv.bench.instructions import CountResult
from edgeconv.bench.profile.profile import OperatorResult
from edgeconv.bench.result import BenchResult
from edgeconv.bench.sustained import SustainedResult
from edgeconv.bench.together import TogetherResult
from edgeconv.evaluation import Evaluation
from edgeconv.export.blame.report import Blame
from edgeconv.report.accuracy import accuracy_cells
from edgeconv.report.accuracy import notes as accuracy_notes
from edgeconv.report.end_to_end import end_to_end_cells
from edgeconv.report.end_to_end import notes as end_to_end_notes
from edgeconv.report.html.charts import latency_dots
from edgeconv.report.html.classes import class_blocks
from edgeconv.report.html.page import Bar, Block, Cell, Section, html_table
from edgeconv.report.html.roofline import roofline_chart
from edgeconv.report.in_float import by_reason
from edgeconv.report.instructions import counts_cells
from edgeconv.report.instructions import notes as count_notes
from edgeconv.report.latency import cost_cells, latency_cells
from edgeconv.report.latency import notes as latency_notes
from edgeconv.report.operators import notes as operator_notes
from edgeconv.report.sustained import notes as sustained_notes
from edgeconv.report.sustained import sustained_cells
from edgeconv.report.tables import Column
from edgeconv.report.together import notes as together_notes
from edgeconv.report.together import together_cells
from edgeconv.units import format_duration, format_percent, format_samples


def latency_section(result: BenchResult) -> Section:
    """The figures of each file, and every inference of every process."""
    samples = {model.label: [run.samples_ns for run in model.processes] for model in result.models}
    machine = result.machine
    return Section(
        f"Latency on {result.device}",
        facts=(
            ("measured", f"{result.started:%Y-%m-%d %H:%M} UTC"),
            ("measured by", f"edgeconv {result.edgeconv_version}"),
            ("machine", " ".join(filter(None, (machine.board, machine.cpu, machine.architecture)))),
            ("threads", ", ".join(map(str, result.options.sweep))),
        ),
        blocks=(
            html_table("Latency of one inference", *latency_cells(result)),
            latency_dots("All inferences", samples),
            html_table("What runs the files, and what else they cost", *cost_cells(result)),
        ),
        notes=tuple(latency_notes(result)),
    )


def count_section(result: CountResult) -> Section:
    """The instructions of each file."""
    cells = counts_cells(result)
    return Section(
        f"Instructions on an emulated {result.board} ({result.cpu})",
        blocks=(html_table("Instructions of one inference", *cells),),
        notes=tuple(count_notes(result)),
    )


def accuracy_section(result: Evaluation) -> Section:
    """The accuracy of each file, the classes that are confused, and the samples that changed."""
    blocks, notes = class_blocks(result)
    return Section(
        f"Accuracy on {format_samples(result.samples)} of {result.data}",
        blocks=(html_table("Accuracy", *accuracy_cells(result)), *blocks),
        notes=(*accuracy_notes(result), *notes),
    )


def operator_section(result: OperatorResult) -> Section:
    """The time of every operator, the share of the board's limit that it reaches, the roofline."""
    blocks: list[Block] = []
    for model in result.models:
        most = max((operator.ns for operator in model.operators), default=0) or 1
        has_roofs = any(operator.roof for operator in model.operators)
        columns = [Column("operator"), Column("name"), Column("time", numeric=True)]
        columns += [Column("of the board's limit", numeric=True)] if has_roofs else []
        rows: list[list[Cell]] = []
        for operator in model.operators:
            row: list[Cell] = [
                operator.operator,
                operator.name,
                Bar(format_duration(operator.ns / 1e9), operator.ns / most),
            ]
            if has_roofs:
                share = operator.share_of_roof
                row.append("" if share is None else Bar(format_percent(share), share))
            rows.append(row)
        blocks.append(html_table(model.file.name, columns, rows))
        blocks += filter(None, [roofline_chart(model)])
    return Section(
        f"Operators on {result.device}",
        blocks=tuple(blocks),
        notes=tuple(operator_notes(result)),
    )


def sustained_section(result: SustainedResult) -> Section:
    """The throughput of each file over a long time, second by second."""
    title = f"Throughput over {result.seconds:g} s"
    return Section(
        f"Sustained load on {result.device}",
        blocks=(html_table(title, *sustained_cells(result)),),
        notes=tuple(sustained_notes(result)),
    )


def together_section(result: TogetherResult) -> Section:
    """What the files cost each other while they run at the same time."""
    return Section(
        f"Several models at once on {result.device}",
        blocks=(html_table("Alone and beside the others", *together_cells(result)),),
        notes=tuple(together_notes(result)),
    )


def end_to_end_section(result: EndToEndResult) -> Section:
    """The files from a camera's frame to the decoded answer."""
    return Section(
        f"From frame to answer on {result.device}",
        blocks=(html_table("Steps", *end_to_end_cells(result)),),
        notes=tuple(end_to_end_notes(result)),
    )


def blame_section(found: Blame) -> Section:
    """The layers that lose most, worst first."""
    columns = [
        Column("layer"),
        Column("operator"),
        Column("share of the noise", numeric=True),
        Column("SQNR, only this in int8", numeric=True),
        Column("SQNR in place", numeric=True),
        Column("reason"),
    ]
    rows: list[list[Cell]] = [
        [
            layer.name,
            layer.operator,
            Bar(format_percent(layer.share), layer.share),
            f"{layer.alone_db:.1f} dB",
            f"{layer.in_place_db:.1f} dB",
            layer.reason,
        ]
        for layer in found.layers
    ]
    return Section(
        f"Where {found.model} loses accuracy in int8",
        facts=(
            ("data", f"{format_samples(found.samples)} of {found.data}"),
            ("all layers in int8", f"SQNR {found.sqnr_db:.1f} dB"),
        ),
        blocks=(html_table("Layers, worst first", columns, rows),),
        notes=tuple(
            f"in float: {names}: {reason}" for names, reason in by_reason(found.float_fallback)
        ),
    )
