"""``edgeconv predict``: run a file of a bundle on a picture."""

from __future__ import annotations

from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import click

from edgeconv.cli import kept
from edgeconv.cli.command_class import Command
from edgeconv.cli.next_command import suggest
from edgeconv.cli.outputs import refuse_unwritable
from edgeconv.cli.places import device_option, place_of
from edgeconv.cli.settings import takes


@dataclass(frozen=True)
class PredictSettings:
    """What runs on what, and where a picture of it goes."""

    bundle: Path
    given: Path
    file: str | None
    out: Path | None
    device: str | None


@click.command(
    "predict",
    cls=Command,
    examples=(
        "edgeconv predict build/mobilenet_v2 photo.jpg",
        "edgeconv predict build/unet photo.jpg -o mask.png",
    ),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("given", metavar="INPUT", type=click.Path(path_type=Path))
@click.option(
    "--file", metavar="NAME", help="The model file.  [default: the first that can be run here]"
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Where the mask, the boxes or the outputs go.  [default: mask.png, boxes.png, nowhere]",
)
@device_option
@takes(PredictSettings)
def command(settings: PredictSettings) -> None:
    """Run a file of BUNDLE on INPUT, and print or draw what it sees.

    INPUT is a picture, or an .npz file with the inputs by name for a network that takes something
    else. The bundle's own run.py does the same without edgeconv.
    """
    from edgeconv.bundle import Bundle
    from edgeconv.companion.predict import predict
    from edgeconv.export.inspect.interface import check_interface
    from edgeconv.report.output import results
    from edgeconv.report.tables import progress

    refuse_unwritable(settings.out)
    bundle = Bundle.load(settings.bundle)
    for artifact in bundle.manifest.artifacts:
        if settings.file in (None, artifact.path):
            check_interface(bundle, artifact)
    with ExitStack() as stack:
        # The bar is gone when the answer is printed.
        with progress(f"Reaching {settings.device}", quiet=settings.device is None):
            place = stack.enter_context(place_of(settings.device))
        with redirect_stdout(results()):  # the script of the bundle prints the answer
            predict(bundle, settings.given, settings.file, settings.out, place, wrote=kept.made)
    device = () if settings.device is None else ("--device", settings.device)
    suggest("bench", settings.bundle, *device)
