"""``edgeconv report``: one HTML page about bundles and results."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.bundle import MANIFEST_NAME, Bundle
from edgeconv.cli import kept
from edgeconv.cli.command_class import Command
from edgeconv.cli.next_command import suggest
from edgeconv.cli.outputs import refuse_unwritable
from edgeconv.cli.settings import takes
from edgeconv.cli.store_option import store_option
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.near_names import near_paths

if TYPE_CHECKING:
    from edgeconv.versioned import Versioned


@dataclass(frozen=True)
class ReportSettings:
    """What the page is about, and where it goes."""

    paths: tuple[Path, ...]
    out: Path
    store: str | None
    title: str | None


@click.command(
    "report",
    cls=Command,
    examples=("edgeconv report build/mobilenet_v2 result.json -o report.html",),
)
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
@store_option
@click.option("--title", help="Its title.  [default: the network]")
@takes(ReportSettings)
def command(settings: ReportSettings) -> None:
    """Write one HTML page about bundles and results, which needs nothing else to be read.

    RESULT is a file that `bench`, `evaluate` or `blame` wrote with --out (`blame --json`), the
    sweep.json of a sweep, or the number of a run in `edgeconv history`. Bundles and the results of
    their files are brought together: layers get their times and their int8 errors, and files are
    drawn by accuracy and latency.
    """
    from edgeconv.report.html.sections import sections_of, write_page
    from edgeconv.report.output import echo_line

    refuse_unwritable(settings.out)
    subject = _read(settings.paths, settings.store)
    sections = sections_of(subject.bundles, subject.results)
    write_page(settings.out, settings.title or _title(subject), sections)
    kept.made(settings.out)
    echo_line(f"wrote {settings.out}")
    _suggest(subject)


def _suggest(subject: _Subject) -> None:
    """Say how to go on: to the file to deploy, or to the latencies that the page lacks."""
    from edgeconv.bench import BenchResult

    if subject.sweeps:
        suggest("sweep", "best", subject.sweeps[0])
    elif subject.bundles and not any(isinstance(each, BenchResult) for each in subject.results):
        suggest("bench", subject.bundles[0].path)


@dataclass
class _Subject:
    """What the paths hold."""

    bundles: list[Bundle] = field(default_factory=list)
    results: list[Versioned] = field(default_factory=list)
    sweeps: list[Path] = field(default_factory=list)  # files of those results that are of a sweep


def _read_result(path: Path) -> Versioned:
    """Read a result of any kind, those that are never compared included."""
    from edgeconv.bench.end_to_end import EndToEndResult
    from edgeconv.bench.profile.profile import OperatorResult
    from edgeconv.bench.sustained import SustainedResult
    from edgeconv.bench.together import TogetherResult
    from edgeconv.export.blame.report import Blame
    from edgeconv.store.result_selector import read_result
    from edgeconv.sweep.result import SweepResult
    from edgeconv.versioned import Head, read_document

    kinds: dict[str, type[Versioned]] = {
        "operators": OperatorResult,
        "sustained": SustainedResult,
        "together": TogetherResult,
        "end-to-end": EndToEndResult,
        "blame": Blame,
        "sweep": SweepResult,
    }
    try:
        kind = Head.model_validate_json(read_document(path)).kind
    except ValueError:
        kind = None
    if kind not in kinds:
        return read_result(path)
    try:
        return kinds[kind].load(path)
    except EdgeconvError as error:  # here the file is what was asked for
        raise UsageError(error.message, hint=error.hint) from error


def _read(paths: tuple[Path, ...], store: str | None) -> _Subject:
    """Read bundles and results of every kind.

    Raises:
        UsageError: A path holds neither.
    """
    from edgeconv.store.history import History
    from edgeconv.store.result_selector import is_run
    from edgeconv.sweep.result import SweepResult

    subject = _Subject()
    for path in paths:
        if (path / MANIFEST_NAME).is_file():
            subject.bundles.append(Bundle.load(path))
        elif path.is_file():
            subject.results.append(_read_result(path))
            subject.sweeps += [path] if isinstance(subject.results[-1], SweepResult) else []
        elif is_run(str(path)):
            subject.results.append(History.at(store).get(int(str(path))))
        else:
            wanted = "name a folder of `edgeconv export`, a file of --out, or a run of the history"
            raise UsageError(
                f"{path} is neither a bundle nor a result", hint=near_paths(path, wanted)
            )
    return subject


def _title(subject: _Subject) -> str:
    names = list(dict.fromkeys(bundle.manifest.model for bundle in subject.bundles))
    return ", ".join(names) or "Measurements"
