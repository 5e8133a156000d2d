"""What the page says of a bundle: its files, its network layer by layer, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeconv.bundle import OPEN, RANGES_NAME, Artifact, Bundle, Format, Precision, TensorInfo
from edgeconv.calibrated_ranges import CalibratedRanges
from edgeconv.export.inspect.layers import Layer, onnx_layers
from edgeconv.preprocessing import Preprocessing
from edgeconv.report.bundle import accuracy_cells, certainty_lines, file_cells, float_lines
from edgeconv.report.html.page import Bar, Block, Cell, HtmlTable, Section, html_table
from edgeconv.report.html.ranges import range_charts
from edgeconv.report.tables import Column
from edgeconv.units import format_count, format_duration, format_samples, significant


@dataclass(frozen=True)
class LayerFigures:
    """What was measured of the nodes of a network, by the node's name.

    Attributes:
        nanoseconds: The time of each node in each file that was measured.
        int8_db: SQNR of the network's output with only this node in 8 bits.
    """

    nanoseconds: Mapping[str, Mapping[str, float]]
    int8_db: Mapping[str, float]


def bundle_section(bundle: Bundle, measured: LayerFigures) -> Section:
    """What was exported, its files and its layers."""
    manifest = bundle.manifest
    blocks: list[Block] = [
        html_table("What the files keep of the network", *accuracy_cells(manifest.artifacts)),
        html_table("The files", *file_cells(manifest.artifacts)),
    ]
    plain = _plainest_onnx(manifest.artifacts)
    if plain is not None:
        blocks.append(_layer_table(plain, onnx_layers(bundle.file(plain)), measured))
    ranges = bundle.path / RANGES_NAME
    if ranges.is_file():
        blocks += range_charts(CalibratedRanges.load(ranges))
    notes = [*float_lines(manifest.artifacts), *_missing(bundle, measured)]
    if manifest.calibration is not None:
        notes = [*certainty_lines(manifest.calibration, manifest.artifacts), *notes]
    return Section(
        f"{manifest.model} in {bundle.path}", tuple(_facts(bundle)), tuple(blocks), tuple(notes)
    )


def _missing(bundle: Bundle, measured: LayerFigures) -> list[str]:
    """What the page would show besides, and does not know."""
    notes = []
    if not measured.nanoseconds:
        notes.append("no times of layers: name a result of `bench --operators`, too")
    else:
        notes.append("an operator that a runtime fused with others or renamed has no time")
    if any(artifact.precision.calibrated for artifact in bundle.manifest.artifacts):
        if not measured.int8_db:
            notes.append("no int8 errors of layers: name a result of `blame --json`, too")
        if not (bundle.path / RANGES_NAME).is_file():
            notes.append("the bundle does not have what calibration saw of each activation")
    return notes


def _facts(bundle: Bundle) -> list[tuple[str, str]]:
    manifest = bundle.manifest
    arguments = ", ".join(f"{key}={value}" for key, value in manifest.model_args.items())
    facts = [("network", f"{manifest.model}({arguments})" if arguments else manifest.model)]
    facts += [("input", _tensor(info)) for info in manifest.inputs]
    facts += [("output", _tensor(info)) for info in manifest.outputs]
    if manifest.labels:
        more = ", …" if len(manifest.labels) > 3 else ""
        facts.append(("labels", f"{len(manifest.labels)}: {', '.join(manifest.labels[:3])}{more}"))
    if manifest.preprocessing is not None:
        facts.append(("preprocessing", _preprocessing(manifest.preprocessing)))
    if manifest.calibration is not None:
        found = manifest.calibration
        source = "synthetic inputs" if found.synthetic else found.source
        facts.append(
            ("calibration", f"{format_samples(found.samples)} of {source}, {found.method} ranges")
        )
    if manifest.target is not None:
        facts.append(("made for", f"{manifest.target.device} ({manifest.target.architecture})"))
    facts.append(("weights", f"SHA-256 {manifest.weights_sha256[:16]}…"))
    tools = ", ".join(f"{name} {version}" for name, version in manifest.tools.items())
    facts.append(("made by", f"edgeconv {manifest.edgeconv_version} with {tools}"))
    return facts


def _tensor(info: TensorInfo) -> str:
    sizes = ("?" if size == OPEN else str(size) for size in info.shape)
    return f"{info.name}: {'×'.join(sizes)} {info.dtype}"


def _preprocessing(how: Preprocessing) -> str:
    stated = how.model_dump(mode="json", exclude_defaults=True, exclude={"assumed", "inside"})
    words = ", ".join(f"{name} {_value(value)}" for name, value in stated.items()) or "none"
    if how.inside:
        words += ", inside the files, which take bytes"
    return f"{words} (assumed, not stated)" if how.assumed else words


def _value(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(_value, value))
    return significant(value) if isinstance(value, float) else str(value)


def _plainest_onnx(artifacts: Sequence[Artifact]) -> Artifact | None:
    """The ONNX file in which a node is what it is in the network: float32 before all others."""
    files = [artifact for artifact in artifacts if artifact.format is Format.ONNX]
    return min(files, key=lambda a: list(Precision).index(a.precision), default=None)


def _layer_table(artifact: Artifact, layers: Sequence[Layer], measured: LayerFigures) -> HtmlTable:
    """One row for each operator with weights or a time, with bars for what it takes."""
    names, decibels = {each.name for each in layers}, measured.int8_db
    times = {file: ns for file, ns in measured.nanoseconds.items() if names & ns.keys()}
    timed = {name for ns in times.values() for name in ns}
    shown = [each for each in layers if each.parameters or each.macs or each.name in timed]
    columns = [
        Column("layer"),
        Column("operator"),
        Column("output"),
        Column("parameters", numeric=True),
        Column("MACs", numeric=True),
        *(Column(f"time in {file}", numeric=True) for file in times),
        *([Column("SQNR, only this in int8", numeric=True)] if decibels else []),
    ]
    most = {
        "parameters": max((each.parameters for each in shown), default=0),
        "macs": max((each.macs or 0 for each in shown), default=0),
        "ns": max((ns.get(each.name, 0) for ns in times.values() for each in shown), default=0),
    }
    rows: list[list[Cell]] = []
    for each in shown:
        row: list[Cell] = [
            each.name,
            each.operator,
            "?" if each.shape is None else "×".join(map(str, each.shape)),
            Bar(format_count(each.parameters), _share(each.parameters, most["parameters"])),
            "?"
            if each.macs is None
            else Bar(format_count(each.macs), _share(each.macs, most["macs"])),
        ]
        for found in times.values():
            ns = found.get(each.name)
            row.append("" if ns is None else Bar(format_duration(ns / 1e9), _share(ns, most["ns"])))
        if decibels:
            kept = decibels.get(each.name)
            # The noise that it adds, on a scale of amplitude: 0 dB fills the cell.
            row.append("" if kept is None else Bar(f"{kept:.1f} dB", 10 ** (-kept / 20)))
        rows.append(row)
    title = f"The network layer by layer, from {artifact.path} ({len(rows)} operators)"
    return html_table(title, columns, rows)


def _share(value: float, most: float) -> float:
    return value / most if most else 0.0
