"""``edgeconv compare``: two measurements side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from edgeconv.cli.comparing import across_option, terms_of
from edgeconv.cli.outputs import html_option, refuse_undrawable
from edgeconv.cli.settings import takes

SCHEMA_VERSION = 3  # 1 held one comparison, of latencies; 2 no figure beside the median


@dataclass(frozen=True)
class CompareSettings:
    """What to compare: files, runs of the history, git revisions or folders."""

    before: str
    after: str
    across: tuple[str, ...]
    page: Path | None
    as_json: bool


@click.command("compare")
@click.argument("before")
@click.argument("after")
@across_option
@html_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
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
    from edgeconv.bench.history import History, default_path
    from edgeconv.bench.result_selector import match
    from edgeconv.report import compare as report
    from edgeconv.report.output import echo_json
    from edgeconv.report.tables import console, print_notes

    refuse_undrawable(settings.page)
    history = History(default_path())
    matched = match(settings.before, settings.after, history, Path.cwd())
    terms = terms_of(settings.across, history)
    reports = {
        name: kind_of(before).compare(before, after, terms)
        for name, (before, after) in matched.pairs.items()
    }
    if settings.page is not None:
        from edgeconv.report.html.comparisons import comparison_section
        from edgeconv.report.html.page import Section
        from edgeconv.report.html.sections import write_page

        names = f"{settings.before} and {settings.after}"
        sections = [
            comparison_section(name if len(reports) > 1 else names, found)
            for name, found in reports.items()
        ]
        if unmatched := (
            *(f"only {settings.before} has {name}" for name in matched.missing),
            *matched.notes,
        ):
            sections.append(Section("Results without a partner", notes=unmatched))
        write_page(settings.page, f"Comparison of {names}", sections)
    if settings.as_json:
        plain = {
            "schema_version": SCHEMA_VERSION,
            "comparisons": [{"of": name, **report.plain(r)} for name, r in reports.items()],
            "missing": matched.missing,
            "notes": matched.notes,
        }
        echo_json(plain)
        return
    for name, found in reports.items():
        console().print(report.comparison_table(found, name if len(reports) > 1 else None))
        print_notes(report.notes(found))
    print_notes(f"only {settings.before} has {name}" for name in matched.missing)
    print_notes(matched.notes)
