"""``edgeconv gate``: the exit code of a CI."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeconv.cli import kept
from edgeconv.cli.command_class import Command
from edgeconv.cli.comparing import (
    across_option,
    exit_with,
    max_regression_option,
    max_time_option,
    terms_of,
)
from edgeconv.cli.completions import complete_device_or_pool, complete_file
from edgeconv.cli.next_command import suggest
from edgeconv.cli.outputs import html_option, quiet_option, refuse_undrawable
from edgeconv.cli.places import wait_option
from edgeconv.cli.settings import takes
from edgeconv.cli.store_option import store_option
from edgeconv.cli.values import EnumChoice, Share, given_options, stated_words
from edgeconv.cli.verdict_outputs import VerdictOutputs, verdict_outputs
from edgeconv.errors import UsageError

if TYPE_CHECKING:
    from edgeconv.bench.compare.comparison import Comparison, ComparisonReport, Limits, Terms
    from edgeconv.bench.compare.kind import ResultKind
    from edgeconv.cli.side_by_side import GateSession
    from edgeconv.report.gate import Gates
    from edgeconv.store.result_selector import Matched
    from edgeconv.versioned import Versioned

    AnyReport = ComparisonReport[Comparison[Any, Any]]


class Measure(str, Enum):
    """Whether the files of both sides are measured again, in one session."""

    NEVER = "never"
    AUTO = "auto"
    ALWAYS = "always"


@dataclass(frozen=True)
class GateSettings:
    """What to hold against what, and what is allowed; the limits are shares."""

    result: str
    baseline: str
    max_regression: float
    max_accuracy_loss: float
    across: tuple[str, ...]
    measure: Measure
    device: str | None
    wait: float
    max_time: float
    page: Path | None
    store: str | None
    outputs: VerdictOutputs
    quiet: bool

    @property
    def limits(self) -> Limits:
        """The limits that every kind of result knows."""
        from edgeconv.bench.compare.comparison import Limits

        return Limits(self.max_regression, self.max_accuracy_loss)


@click.command(
    "gate",
    cls=Command,
    grouped=True,
    examples=(
        "edgeconv gate new.json --baseline main.json",
        "edgeconv gate build/new --baseline build/old --measure --max-regression 5%",
    ),
)
@click.argument("result", shell_complete=complete_file)
@click.option(
    "--baseline",
    required=True,
    shell_complete=complete_file,
    help="A result file, a folder of them, a run of the history, or a git revision; with --measure "
    "also a bundle or a model file.",
)
@max_regression_option
@click.option(
    "--max-accuracy-loss",
    type=Share("points", "0.5", 1.0),
    default="0.5",
    show_default=True,
    help="How many percentage points of top-1, or of another share, a file may lose; of a figure "
    "that is no share, such as an error, how many percent.",
)
@across_option
@click.option(
    "--measure",
    type=EnumChoice(Measure),
    is_flag=False,
    flag_value="always",
    default="never",
    help="Measure the files of latencies again, those of RESULT and of the baseline in turns: one "
    "session finds what two cannot. auto does so where the files are still there.",
)
@click.option(
    "--device",
    shell_complete=complete_device_or_pool,
    help="With --measure of bundles or files: where to measure them, a device or a pool in "
    "devices.toml as for bench; an emulated board counts instructions.",
)
@wait_option
@max_time_option("--measure")
@store_option
@html_option
@verdict_outputs
@quiet_option
@takes(GateSettings)
def command(settings: GateSettings) -> None:
    """Fail if a file of RESULT is worse than in the baseline: exit with 1.

    A file is worse if it is slower or less accurate, takes more instructions, is larger, or is
    missing. The exit code is 3 if the figures do not decide, and 2 if RESULT or the baseline cannot
    be used.

    RESULT is named like the baseline. What it holds decides what is checked: latencies, instruction
    counts (of an emulated board) or accuracies (of `edgeconv evaluate`). Two folders are compared
    file by file, two git revisions kind by kind. Prints a Markdown table for a pull request.
    """
    from edgeconv.bench.compare.gate import gate
    from edgeconv.report.gate import Gates
    from edgeconv.report.output import echo_json, echo_lines

    settings.outputs.refuse()
    refuse_undrawable(settings.page)
    limits = settings.limits
    matched, reports = _reports(settings)
    found = {name: (kind, gate(report, limits)) for name, (kind, report) in reports.items()}
    gates = Gates(limits, found, matched.missing, matched.notes)
    text = gates.markdown()
    settings.outputs.write("edgeconv gate", text, gates.cases())
    if settings.page is not None:
        _write_page(settings, settings.page, gates)
    if settings.outputs.as_json:
        from edgeconv.report.documents import GateDocument

        echo_json(GateDocument.model_validate(gates.plain()))
    else:
        echo_lines(text)
        if not settings.quiet:
            _suggest(settings, gates)
    exit_with(gates.outcome)


def _suggest(settings: GateSettings, gates: Gates) -> None:
    """Say how to go on: to a measurement that decides, or to the operators that became slower."""
    from edgeconv.bench.compare.comparison import Outcome
    from edgeconv.bench.compare.latency import LATENCY
    from edgeconv.cli.side_by_side import is_measurable

    if not any(kind is LATENCY for kind, _ in gates.reports.values()) or settings.store is not None:
        return
    of_one_file = all(
        row.comparison.before.file.name == row.comparison.after.file.name
        for kind, report in gates.reports.values()
        if kind is LATENCY
        for row in report.rows
    )
    if of_one_file and not is_measurable(settings.result):
        return  # it would be measured against itself
    if gates.outcome is Outcome.INCONCLUSIVE and settings.measure is Measure.NEVER:
        limits = stated_words(("max_regression", "max_accuracy_loss"))
        suggest("gate", settings.result, "--baseline", settings.baseline, *limits, "--measure")
    elif gates.outcome is Outcome.FAIL and is_measurable(settings.result):
        device = () if settings.device is None else ("--device", settings.device)
        suggest("bench", settings.result, "--operators", *device)


def _write_page(settings: GateSettings, page: Path, gates: Gates) -> None:
    from edgeconv.report.html.comparisons import gate_section
    from edgeconv.report.html.page import Section
    from edgeconv.report.html.sections import write_page

    sections = [
        gate_section(name, found, kind, gates.limits)
        for name, (kind, found) in gates.reports.items()
    ]
    missing = [f"failed: {name} was not made" for name in gates.missing]
    if unmatched := (*missing, *gates.notes):
        sections.append(Section("Results without a partner", notes=unmatched))
    title = f"{settings.result} against {settings.baseline}: {gates.outcome.value}"
    write_page(page, title, sections)
    kept.made(page)


def _reports(
    settings: GateSettings,
) -> tuple[Matched, dict[str, tuple[ResultKind[Any], AnyReport]]]:
    """What is compared, by name, and what has no partner; measured where that was asked for."""
    from edgeconv.bench.compare.kinds import kind_of
    from edgeconv.bench.compare.latency import LATENCY
    from edgeconv.cli.side_by_side import is_measurable, measured_paths
    from edgeconv.store.history import History
    from edgeconv.store.result_selector import Matched, match

    names = settings.baseline, settings.result
    if settings.measure is not Measure.NEVER and any(map(is_measurable, names)):
        kind, report = measured_paths(*names, settings.device or "local", _session(settings))
        name = "latencies" if kind is LATENCY else kind.name
        return Matched({}, (), ()), {name: (kind, report)}
    if settings.device is not None:
        raise UsageError(
            "--device says where --measure measures bundles or model files", hint="leave it out"
        )
    if settings.measure is Measure.NEVER and (named := given_options(["wait", "max_time"])):
        raise UsageError(f"{named[0]} is for --measure", hint="leave it out, or pass --measure")
    history = History.at(settings.store)
    matched = match(*names, history, Path.cwd())
    terms = terms_of(settings.across, history)
    return matched, {
        name: (kind_of(pair[0]), _report(*pair, terms, settings))
        for name, pair in matched.pairs.items()
    }


def _session(settings: GateSettings) -> GateSession:
    from edgeconv.cli.side_by_side import GateSession

    return GateSession(
        detect=settings.max_regression,
        wait_seconds=settings.wait,
        most_seconds=settings.max_time,
        store=settings.store,
        quiet=settings.quiet or settings.outputs.as_json,
    )


def _report(before: Versioned, after: Versioned, terms: Terms, settings: GateSettings) -> AnyReport:
    """Compare two results; of latencies, by measuring the files again where that was asked for."""
    from edgeconv.bench import BenchResult
    from edgeconv.bench.compare.kinds import kind_of
    from edgeconv.cli.side_by_side import measured_again

    notes: tuple[str, ...] = ()
    if isinstance(before, BenchResult) and isinstance(after, BenchResult):
        try:
            if settings.measure is not Measure.NEVER:
                return measured_again(before, after, _session(settings))
        except UsageError as error:
            if settings.measure is Measure.ALWAYS:
                raise
            notes = (f"not measured again: {error.message}",)
    report = kind_of(before).compare(before, after, terms)
    return replace(report, cautions=(*report.cautions, *notes))
