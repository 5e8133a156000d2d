"""``edgeconv cache``: the results that sweeps keep."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import click

from edgeconv.cli.command_class import CommandGroup
from edgeconv.cli.values import stated
from edgeconv.errors import UsageError
from edgeconv.near_names import near_paths
from edgeconv.report.output import echo_json, echo_line
from edgeconv.units import bytes_of


@click.group("cache", cls=CommandGroup)
def command() -> None:
    """Look at the results that sweeps keep, and remove some."""


_FOLDER = click.option(
    "--cache", type=click.Path(path_type=Path), help="The folder.  [default: the user's cache]"
)


@command.command(
    "ls",
    examples=("edgeconv cache ls",),
)
@_FOLDER
@click.option("--json", "as_json", is_flag=True, help="Print every result as JSON.")
def list_results(cache: Path | None, as_json: bool) -> None:
    """List how much is kept of each kind of job."""
    from edgeconv.report.tables import Column, console, print_notes, table
    from edgeconv.sweep.cache import Cache, default_cache
    from edgeconv.units import format_bytes, format_duration

    place = _existing(cache) or default_cache()
    entries = sorted(Cache(place).entries(), key=lambda entry: entry.path)
    if as_json:
        results = [
            {
                "path": str(entry.path),
                "kind": entry.kind,
                "bytes": entry.bytes,
                "used": datetime.fromtimestamp(entry.used, timezone.utc).isoformat(),
                "seconds": entry.seconds,
            }
            for entry in entries
        ]
        from edgeconv.report.documents import CacheDocument

        echo_json(CacheDocument.model_validate({"results": results}))
        return
    if not entries:
        print_notes([f"nothing is kept in {place}"])
        return
    kinds = {kind: [e for e in entries if e.kind == kind] for kind in {e.kind for e in entries}}
    names = ["kind", "results", "size", "made in"]
    rows = [
        (
            kind,
            str(len(of_kind)),
            format_bytes(sum(entry.bytes for entry in of_kind)),
            format_duration(sum(entry.seconds for entry in of_kind)),
        )
        for kind, of_kind in sorted(kinds.items())
    ]
    console().print(table([Column(name, numeric=name != "kind") for name in names], rows))


@command.command(
    "prune",
    examples=("edgeconv cache prune --to 2GB",),
)
@_FOLDER
@click.option(
    "--to",
    "most",
    type=stated(bytes_of),
    metavar="BYTES",
    help="The size that may stay, as in 2GB, or 0B for nothing.  [default: 10GB, or what "
    "EDGECONV_MAX_CACHE_BYTES says]",
)
def prune(cache: Path | None, most: int | None) -> None:
    """Remove the results that were not used for longest, until the others fit."""
    from edgeconv.sweep.cache import Cache, default_cache
    from edgeconv.units import format_bytes

    removed = Cache(_existing(cache) or default_cache()).prune(most)
    size = format_bytes(sum(entry.bytes for entry in removed))
    results = "1 result" if len(removed) == 1 else f"{len(removed)} results"
    echo_line(f"removed {results}, {size}")


def _existing(cache: Path | None) -> Path | None:
    """The folder that was named, if one was.

    Raises:
        UsageError: It does not exist, so it is not the one that a sweep has filled.
    """
    if cache is not None and not cache.is_dir():
        raise UsageError(
            f"there is no folder {cache}",
            hint=near_paths(cache, "name the folder that `edgeconv sweep --cache` was given"),
        )
    return cache
