"""``edgeconv export``: a network becomes verified ONNX and TFLite files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeconv.bundle import Format, IoType, Precision
from edgeconv.cli.shared_options import calibration_options, network_options, preprocessing
from edgeconv.cli.values import percent
from edgeconv.errors import EdgeconvError, UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from edgeconv.bundle import Bundle, Target


@click.command("export")
@click.argument("model")
@click.option(
    "--format",
    "formats",
    type=click.Choice(["onnx", "tflite"]),
    multiple=True,
    help="Repeatable; by default both, or those that --target runs.",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice([precision.value for precision in Precision]),
    multiple=True,
    help="Repeatable; by default float32, and int8 where --calibration is given. A network that is "
    "quantized already has its own.",
)
@click.option(
    "--calibration",
    metavar="PATH",
    help="Folder of images, .npy, .npz or file.py:function; or 'random' for synthetic inputs.",
)
@calibration_options(range_default="auto")
@click.option(
    "--bias-correction/--no-bias-correction",
    default=True,
    help="Correct the mean error of each channel.  [default: where it helps]",
)
@click.option(
    "--rounding",
    type=click.Choice(["nearest", "adaptive"]),
    default="nearest",
    show_default=True,
    help="How weights become integers; adaptive (AdaRound) takes minutes.",
)
@network_options
@click.option("--batch", type=click.IntRange(min=1), help="Static batch size.  [default: 1]")
@click.option("--opset", type=int, help="ONNX opset, 18 to 23.  [default: 20, or the file's own]")
@click.option(
    "--layout",
    type=click.Choice(["nhwc", "nchw"]),
    default="nhwc",
    show_default=True,
    help="Layout of 4-D inputs and outputs of TFLite files; those of other ranks, and ONNX files, "
    "keep the network's own.",
)
@click.option(
    "--io",
    type=click.Choice([io.value for io in IoType]),
    default="float32",
    show_default=True,
    help="Element type of inputs and outputs: int8 and uint8 for int8 files, int16 for int16x8, "
    "float16 for float16 ONNX files.",
)
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Text file with a class name a line."
)
@click.option(
    "--onnx-activations",
    type=click.Choice(["uint8", "int8"]),
    default="uint8",
    show_default=True,
    help="How int8 ONNX files store activations: the same integers, shifted.",
)
@click.option(
    "--min-sqnr",
    metavar="DB",
    type=float,
    help="Take more trouble with int8 until its SQNR against float is this high; shows what each "
    "step gained and cost.",
)
@click.option(
    "--accuracy-budget",
    metavar="PERCENT",
    type=percent,
    help="The same until int8 loses no more top-1 than this, as in 1%, on the --labeled data.",
)
@click.option(
    "--labeled",
    type=click.Path(path_type=Path),
    help="Folder with a folder of images a class, or .npz with x and y; for --accuracy-budget.",
)
@click.option(
    "--runtime",
    metavar="RELEASE",
    help="Refuse TFLite files that this release does not load, as in tflite-runtime==2.14.",
)
@click.option(
    "--target",
    "device",
    metavar="DEVICE",
    help="Probe it first, and write what its runtimes load: local, local:PYTHON, "
    "ssh://[user@]host[:port][/PYTHON], emulated:BOARD, or a name in devices.toml.",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="The bundle's folder.  [default: ./NAME]"
)
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@click.option("--no-verify", is_flag=True, help="Keep files that fail verification.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no summary.")
def command(
    model: str,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    labels: Path | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    no_verify: bool,
    min_sqnr: float | None,
    accuracy_budget: float | None,
    labeled: Path | None,
    device: str | None,
    **options: Any,
) -> None:
    """Export MODEL to ONNX and TFLite files, each verified on its runtime.

    MODEL is a name of the zoo (`edgeconv models`), file.py:factory, package.module:factory, or
    file.onnx, float or quantized.
    """
    from edgeconv.export.target import Wish, choose
    from edgeconv.report.repair import print_attempts
    from edgeconv.report.tables import error_console, printable, progress

    precisions = [Precision(name) for name in options["precisions"]] or None
    wish = Wish(
        formats=[Format(name) for name in options["formats"]] or None,
        precisions=precisions,
        opset=options["opset"],
        runtime=options["runtime"],
        own_opset=Path(model).suffix == ".onnx",
    )
    target = None if device is None else _probe(device, quiet or as_json)
    choice = choose(target, wish)
    if choice.note is not None and not quiet:
        error_console().print(f"note: {printable(choice.note)}")
    with progress(quiet or as_json) as bar:
        task = bar.add_task("Starting", total=None)
        # Imported under the progress display: torch alone takes a second or two.
        from edgeconv.export import (
            ActivationType,
            Layout,
            QuantizeOptions,
            RangeMethod,
            Rounding,
        )
        from edgeconv.export.accuracy_budget import Repaired, export_within
        from edgeconv.export.api import carry_out
        from edgeconv.export.pipeline import file_stem
        from edgeconv.export.quantize.accuracy.escalation import Budget
        from edgeconv.export.request import Request

        request = Request(
            model=model,
            out=out or Path(file_stem(model)),
            formats=choice.formats,
            precisions=precisions,
            calibration=options["calibration"],
            calibration_size=options["calibration_size"],
            input_size=options["input_size"],
            batch=options["batch"],
            opset=options["opset"],
            highest_opset=choice.highest_opset,
            layout=Layout(options["layout"]),
            io=IoType(options["io"]),
            weights=options["weights"],
            pretrained=options["pretrained"],
            model_args=dict(options["model_args"]),
            preprocessing=preprocessing(mean, std),
            labels=_labels(labels),
            quantization=QuantizeOptions(
                activation_type=ActivationType(options["onnx_activations"]),
                range_method=RangeMethod(options["range_method"] or "auto"),
                equalization=options["equalization"],
                bias_absorption=options["bias_absorption"],
                bias_correction=options["bias_correction"],
                rounding=Rounding(options["rounding"]),
            ),
            runtime=choice.runtime,
            target=target,
            force=options["force"],
            verify=not no_verify,
            progress=lambda step, done, total: _show(bar, task, step, done, total),
        )
        budget = Budget(min_sqnr, accuracy_budget)
        if budget == Budget():
            result = Repaired((), carry_out(request))
        else:
            result = export_within(request, budget, labeled=labeled, latency=_latency)
    if result.attempts and not (as_json or quiet):
        print_attempts(result.attempts)
    bundle = result.bundle
    if bundle is None:
        raise EdgeconvError(
            f"none of {len(result.attempts)} attempts meets the budget (the best reached "
            f"{max(attempt.figures.sqnr_db for attempt in result.attempts):.1f} dB), and nothing "
            "was written; "
            "calibrate with more or better data, or ask for less"
        )
    if as_json:
        click.echo(bundle.manifest.model_dump_json(indent=2))
    elif not quiet:
        _summarize(bundle)


def _probe(device: str, quiet: bool) -> Target:
    from edgeconv.device import open_device
    from edgeconv.device.facts import target_of
    from edgeconv.report.tables import printable, progress

    with progress(quiet) as bar:
        bar.add_task(f"Probing {printable(device)}", total=None)
        opened = open_device(device)
        return target_of(opened.name, opened.probe())


def _latency(files: Sequence[Path]) -> list[float]:
    """The median of each file in nanoseconds: enough runs to tell a tenth, not a hundredth."""
    from edgeconv.bench import BenchOptions, measure
    from edgeconv.device import open_device

    options = BenchOptions(repetitions=1, runs=20, seconds=0.2, warmup=0.1, retries=0)
    result = measure(files, options, open_device("local"), alone=False)
    return [model.summary.median.value for model in result.models]


def _show(bar: Progress, task: Any, step: str, done: int, total: int) -> None:
    bar.update(task, description=step, completed=done, total=total)


def _labels(path: Path | None) -> tuple[str, ...] | None:
    if path is None:
        return None
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    return tuple(path.read_text(encoding="utf-8").splitlines())


def _summarize(bundle: Bundle) -> None:
    from edgeconv.report.bundle import print_bundle

    print_bundle(bundle)
