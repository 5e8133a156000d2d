"""The sections of a page, by what there is to show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeconv import __version__
from edgeconv.bench.end_to_end import EndToEndResult
from edgeconv.bench.instructions import CountResult
from edgeconv.bench.profile.profile import OperatorResult
from edgeconv.bench.result import BenchResult
from edgeconv.bench.sustained import SustainedResult
from edgeconv.bench.together import TogetherResult
from edgeconv.bundle import Bundle
from edgeconv.evaluation import Evaluation
from edgeconv.export.blame.report import Blame
from edgeconv.report.html import measurements
from edgeconv.report.html.bundles import LayerFigures, bundle_section
from edgeconv.report.html.front import front_section
from edgeconv.report.html.page import Section, render
from edgeconv.report.html.sweep import sweep_section
from edgeconv.sweep.result import SweepResult
from edgeconv.versioned import Versioned
from edgeconv.whole_file import write_whole


def write_page(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the page of these sections, whole or not at all.

    Raises:
        UsageError: The file cannot be written.
    """
    write_whole(path, render(title, sections, f"edgeconv {__version__}"))


def sections_of(bundles: Sequence[Bundle], results: Sequence[Versioned]) -> list[Section]:
    """What is to be said of bundles and results, brought together."""
    compared = front_section(
        bundles,
        [r for r in results if isinstance(r, Evaluation)],
        [r for r in results if isinstance(r, BenchResult)],
        [r for r in results if isinstance(r, CountResult)],
    )
    sections = [] if compared is None else [compared]
    sections += [bundle_section(bundle, _layers(bundle, results)) for bundle in bundles]
    return sections + list(map(result_section, results))


def result_section(result: Versioned) -> Section:
    """What is to be said of one result."""
    match result:
        case BenchResult():
            return measurements.latency_section(result)
        case CountResult():
            return measurements.count_section(result)
        case Evaluation():
            return measurements.accuracy_section(result)
        case OperatorResult():
            return measurements.operator_section(result)
        case SustainedResult():
            return measurements.sustained_section(result)
        case EndToEndResult():
            return measurements.end_to_end_section(result)
        case TogetherResult():
            return measurements.together_section(result)
        case SweepResult():
            return sweep_section(result)
        case Blame():
            return measurements.blame_section(result)
    raise TypeError(f"{type(result).__name__} has no section")


def _layers(bundle: Bundle, results: Sequence[Versioned]) -> LayerFigures:
    """The times and int8 errors of a bundle's layers, from the results that are of it."""
    paths = {artifact.sha256: artifact.path for artifact in bundle.manifest.artifacts}
    times = {
        paths[model.file.sha256]: {each.name: float(each.ns) for each in model.operators}
        for result in results
        if isinstance(result, OperatorResult)
        for model in result.models
        if model.file.sha256 in paths
    }
    decibels = {
        layer.node: layer.alone_db
        for result in results
        if isinstance(result, Blame) and result.model == bundle.manifest.model
        for layer in result.layers
    }
    return LayerFigures(times, decibels)
