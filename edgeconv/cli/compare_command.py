"""``edgeconv compare``: two measurements side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from edgeconv.cli import kept
from edgeconv.cli.command_class import Command
from edgeconv.cli.comparing import across_option, terms_of
from edgeconv.cli.completions import complete_file
from edgeconv.cli.next_command import suggest
from edgeconv.cli.outputs import html_option, refuse_undrawable
from edgeconv.cli.settings import takes
from edgeconv.cli.store_option import store_option
from edgeconv.cli.verdict_outputs import VerdictOutputs, verdict_outputs


@dataclass(frozen=True)
class CompareSettings:
    """What to compare: files, runs of the history, git revisions or folders."""

    before: str
    after: str
    across: tuple[str, ...]
    store: str | None
    page: Path | None
    outputs: VerdictOutputs


@click.command(
    "compare",
    cls=Command,
    examples=(
        "edgeconv compare before.json after.json",
        "edgeconv compare pi4.json pi5.json --across device",
    ),
)
@click.argument("before", shell_complete=complete_file)
@click.argument("after", shell_complete=complete_file)
@across_option
@store_option
@html_option
@verdict_outputs
@takes(CompareSettings)
def command(settings: CompareSettings) -> None:
    """Say whether files became faster, slower, more or less accurate from BEFORE to AFTER.

    Each of the two is a file of `edgeconv bench --out` or `edgeconv evaluate --out`, the number of
    a run in `edgeconv history`, a git revision at which something was measured, or a folder of
    result files. Folders are compared file by file, by name. Latencies are compared with latencies,
    instruction counts (of an emulated board) with counts, accuracies with accuracies. The two must
    not be the same run.
    """
    from edgeconv.bench.compare.kinds import kind_of
    from edgeconv.report import compare as report
    from edgeconv.report.output import echo_json, echo_lines
    from edgeconv.report.tables import console, print_notes
    from edgeconv.store.history import History
    from edgeconv.store.result_selector import match

    settings.outputs.refuse()
    refuse_undrawable(settings.page)
    history = History.at(settings.store)
    matched = match(settings.before, settings.after, history, Path.cwd())
    terms = terms_of(settings.across, history)
    reports = {
        name: kind_of(before).compare(before, after, terms)
        for name, (before, after) in matched.pairs.items()
    }
    remarks = [*(f"only {settings.before} has {name}" for name in matched.missing), *matched.notes]
    markdown = report.markdown(reports, remarks)
    settings.outputs.write("edgeconv compare", markdown, report.cases(reports))
    if settings.page is not None:
        from edgeconv.report.html.comparisons import comparison_section
        from edgeconv.report.html.page import Section
        from edgeconv.report.html.sections import write_page

        names = f"{settings.before} and {settings.after}"
        sections = [
            comparison_section(name if len(reports) > 1 else names, found)
            for name, found in reports.items()
        ]
        if remarks:
            sections.append(Section("Results without a partner", notes=tuple(remarks)))
        write_page(settings.page, f"Comparison of {names}", sections)
        kept.made(settings.page)
    if settings.outputs.as_json:
        from edgeconv.report.documents import ComparisonDocument

        fields = {
            "comparisons": [{"of": name, **report.plain(r)} for name, r in reports.items()],
            "missing": matched.missing,
            "notes": matched.notes,
        }
        echo_json(ComparisonDocument.model_validate(fields))
        return
    if settings.outputs.prints_markdown:
        echo_lines(markdown)
        return
    for name, found in reports.items():
        console().print(report.comparison_table(found, name if len(reports) > 1 else None))
        print_notes(report.notes(found))
    print_notes(remarks)
    if settings.store is None:  # that may have a password
        across = (word for setting in settings.across for word in ("--across", setting))
        suggest("gate", settings.after, "--baseline", settings.before, *across)
