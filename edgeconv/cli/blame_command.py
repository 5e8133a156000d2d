"""``edgeconv blame``: which layers lose accuracy in 8 bits, and why."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeconv.bundle import MANIFEST_NAME, Bundle, Format, Precision
from edgeconv.cli.shared_options import calibration_options, network_options, preprocessing
from edgeconv.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeconv.export.quantize import QuantizeOptions

# What only a MODEL takes; a bundle has all of it in its manifest.
_OF_MODELS = ("weights", "pretrained", "model_args", "input_size", "mean", "std")


@click.command("blame")
@click.argument("model", metavar="MODEL|BUNDLE")
@click.option(
    "--data",
    required=True,
    metavar="PATH",
    help="Samples to calibrate and measure on: folder of images, .npy or .npz.",
)
@calibration_options(range_default="as the bundle, or as export")
@network_options
@click.option("--limit", type=click.IntRange(min=1), help="Show so many layers, the worst.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.svg",
    help="Draw all layers in the order of the network.",
)
@click.option("--json", "as_json", is_flag=True, help="Print versioned JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(
    model: str,
    data: str,
    limit: int | None,
    plot: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """List the layers that lose most in int8, worst first, with the reason.

    MODEL is what `edgeconv export` takes. Of a BUNDLE, the float32 ONNX file is quantized again on
    the data.
    """
    from edgeconv.report.tables import progress

    if plot is not None and plot.suffix != ".svg":
        raise UsageError(f"--plot {plot}: the plot is an SVG; name it {plot.stem}.svg")
    with progress(quiet or as_json) as bar:
        task = bar.add_task("Starting", total=None)

        def show(step: str, done: int, total: int) -> None:
            bar.update(task, description=step, completed=done, total=total)

        from edgeconv.export.blame import blame

        with tempfile.TemporaryDirectory(prefix="edgeconv-") as folder:
            bundle = _bundle(model, Path(folder) / "bundle", options, show)
            found = blame(
                bundle,
                data,
                options=_quantization(bundle, options),
                calibration_size=options["calibration_size"],
                progress=show,
            )
    if plot is not None:
        from edgeconv.report.blame_plot import draw

        plot.write_text(draw(found), encoding="utf-8")
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    from edgeconv.report.blame import print_blame

    print_blame(found, limit)


def _bundle(
    model: str, out: Path, options: dict[str, Any], progress: Callable[[str, int, int], None]
) -> Bundle:
    """The bundle that ``model`` is, or else a temporary one of its float network."""
    if (Path(model) / MANIFEST_NAME).is_file():
        for name in _OF_MODELS:
            if options[name]:
                option = "--model-arg" if name == "model_args" else f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} does not apply to {model}: a bundle is complete")
        return Bundle.load(Path(model))
    from edgeconv.export import export

    return export(
        model,
        out=out,
        formats=[Format.ONNX],
        precisions=[Precision.FLOAT32],
        weights=options["weights"],
        pretrained=options["pretrained"],
        model_args=dict(options["model_args"]),
        input_size=options["input_size"],
        preprocessing=preprocessing(options["mean"], options["std"]),
        progress=progress,
    )


def _quantization(bundle: Bundle, options: dict[str, Any]) -> QuantizeOptions:
    """As asked for; a bundle's own range method where nobody asked."""
    from edgeconv.export.quantize import QuantizeOptions, RangeMethod

    defaults = QuantizeOptions()
    calibration = bundle.manifest.calibration
    methods = [method.value for method in RangeMethod]
    method = options["range_method"]
    if method is None and calibration is not None and calibration.method in methods:
        method = calibration.method
    return QuantizeOptions(
        range_method=RangeMethod(method) if method else defaults.range_method,
        equalization=options["equalization"],
        bias_absorption=options["bias_absorption"],
    )
