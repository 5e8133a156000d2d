"""``edgeconv verify``: check a bundle against its network again, from disk."""

from __future__ import annotations

from pathlib import Path

import click

from edgeconv.cli.command_class import Command
from edgeconv.cli.next_command import suggest
from edgeconv.cli.places import device_option, place_of
from edgeconv.errors import UsageError, VerificationError


@click.command(
    "verify",
    cls=Command,
    examples=(
        "edgeconv verify build/mobilenet_v2",
        "edgeconv verify build/mobilenet_v2 --device ssh://pi@raspberrypi.local",
    ),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--quick", is_flag=True, help="Compare only the checksums of the files; run none of them."
)
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no table, only the exit code.")
def command(bundle: Path, quick: bool, device: str | None, as_json: bool, quiet: bool) -> None:
    """Run every file of BUNDLE on its runtime and compare it with the network's own outputs.

    The export stored those outputs in the bundle, with their inputs. The exit code is 1 if a file
    does not compute what the network computes, was changed, is missing, or does not belong to the
    bundle.
    """
    from edgeconv.bundle import Bundle
    from edgeconv.report.bundle import print_bundle
    from edgeconv.report.output import echo_json, echo_line
    from edgeconv.report.tables import progress

    if quick and device is not None:
        raise UsageError("--quick runs no file", hint="leave out --quick or --device")
    loaded = Bundle.load(bundle)
    with progress("Verifying", quiet or as_json) as show, place_of(device) as place:
        from edgeconv.export.verify.bundle import verify_bundle
        from edgeconv.export.verify.failure import failure

        report = verify_bundle(loaded, quick=quick, place=place, progress=show)
    if as_json:
        echo_json(report)
    elif quick and not quiet:
        echo_line(f"{bundle}: {len(report.unchanged)} files are as the export wrote them")
    elif not quiet:
        print_bundle(loaded, report.artifacts)
    for artifact in loaded.manifest.artifacts:
        figures = report.artifacts.get(artifact.path)
        if figures is not None and not figures.passed:
            reference = loaded.manifest.reference
            error = failure(artifact, figures, reference)
            if device is not None:
                error = VerificationError(
                    f"{device}: {error.message}",
                    hint="run `edgeconv verify` without --device: if that passes, the runtime of "
                    "the device computes something else",
                )
            error.after_result = True
            raise error
    if not (as_json or quiet):
        there = () if device is None else ("--device", device)
        suggest(*(("verify", bundle) if quick else ("bench", bundle, *there)))
