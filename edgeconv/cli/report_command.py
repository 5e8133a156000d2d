"""``edgeconv report``: one HTML page about bundles and results."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv import __version__
from edgeconv.bundle import MANIFEST_NAME, Bundle
from edgeconv.cli.outputs import refuse_unwritable
from edgeconv.cli.settings import takes
from edgeconv.errors import UsageError

if TYPE_CHECKING:
    from edgeconv.report.html.bundles import LayerFigures
    from edgeconv.report.html.page import Section
    from edgeconv.versioned import Versioned


@dataclass(frozen=True)
class ReportSettings:
    """What the page is about, and where it goes."""

    paths: tuple[Path, ...]
    out: Path
    title: str | None


@click.command("report")
@click.argument(
    "paths",
    type=click.Path(path_type=Path),
    nargs=-1,
    required=True,
    metavar="BUNDLE|RESULT...",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The page.",
)
@click.option("--title", help="Its title.  [default: the network]")
@takes(ReportSettings)
def command(settings: ReportSettings) -> None:
    """Write one HTML page about bundles and results, which needs nothing else to be read.

    RESULT is a file that `bench`, `evaluate` or `blame` wrote with --out (`blame --json`). Bundles
    and the results of their files are brought together: layers get their times and their int8
    errors, and files are drawn by accuracy and latency.
    """
    from edgeconv.report.html.page import render
    from edgeconv.report.output import echo_line

    refuse_unwritable(settings.out)
    subject = _read(settings.paths)
    title = settings.title or _title(subject)
    page = render(title, _sections(subject), f"edgeconv {__version__}")
    settings.out.write_text(page, "utf-8")
    echo_line(f"wrote {settings.out}")


@dataclass
class _Subject:
    """What the paths hold."""

    bundles: list[Bundle] = field(default_factory=list)
    results: list[Versioned] = field(default_factory=list)


def _read_result(path: Path) -> Versioned:
    """Read a result of any kind, those that are never compared included."""
    from edgeconv.bench.profile.profile import OperatorResult
    from edgeconv.bench.result_selector import read_result
    from edgeconv.bench.sustained import SustainedResult
    from edgeconv.bench.together import TogetherResult
    from edgeconv.export.blame.report import Blame
    from edgeconv.versioned import Head

    kinds: dict[str, type[Versioned]] = {
        "operators": OperatorResult,
        "sustained": SustainedResult,
        "together": TogetherResult,
        "blame": Blame,
    }
    try:
        kind = Head.model_validate_json(path.read_bytes()).kind
    except (OSError, ValueError):
        kind = None
    return kinds[kind].load(path) if kind in kinds else read_result(path)


def _read(paths: tuple[Path, ...]) -> _Subject:
    """Read bundles and results of every kind.

    Raises:
        UsageError: A path holds neither.
    """
    subject = _Subject()
    for path in paths:
        if (path / MANIFEST_NAME).is_file():
            subject.bundles.append(Bundle.load(path))
        elif path.is_file():
            subject.results.append(_read_result(path))
        else:
            raise UsageError(
                f"{path} is neither a bundle nor a result",
                hint="name a folder of `edgeconv export`, or a file of --out",
            )
    return subject


def _sections(subject: _Subject) -> list[Section]:
    from edgeconv.bench.instructions import CountResult
    from edgeconv.bench.profile.profile import OperatorResult
    from edgeconv.bench.result import BenchResult
    from edgeconv.bench.sustained import SustainedResult
    from edgeconv.bench.together import TogetherResult
    from edgeconv.evaluation import Evaluation
    from edgeconv.export.blame.report import Blame
    from edgeconv.report.html import measurements
    from edgeconv.report.html.bundles import bundle_section
    from edgeconv.report.html.front import front_section

    results = subject.results
    compared = front_section(
        subject.bundles,
        [r for r in results if isinstance(r, Evaluation)],
        [r for r in results if isinstance(r, BenchResult)],
        [r for r in results if isinstance(r, CountResult)],
    )
    sections = [] if compared is None else [compared]
    sections += [bundle_section(bundle, _layers(bundle, results)) for bundle in subject.bundles]
    for result in results:
        match result:
            case BenchResult():
                sections.append(measurements.latency_section(result))
            case CountResult():
                sections.append(measurements.count_section(result))
            case Evaluation():
                sections.append(measurements.accuracy_section(result))
            case OperatorResult():
                sections.append(measurements.operator_section(result))
            case SustainedResult():
                sections.append(measurements.sustained_section(result))
            case TogetherResult():
                sections.append(measurements.together_section(result))
            case Blame():
                sections.append(measurements.blame_section(result))
    return sections


def _layers(bundle: Bundle, results: list[Versioned]) -> LayerFigures:
    """The times and int8 errors of a bundle's layers, from the results that are of it."""
    from edgeconv.bench.profile.profile import OperatorResult
    from edgeconv.export.blame.report import Blame
    from edgeconv.report.html.bundles import LayerFigures

    hashes = {artifact.sha256 for artifact in bundle.manifest.artifacts}
    times = {
        operator.name: float(operator.ns)
        for result in results
        if isinstance(result, OperatorResult)
        for model in result.models
        if model.file.sha256 in hashes
        for operator in model.operators
    }
    decibels = {
        layer.node: layer.alone_db
        for result in results
        if isinstance(result, Blame) and result.model == bundle.manifest.model
        for layer in result.layers
    }
    return LayerFigures(times, decibels)


def _title(subject: _Subject) -> str:
    names = list(dict.fromkeys(bundle.manifest.model for bundle in subject.bundles))
    return ", ".join(names) or "Measurements"
