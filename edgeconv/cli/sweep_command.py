"""``edgeconv sweep``: which of many networks, precisions and boards answers a question best."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.cli import kept
from edgeconv.cli.command_class import CommandGroup
from edgeconv.cli.next_command import suggest
from edgeconv.cli.outputs import quiet_option, refuse_unwritable
from edgeconv.cli.settings import takes
from edgeconv.cli.values import stated, stated_words
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.report.output import echo_json, echo_line, echo_lines
from edgeconv.units import bytes_of, seconds_of

if TYPE_CHECKING:
    from edgeconv.sweep.chain_row import ChainRow
    from edgeconv.sweep.plan import Plan
    from edgeconv.sweep.result import Limits, Row, SweepResult

RESULT = "sweep.json"
CHAIN = "early_exit.json"


class _PlanFirst(CommandGroup):
    """A group whose command ``run`` need not be written out: ``edgeconv sweep plan.toml``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``run`` in front of anything but the name of a command or a request for help."""
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group("sweep", cls=_PlanFirst)
def command() -> None:
    """Find the best of many networks, precisions and boards, as a PLAN in TOML says.

    `edgeconv sweep PLAN` is short for `edgeconv sweep run PLAN`.
    """


@dataclass(frozen=True)
class RunSettings:
    """Which plan to carry out, and where."""

    plan: Path | None
    example_plan: bool
    dry_run: bool
    out: Path
    cache: Path | None
    scheduler: str | None
    workers: int | None
    everything: bool
    as_json: bool
    quiet: bool


@command.command(
    "run",
    grouped=True,
    examples=(
        "edgeconv sweep --example",
        "edgeconv sweep plan.toml --dry-run",
        "edgeconv sweep plan.toml -o sweep.json",
    ),
)
@click.argument("plan", type=click.Path(path_type=Path), required=False)
@click.option("--example", "example_plan", is_flag=True, help="Print a plan to begin with.")
@click.option("--dry-run", is_flag=True, help="Only list the jobs, and estimate their time.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=RESULT,
    show_default=True,
    help="Write the result as JSON here.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Folder of results, which all workers see.  [default: the user's cache]",
)
@click.option("--scheduler", metavar="ADDRESS", help="A Dask cluster, as in tcp://host:8786.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes on this machine; 0 is threads of this one.  [default: a process for each "
    "core, or threads where Dask is not installed]",
)
@click.option("--all", "everything", is_flag=True, help="Show all rows, not only the front.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@quiet_option
@takes(RunSettings)
def run(settings: RunSettings) -> None:
    """Carry out PLAN. What an earlier sweep did is not done again, even if that was killed."""
    from edgeconv.sweep.plan import EXAMPLE, read_plan

    if settings.example_plan:
        echo_lines(EXAMPLE.rstrip("\n"))
        return
    if settings.plan is None:
        raise UsageError("no plan is named", hint="`edgeconv sweep --example` prints one")
    from edgeconv.sweep.cache import Cache, default_cache

    plan = read_plan(settings.plan)
    cache = Cache((settings.cache or default_cache()).absolute())
    if settings.dry_run:
        from edgeconv.report.sweep import estimate_table
        from edgeconv.report.tables import console, print_notes
        from edgeconv.sweep.candidates import candidates
        from edgeconv.sweep.estimate import estimate
        from edgeconv.units import format_duration

        exports = candidates(plan)
        kinds = estimate(plan, exports, cache)
        if settings.as_json:
            from edgeconv.report.sweep_documents import PlannedDocument

            seconds = sum(kind.left_seconds for kind in kinds)
            echo_json(PlannedDocument(exports=tuple(exports), seconds=seconds))
            return
        console().print(estimate_table(kinds))
        left = format_duration(sum(kind.left_seconds for kind in kinds))
        print_notes([f"about {left} one after another; workers share all but measurements"])
        if not settings.quiet:
            suggest("sweep", settings.plan, *stated_words(("out", "cache", "scheduler", "workers")))
        return
    refuse_unwritable(settings.out)
    from edgeconv.report.chains import chain_notes, chain_table
    from edgeconv.report.stacked import stacked
    from edgeconv.report.sweep import notes, sweep_table
    from edgeconv.report.tables import console, print_notes, progress
    from edgeconv.sweep.run import sweep

    with progress("Sweeping", settings.quiet or settings.as_json) as show:
        result = sweep(plan, cache, show, scheduler=settings.scheduler, workers=settings.workers)
    result.save(settings.out)
    kept.made(settings.out)
    if settings.as_json:
        echo_json(result)
    else:
        if any(row.file is not None for row in result.rows):
            console().print(sweep_table(result, front=not settings.everything))
        if any(row.stages for row in result.chains):
            columns, _, cells = chain_table(result, front=not settings.everything)
            console().print(stacked(columns, cells))
        print_notes([*notes(result), *chain_notes(result)])
    if failed := _what_failed_everywhere(plan, result):
        raise EdgeconvError(
            f"no network could be {failed}", hint="read why in the notes", after_result=True
        )
    if not (settings.as_json or settings.quiet):
        chains = any(row.stages for row in result.chains)
        shown = () if settings.out == Path(RESULT) else (settings.out,)
        suggest("sweep", "best", *shown, *(("--early-exit",) if chains else ()))


def _what_failed_everywhere(plan: Plan, result: SweepResult) -> str:
    """What the plan asks for and no network has, in a word; empty if all has been done for some."""
    rows = [row for row in result.rows if row.file is not None]
    if result.chains:
        return "" if rows or any(chain.stages for chain in result.chains) else "exported"
    if not rows:
        return "exported"
    if plan.evaluate is not None and all(row.accuracy is None for row in rows):
        return "evaluated"
    if plan.measure is not None and all(row.latency_ns is None for row in rows):
        return "measured"
    if plan.count is not None and all(row.instructions is None for row in rows):
        return "counted"
    return ""


@dataclass(frozen=True)
class BestSettings:
    """Which sweep to ask, and what."""

    result: Path
    max_latency: float | None
    max_size: int | None
    max_memory: int | None
    device: str | None
    early_exit: bool
    out: Path | None
    as_json: bool


@command.command(
    "best",
    examples=("edgeconv sweep best --max-latency 33ms -o out",),
)
@click.argument("result", type=click.Path(path_type=Path), default=RESULT)
@click.option("--max-latency", type=stated(seconds_of), metavar="TIME", help="As in 33ms.")
@click.option("--max-size", type=stated(bytes_of), metavar="BYTES", help="Of the file, as in 5MB.")
@click.option("--max-memory", type=stated(bytes_of), metavar="BYTES", help="Peak, as in 100MB.")
@click.option("--device", help="The device or pool that counts, where the plan has several.")
@click.option(
    "--early-exit", is_flag=True, help="A chain of stages, by its expected latency a sample."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Copy the bundle here.")
@click.option("--json", "as_json", is_flag=True, help="Print the row as JSON.")
@takes(BestSettings)
def best(settings: BestSettings) -> None:
    """Print the bundle to deploy: the most accurate one of RESULT within the limits.

    Limits that are not given are those of the plan. Of a latency the end of its 95% interval
    counts. With --early-exit it is a chain: the file of each stage, and its thresholds.
    """
    from edgeconv.sweep.result import Limits, SweepResult, bundle_at

    if settings.result == Path(RESULT) and not settings.result.exists():
        raise UsageError(
            f"there is no {RESULT} here",
            hint="run `edgeconv sweep PLAN` first, or name the result of a sweep",
        )
    result = SweepResult.load(settings.result)
    stated = {
        "latency_s": settings.max_latency,
        "bytes": settings.max_size,
        "memory_bytes": settings.max_memory,
    }
    given = {name: value for name, value in stated.items() if value is not None}
    limits = Limits.model_validate(result.limits.model_dump() | given)
    if settings.early_exit:
        _show_chain(result.best_chain(limits, settings.device), limits, settings)
        return
    row = result.best(limits, settings.device)
    bundle = bundle_at(row.bundle, row.file)
    if settings.out is not None:
        from edgeconv.staging import copy_files, staged

        with staged(settings.out, force=False) as stage:
            copy_files(bundle.path, stage)
        kept.made(settings.out)
    if settings.as_json:
        _echo_best(row, limits)
    else:
        echo_line(f"{settings.out or bundle.path}/{row.file}")


def _show_chain(row: ChainRow, limits: Limits, settings: BestSettings) -> None:
    from edgeconv.report.chains import rule_of
    from edgeconv.report.tables import print_notes
    from edgeconv.sweep.result import bundle_at

    bundles = [bundle_at(stage.bundle, stage.file) for stage in row.stages]
    files = [f"{b.path}/{stage.file}" for b, stage in zip(bundles, row.stages, strict=True)]
    if settings.out is not None:
        from edgeconv.report.sweep_documents import ChainDocument
        from edgeconv.staging import copy_files, staged

        names = [f"stage{index}/{stage.file}" for index, stage in enumerate(row.stages)]
        with staged(settings.out, force=False) as stage:
            for index, bundle in enumerate(bundles):
                copy_files(bundle.path, stage / f"stage{index}")
            about = ChainDocument(
                confidence=row.confidence, thresholds=row.thresholds, stages=tuple(names)
            )
            (stage / CHAIN).write_text(about.model_dump_json(indent=2) + "\n", "utf-8")
        kept.made(settings.out)
        files = [f"{settings.out}/{name}" for name in names]
    if settings.as_json:
        _echo_best(row, limits)
    else:
        echo_lines("\n".join(files))
        print_notes([rule_of(row)])


def _echo_best(row: Row | ChainRow, limits: Limits) -> None:
    from edgeconv.report.sweep_documents import BestDocument

    echo_json(BestDocument(limits=limits, best=row))
