"""Which file is the best at which cost: accuracy against latency and size, over all bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgeconv.bench.compare.accuracy import format_figure
from edgeconv.bench.instructions import CountResult
from edgeconv.bench.result import BenchResult
from edgeconv.bundle import Artifact, Bundle, Precision
from edgeconv.evaluation import SHARE, Evaluation
from edgeconv.report.html.charts import Point, front
from edgeconv.report.html.page import Section, html_table
from edgeconv.report.tables import Column
from edgeconv.units import format_bytes, format_count, format_duration


@dataclass(frozen=True)
class _Axis:
    """A figure of files: its name, its values by the file's key, and how a value is written."""

    name: str
    values: Mapping[str, float]
    written: Mapping[str, str]


def front_section(
    bundles: Sequence[Bundle],
    evaluations: Sequence[Evaluation],
    latencies: Sequence[BenchResult],
    counts: Sequence[CountResult],
) -> Section | None:
    """Compare the files of all bundles; None if fewer than two have an accuracy.

    The cost is the measured latency where there is one for every file that was measured, or else
    the counted instructions, or else the size of the file. Files are recognized by their hashes.
    """
    files = [(bundle, artifact) for bundle in bundles for artifact in bundle.manifest.artifacts]
    accuracy = _accuracy(files, evaluations)
    cost = _cost(files, latencies, counts)
    shown = {
        artifact.sha256: (bundle, artifact)
        for bundle, artifact in files
        if artifact.sha256 in accuracy.values and artifact.sha256 in cost.values
    }
    if len(shown) < 2:
        return None
    several, is_ratio = len(bundles) > 1, accuracy.name.startswith("SQNR")
    points = _marked(
        [
            Point(
                _name(bundle, artifact, several=several),
                cost.values[key],
                accuracy.values[key],
                artifact.bytes,
                on_front=False,
            )
            for key, (bundle, artifact) in shown.items()
        ]
    )
    columns = [
        Column("file"),
        Column(accuracy.name, numeric=True),
        Column(cost.name, numeric=True),
        Column("size", numeric=True),
        Column("on the front"),
    ]
    rows = [
        [
            point.name,
            accuracy.written[key],
            cost.written[key],
            format_bytes(point.bytes),
            "yes" if point.on_front else "",
        ]
        for key, point in zip(shown, points, strict=True)
    ]
    title = f"{accuracy.name} against {cost.name}; larger dots are larger files"
    return Section(
        "Accuracy against cost",
        blocks=(
            front(title, points, cost.name, accuracy.name),
            html_table("All files", columns, rows),
        ),
        notes=(
            "a file is on the front if no other is both cheaper and at least as accurate",
            *(["each SQNR is against the file's own network"] if several and is_ratio else []),
        ),
    )


def _accuracy(files: Sequence[tuple[Bundle, Artifact]], evaluations: Sequence[Evaluation]) -> _Axis:
    """The first figure of the task where all data is the same, else the SQNR against float."""
    found = {(r.path, r.bytes): r.decisive for e in evaluations for r in e.results}
    figures = {
        artifact.sha256: found[artifact.path, artifact.bytes]
        for _, artifact in files
        if (artifact.path, artifact.bytes) in found
    }
    same = len({(e.data_sha256, e.results[0].decisive.name) for e in evaluations}) == 1
    # The front takes the upper left: an error, of which less is better, has no place there.
    if same and figures and all(figure.better == "higher" for figure in figures.values()):
        (name, unit) = next((figure.name, figure.unit) for figure in figures.values())
        share = unit == SHARE
        return _Axis(
            f"{name} (%)" if share else f"{name} ({unit})" if unit else name,
            {key: (100 if share else 1) * figure.value for key, figure in figures.items()},
            {key: format_figure(figure) for key, figure in figures.items()},
        )
    decibels = {
        artifact.sha256: artifact.verification.sqnr_db
        for _, artifact in files
        # A float32 file keeps everything: its ratio is that of rounding, far above all others.
        if artifact.verification is not None and artifact.precision is not Precision.FLOAT32
    }
    return _Axis("SQNR (dB)", decibels, {key: f"{value:.1f}" for key, value in decibels.items()})


def _cost(
    files: Sequence[tuple[Bundle, Artifact]],
    latencies: Sequence[BenchResult],
    counts: Sequence[CountResult],
) -> _Axis:
    if latencies:
        medians = {
            model.file.sha256: model.summary.median.value / 1e9
            for result in latencies
            for model in result.models
        }
        written = {key: format_duration(value) for key, value in medians.items()}
        return _Axis("latency (ms)", {key: 1e3 * value for key, value in medians.items()}, written)
    if counts:
        totals = {m.file.sha256: m.counts.total for result in counts for m in result.models}
        written = {key: format_count(value) for key, value in totals.items()}
        millions = {key: value / 1e6 for key, value in totals.items()}
        return _Axis("instructions (M)", millions, written)
    sizes = {artifact.sha256: artifact.bytes for _, artifact in files}
    written = {key: format_bytes(value) for key, value in sizes.items()}
    return _Axis("size (MB)", {key: value / 1e6 for key, value in sizes.items()}, written)


def _marked(points: Sequence[Point]) -> list[Point]:
    """The points, with those marked that no other beats in both."""
    return [
        replace(
            point,
            on_front=not any(
                (other.cost < point.cost and other.accuracy >= point.accuracy)
                or (other.cost <= point.cost and other.accuracy > point.accuracy)
                for other in points
            ),
        )
        for point in points
    ]


def _name(bundle: Bundle, artifact: Artifact, *, several: bool) -> str:
    return f"{bundle.path.name}/{artifact.path}" if several else artifact.path
