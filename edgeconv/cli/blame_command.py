"""``edgeconv blame``: which layers lose accuracy in 8 bits, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.bundle import MANIFEST_NAME, Bundle, Format, Precision
from edgeconv.cli import kept
from edgeconv.cli.command_class import Command
from edgeconv.cli.completions import complete_file, complete_model
from edgeconv.cli.next_command import suggest
from edgeconv.cli.outputs import html_option, quiet_option, refuse_undrawable
from edgeconv.cli.settings import takes
from edgeconv.cli.shared_options import (
    calibration_options,
    network_options,
    preprocessing,
    task_options,
    wide_option,
)
from edgeconv.cli.values import given, given_options
from edgeconv.errors import UsageError
from edgeconv.export.data.there import refuse_unusable
from edgeconv.export.quantize_options import QuantizeOptions, RangeMethod
from edgeconv.export.request import ExportRequest
from edgeconv.scratch import temporary_folder

if TYPE_CHECKING:
    from edgeconv.export.blame.report import LayerBlame
    from edgeconv.progress import Progress

# What applies only to a MODEL; a bundle has all of it in its manifest.
_OF_MODELS = (
    *("weights", "weights_key", "pretrained", "model_args", "input_size", "inputs", "example"),
    *("preprocessing", "mean", "std"),
)
# With these options the network is one that `edgeconv export` finds by its name.
_SUGGESTED = {"model", "data", "labeled", "task", "truth", "limit", "plot", "page", "wide"}
_MOST = 0.5  # of the noise: less would leave int8 nearly as it is


@dataclass(frozen=True)
class BlameSettings:
    """What the command line asks of ``edgeconv blame``.

    Attributes:
        request: The export of the float network, where MODEL is not a bundle.
        quantization: How to quantize it, but for the range method.
        range_method: How calibration chooses ranges; None for the bundle's own method.
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        data: The samples to calibrate and measure on.
        labeled: Labeled samples, to judge the layers by a task.
        task: The task.
        truth: What is true of the labeled samples, if it is not among them.
        limit: How many layers to show.
        plot: The file to draw into.
        page: The page to write.
        wide: Whether to show every column.
        as_json: Whether to print JSON.
        quiet: Whether to show no progress.
    """

    request: ExportRequest
    quantization: QuantizeOptions
    range_method: RangeMethod | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    data: str
    labeled: Path | None
    task: str
    truth: Path | None
    limit: int | None
    plot: Path | None
    page: Path | None
    wide: bool
    as_json: bool
    quiet: bool


@click.command(
    "blame",
    cls=Command,
    grouped=True,
    examples=(
        "edgeconv blame build/mobilenet_v2 --data photos",
        "edgeconv blame mobilenet_v2 --pretrained --data photos --plot layers.svg",
    ),
)
@click.argument("model", metavar="MODEL|BUNDLE", shell_complete=complete_model)
@click.option(
    "--data",
    required=True,
    metavar="PATH",
    shell_complete=complete_file,
    help="Samples to calibrate and measure on: a folder or a .tar of images, .npy or .npz.",
)
@click.option(
    "--labeled",
    type=click.Path(path_type=Path),
    help="Labeled samples as evaluate takes them: show what each layer costs in the figure of "
    "--task, and sort by that.",
)
@task_options
@calibration_options(range_default="as the bundle, or as export")
@network_options
@click.option("--limit", type=click.IntRange(min=1), help="Show only so many layers, the worst.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.svg",
    help="Draw all layers in the order of the network into this file.",
)
@html_option
@wide_option
@click.option("--json", "as_json", is_flag=True, help="Print versioned JSON.")
@quiet_option
@takes(BlameSettings)
def command(settings: BlameSettings) -> None:
    """List the layers that lose most in int8, worst first, with the reason.

    MODEL is what `edgeconv export` takes. The float32 ONNX file of a BUNDLE is quantized again on
    the data.
    """
    from edgeconv.report.output import echo_json
    from edgeconv.report.tables import progress

    plot = settings.plot
    if plot is not None and plot.suffix != ".svg":
        raise UsageError(f"--plot {plot}: the plot is an SVG", hint=f"name it {plot.stem}.svg")
    refuse_undrawable(settings.page)
    for option in given_options(("task", "truth")) if settings.labeled is None else ():
        raise UsageError(f"{option} judges labeled samples", hint="pass them with --labeled")
    refuse_unusable(settings.data, settings.labeled, settings.truth)
    with progress("Starting", settings.quiet or settings.as_json, steps=True) as show:
        from edgeconv.export.blame import blame

        with temporary_folder() as folder:
            bundle = _bundle(settings, folder / "bundle", show)
            found = blame(
                bundle,
                settings.data,
                options=_quantization(bundle, settings),
                calibration_size=settings.request.calibration_size,
                labeled=settings.labeled,
                task=settings.task,
                truth=settings.truth,
                progress=show,
            )
    if plot is not None:
        from edgeconv.report.blame_plot import draw
        from edgeconv.whole_file import write_whole

        write_whole(plot, draw(found))
        kept.made(plot)
    if settings.page is not None:
        from edgeconv.report.html.sections import result_section, write_page

        write_page(settings.page, found.model, [result_section(found)])
        kept.made(settings.page)
    if settings.as_json:
        echo_json(found)
        return
    from edgeconv.report.blame import print_blame

    print_blame(found, settings.limit, wide=settings.wide)
    if not settings.quiet:
        _suggest(settings, found.layers[0])


def _suggest(settings: BlameSettings, worst: LayerBlame) -> None:
    """Say how to leave the worst layer in float, if most of the noise is its own."""
    model = str(settings.request.model)
    named = given() <= _SUGGESTED and not (Path(model) / MANIFEST_NAME).is_file()
    if named and worst.share > _MOST:
        suggest("export", model, "--calibration", settings.data, "--keep-float", worst.name)


def _bundle(settings: BlameSettings, out: Path, progress: Progress) -> Bundle:
    """The bundle that MODEL is, or else a temporary one of its float network."""
    path = Path(str(settings.request.model))
    if (path / MANIFEST_NAME).is_file():
        for option in given_options(_OF_MODELS):
            raise UsageError(
                f"{option} does not apply to {path}: a bundle is complete", hint="leave it out"
            )
        return Bundle.load(path)
    from edgeconv.export.api import carry_out
    from edgeconv.export.target import resolve_request

    request = replace(
        settings.request,
        out=out,
        formats=[Format.ONNX],
        precisions=[Precision.FLOAT32],
        preprocessing=preprocessing(settings.mean, settings.std, settings.request.preprocessing),
        progress=progress,
    )
    return carry_out(resolve_request(request))


def _quantization(bundle: Bundle, settings: BlameSettings) -> QuantizeOptions:
    """The options as asked for; the bundle's own range method where none was stated."""
    method = settings.range_method
    calibration = bundle.manifest.calibration
    if method is None and calibration is not None:
        method = next((m for m in RangeMethod if m.value == calibration.method), None)
    if method is None:
        return settings.quantization
    return replace(settings.quantization, range_method=method)
