"""``edgeconv export``: a network becomes verified ONNX and TFLite files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.bundle import Bundle, Format, IoType, Layout, OutputKind, Precision
from edgeconv.cli import kept
from edgeconv.cli.command_class import Command
from edgeconv.cli.completions import complete_device, complete_file, complete_model
from edgeconv.cli.next_command import suggest
from edgeconv.cli.option_groups import OF_INT8
from edgeconv.cli.settings import takes
from edgeconv.cli.shared_options import (
    calibration_options,
    network_options,
    preprocessing,
    task_options,
)
from edgeconv.cli.values import (
    EnumChoice,
    as_dict,
    as_names,
    as_set,
    given_options,
    key_text,
    layer_rules,
    lines,
    negated,
    none_if_empty,
    percent,
    stated,
)
from edgeconv.errors import IncompleteExport, UsageError
from edgeconv.export.quantize_options import (
    MAX_EFFORT,
    ActivationType,
    QuantizeOptions,
    Rounding,
)
from edgeconv.export.request import ExportRequest
from edgeconv.progress import StepTimes
from edgeconv.units import bytes_of, seconds_of

if TYPE_CHECKING:
    from edgeconv.bundle import Target
    from edgeconv.export.accuracy_budget import Escalated
    from edgeconv.export.request import ResolvedRequest


@dataclass(frozen=True)
class ExportSettings:
    """What the command line asks of an export; the groups are filled by the names of options.

    Attributes:
        request: The export itself, without what the other fields say.
        quantization: How int8 files are made.
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        device: The address of the target.
        as_json: Whether to print the manifest.
        quiet: Whether to print nothing.
    """

    request: ExportRequest
    quantization: QuantizeOptions
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    device: str | None
    as_json: bool
    quiet: bool


@click.command(
    "export",
    cls=Command,
    grouped=True,
    examples=(
        "edgeconv export mobilenet_v2 --pretrained --calibration photos",
        "edgeconv export timm:mobilenetv3_small_100 --pretrained --format tflite -o out",
        "edgeconv export net.py:make --weights w.pt --input-size 96 --calibration data",
        "edgeconv export net.onnx --calibration data --labeled val --accuracy-budget 1%",
    ),
)
@click.argument("model", shell_complete=complete_model)
@click.option(
    "--format",
    "formats",
    type=EnumChoice(Format),
    multiple=True,
    callback=none_if_empty,
    help="Format to write. Repeatable; by default both, or those that --target runs.",
)
@click.option(
    "--precision",
    "precisions",
    type=EnumChoice(Precision),
    multiple=True,
    callback=none_if_empty,
    help="Precision to write. Repeatable; by default float32, and int8 where --calibration is "
    "given. A network that is quantized already has its own.",
)
@click.option(
    "--calibration",
    metavar="PATH",
    shell_complete=complete_file,
    help="Folder or .tar of images, .npy, .npz or file.py:function; or 'random' for synthetic "
    "inputs.",
)
@calibration_options()
@click.option(
    "--effort",
    type=click.IntRange(0, MAX_EFFORT),
    default=QuantizeOptions.effort,
    show_default=True,
    help="How much is tried for the accuracy of int8: 0 takes min-max ranges as they are; 1 tries "
    "other ranges, equalization and bias correction; 2 reconstruction, in minutes; 3 ever longer "
    "adaptive rounding, as long as it gains. The summary shows what each step gains and costs.",
)
@click.option(
    "--bias-correction/--no-bias-correction",
    default=QuantizeOptions.bias_correction,
    help="Correct the mean error of each channel, where it helps.  [default: from effort 1 on]",
)
@click.option(
    "--reconstruction/--no-reconstruction",
    default=QuantizeOptions.reconstruction,
    help="Fit each layer to what the layers before it put out in integers, where it helps.  "
    "[default: from effort 2 on]",
)
@click.option(
    "--rounding",
    type=EnumChoice(Rounding),
    help="How weights become integers; adaptive (AdaRound) takes minutes.  [default: nearest, "
    "adaptive at effort 3]",
)
@click.option(
    "--repair/--no-repair",
    default=QuantizeOptions.repair,
    help="Leave operators in float where an output, or a part of a joined one, would keep less "
    "than 10 dB.  [default: from effort 1 on]",
)
@click.option(
    "--keep-float",
    metavar="PATTERN",
    multiple=True,
    callback=as_set,
    help="Leave these layers in float: a name that `edgeconv blame` prints, or a pattern such as "
    "'head.*'. Repeatable.",
)
@click.option(
    "--layers",
    metavar="FILE",
    shell_complete=complete_file,
    type=layer_rules,
    default=(),
    help="TOML file with precisions by layer: [[layer]] with name (or pattern), precision "
    "(float32, float16, int16, int8), weights (per-channel, per-tensor) and activations "
    "(asymmetric, symmetric). The first rule that matches a layer counts.",
)
@network_options
@click.option("--batch", type=click.IntRange(min=1), help="Static batch size.  [default: 1]")
@click.option(
    "--dynamic-batch",
    is_flag=True,
    help="One file for every batch size; each is verified at several.",
)
@click.option("--opset", type=int, help="ONNX opset, 18 to 23.  [default: 20, or the file's own]")
@click.option(
    "--layout",
    type=EnumChoice(Layout),
    default=ExportRequest.layout.value,
    show_default=True,
    help="Layout of 4-D inputs and outputs of TFLite files. Those of other ranks, and ONNX files, "
    "keep the network's own.",
)
@click.option(
    "--io",
    type=EnumChoice(IoType),
    default=ExportRequest.io.value,
    show_default=True,
    help="Element type of inputs and outputs: int8 and uint8 for int8 files, int16 for int16x8, "
    "float16 for float16 ONNX files.",
)
@click.option(
    "--output",
    type=EnumChoice(OutputKind),
    help="What the files of a classifier give: probabilities (a Softmax behind the scores), the "
    "label (the index of the best class), top5 (the indices and probabilities of the five best "
    "classes), or logits.  [default: what the network computes]",
)
@click.option(
    "--cut-outputs",
    metavar="NAME,…",
    multiple=True,
    callback=as_names,
    help="Tensors or nodes of the graph that become the outputs; what is behind them is left out. "
    "`edgeconv inspect` and refusals print the names. Repeatable.",
)
@click.option(
    "--split-outputs",
    is_flag=True,
    help="Make each part of a concatenated output an output by itself, called NAME_0, NAME_1, … "
    "With integer outputs each part then has a scale of its own.",
)
@click.option(
    "--labels",
    metavar="FILE",
    type=lines,
    shell_complete=complete_file,
    help="Text file with one class name per line.",
)
@click.option(
    "--about",
    metavar="KEY=TEXT",
    type=key_text,
    multiple=True,
    callback=as_dict,
    help="What the files say of the network: description, version, author or license. Repeatable.",
)
@click.option(
    "--onnx-activations",
    "activation_type",
    type=EnumChoice(ActivationType),
    default=QuantizeOptions.activation_type.value,
    show_default=True,
    help="How int8 ONNX files store activations: the same integers, shifted.",
)
@click.option(
    "--min-sqnr",
    metavar="DB",
    type=float,
    help="Escalate int8 (ranges, equalization, bias correction, reconstruction, AdaRound, float "
    "fallback) until its SQNR against float reaches DB; shows what each step gained and cost.",
)
@click.option(
    "--accuracy-budget",
    metavar="PERCENT",
    type=percent,
    help="Escalate int8 until it loses no more accuracy than this, as in 1%, on the --labeled "
    "data: points of a share such as top-1, percent of another figure.",
)
@click.option(
    "--max-size",
    metavar="SIZE",
    type=stated(bytes_of),
    help="Refuse int8 files that are larger, as in 500kB or 2MB.",
)
@click.option(
    "--max-latency",
    metavar="TIME",
    type=stated(seconds_of),
    help="Refuse int8 files that take longer than this, as in 5ms, with one thread of --target, "
    "or of this machine.",
)
@click.option(
    "--search",
    is_flag=True,
    help="Search precision by layer: the front of accuracy against cost among int8, int16 and "
    "float32. Where plain int8 does not meet the budgets, they choose from it; otherwise it is "
    "printed. The choice is recipe.toml in the bundle, for --layers.",
)
@click.option(
    "--labeled",
    type=click.Path(path_type=Path),
    help="Folder with one folder of images per class, .npz with x and y, or what else --task "
    "takes; for --accuracy-budget.",
)
@task_options
@click.option(
    "--runtime",
    metavar="RELEASE",
    help="Refuse TFLite files that this release does not load, as in tflite-runtime==2.14.",
)
@click.option(
    "--target",
    "device",
    metavar="DEVICE",
    shell_complete=complete_device,
    help="Probe this device first, and write what its runtimes load: local, local:PYTHON, "
    "ssh://[user@]host[:port][/PYTHON], emulated:BOARD, or a name in devices.toml.",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="The bundle's folder.  [default: ./NAME]"
)
@click.option("--name", help="What the files are named after.  [default: the network]")
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@click.option(
    "--no-verify",
    "verify",
    is_flag=True,
    callback=negated,
    help="Keep files that fail verification.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no summary.")
@takes(ExportSettings)
def command(settings: ExportSettings) -> None:
    """Export MODEL to ONNX and TFLite files, each verified on its runtime.

    MODEL is a name of the zoo (`edgeconv models`), timm:NAME, torchvision:NAME, file.py:factory,
    package.module:factory, file.pt2, or file.onnx, float or quantized.
    """
    from edgeconv.export.target import resolve_request
    from edgeconv.report.tables import print_notes, progress

    request = replace(
        settings.request,
        quantization=settings.quantization,
        preprocessing=preprocessing(settings.mean, settings.std, settings.request.preprocessing),
    )
    request.check()
    timed_on = _timed_on(settings)
    silent = settings.quiet or settings.as_json
    if settings.device is not None:
        request = replace(request, target=_probe(settings.device, silent))
    with progress("Starting", silent, steps=True) as show:
        times = StepTimes(show)
        resolved = resolve_request(replace(request, progress=times))
        _refuse_unused(resolved)
        if resolved.note is not None and not settings.quiet:
            print_notes([resolved.note])
        result, failed = _carry_out(resolved, timed_on)
        if result.bundle is not None:
            kept.made(result.bundle.path)
    _print(result, settings, times.seconds)
    if settings.device is not None and not silent:
        _point_out_slow_int8(result.met(), settings.device, request.runtime)
    if failed is not None:
        failed.after_result = True
        raise failed
    if not silent:
        device = () if settings.device is None else ("--device", settings.device)
        suggest("bench", result.met().path, *device)


def _refuse_unused(request: ResolvedRequest) -> None:
    """Raise UsageError for options of int8 on the command line where no file is calibrated."""
    calibrated = any(precision.calibrated for precision in request.precisions)
    if not calibrated and (named := given_options(OF_INT8)):
        raise UsageError(
            f"{named[0]} is for the calibration of int8 and int16x8, and neither is calibrated",
            hint="pass --calibration, or --precision int8 beside it; or leave the option out",
        )


def _carry_out(
    resolved: ResolvedRequest, timed_on: str | None
) -> tuple[Escalated, IncompleteExport | None]:
    """The bundle, and what is missing in it."""
    from edgeconv.export.collected_seldom import collected_seldom

    with collected_seldom(frees=False):
        # Imported under the progress display: torch needs a second or two.
        from edgeconv.export.accuracy_budget import Escalated, export_within
        from edgeconv.export.api import carry_out

        if resolved.asked.has_budget:
            latency = partial(_latency, timed_on) if resolved.asked.is_limited else None
            return export_within(resolved, latency=latency), None
        try:
            return Escalated((), carry_out(resolved)), None
        except IncompleteExport as error:
            return Escalated((), Bundle.load(error.folder)), error


def _print(result: Escalated, settings: ExportSettings, seconds: Mapping[str, float]) -> None:
    from edgeconv.report.attempts import print_attempts
    from edgeconv.report.bundle import print_bundle
    from edgeconv.report.front import print_front
    from edgeconv.report.output import echo_json, echo_sentence

    if result.attempts and not (settings.as_json or settings.quiet):
        if result.front:
            print_front(result.front)
        if settings.request.is_limited:
            print_attempts(result.attempts, _timed_on(settings) or "this machine")
    bundle = result.met()
    if settings.as_json:
        echo_json(bundle.manifest)
    elif not settings.quiet:
        print_bundle(bundle, seconds=seconds)
        if (made_by := _factory(settings.request)) is not None:
            echo_sentence(f"weights: as {made_by} makes them; --weights loads others")


def _factory(request: ExportRequest) -> str | None:
    """The factory of the user's whose own weights were exported, if there is one.

    Whether they are trained shows nowhere: a factory may load some, or leave the first random ones.
    """
    spec = str(request.model)
    of_library = spec.startswith(("timm:", "torchvision:"))
    return spec if ":" in spec and not of_library and request.weights is None else None


def _point_out_slow_int8(bundle: Bundle, device: str, release: str | None) -> None:
    """Say which int8 files take more instructions than in float32, if the target counts them."""
    from edgeconv.cli.bench_options import EMULATED
    from edgeconv.cli.int8_counts import slower_int8
    from edgeconv.device.names import address_of
    from edgeconv.report.tables import print_notes, progress

    board = address_of(device)
    if board.startswith(EMULATED):
        with progress("Counting", quiet=False) as show:
            notes = slower_int8(bundle, board, release, show)
        print_notes(notes)


def _probe(device: str, quiet: bool) -> Target:
    from edgeconv.device import open_device
    from edgeconv.device.facts import target_of
    from edgeconv.report.tables import progress

    with progress(f"Probing {device}", quiet):
        opened = open_device(device)
        return target_of(opened.name, opened.probe())


def _timed_on(settings: ExportSettings) -> str | None:
    """The device whose latency counts; None for this machine, as for a target that is emulated.

    Raises:
        UsageError: A limit is meant for an emulated board.
    """
    from edgeconv.cli.bench_options import EMULATED
    from edgeconv.device.names import address_of

    if settings.device in (None, "local"):
        return None
    if not address_of(settings.device).startswith(EMULATED):
        return settings.device
    if settings.request.max_latency is not None:
        raise UsageError(
            f"{settings.device} is emulated, and has no latency of its own",
            hint="name the board itself in --target, as in ssh://pi@board, or leave it out to "
            "measure on this machine",
        )
    return None


def _latency(device: str | None, files: Sequence[Path]) -> list[float]:
    """Measure the median latency of each file on a device, or this machine, in nanoseconds.

    The runs are enough to see a difference of a tenth, not of a hundredth.
    """
    from edgeconv.bench import BenchOptions, measure
    from edgeconv.device import open_device

    options = BenchOptions(repetitions=1, runs=20, seconds=0.2, warmup=0.1, retries=0)
    result = measure(files, options, open_device(device or "local"), alone=device is not None)
    return [model.summary.median.value for model in result.models]
