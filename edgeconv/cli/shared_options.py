"""The options that commands on a network have in common, each stated once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from edgeconv.cli.completions import complete_preprocessing, complete_task
from edgeconv.cli.values import EnumChoice, as_dict, input_size, key_value, numbers
from edgeconv.errors import UsageError
from edgeconv.export.quantize_options import QuantizeOptions, RangeMethod
from edgeconv.export.request import ExportRequest
from edgeconv.preprocessing import Preprocessing
from edgeconv.versioned import first_problem

Command = TypeVar("Command", bound=Callable[..., Any])

wide_option = click.option(
    "--wide", is_flag=True, help="Show every column, also beyond 80 characters."
)

input_size_option = click.option(
    "--input-size",
    metavar="SIZE",
    type=input_size,
    help="Size of the input where the network leaves it open: 224, 192x160 (height x width) or "
    "1x28x28 (channels first); 20x184 for networks that begin with a Conv1d. For any other input, "
    "its whole shape, batch first, with commas: 1,12,8 or 1,2,8,16,16.",
)
model_args_option = click.option(
    "--model-arg",
    "model_args",
    metavar="KEY=VALUE",
    type=key_value,
    multiple=True,
    callback=as_dict,
    help="Argument of the network's factory: a number, true, false, None, a list or a text, as in "
    "width_mult=0.5 or out_indices=[1,2]. Repeatable.",
)
_NETWORK = (
    input_size_option,
    click.option(
        "--input",
        "inputs",
        metavar="NAME:SHAPE[:DTYPE]|image",
        multiple=True,
        help="One input of a network with several, or of other types, as in ids:1,16:int64; "
        "NAME=VALUE for an argument that is not a tensor. Repeatable. Or image: the files take the "
        "bytes of a picture, with scale, mean and std inside. image:nhwc has the channels last in "
        "ONNX files, too.",
    ),
    click.option(
        "--example",
        metavar="FILE.npz",
        type=click.Path(path_type=Path),
        help="What the network is called with, in place of --input: an array for each input.",
    ),
    click.option(
        "--weights",
        type=click.Path(path_type=Path),
        help=".safetensors, .pth, .pt, .ckpt, .bin, .pth.tar or .npz file to load.",
    ),
    click.option(
        "--weights-key",
        metavar="KEY",
        help="Where in that file the weights are, as in ema.  [default: where they usually are]",
    ),
    click.option(
        "--pretrained",
        is_flag=True,
        help="Download the published weights of a network of the zoo, of timm or of torchvision, "
        "once.",
    ),
    model_args_option,
    click.option(
        "--preprocess",
        "preprocessing",
        metavar="FILE.toml",
        shell_complete=complete_preprocessing,
        help="How images become inputs, where the network's own configuration does not say it: a "
        "file of the fields of Preprocessing, or timm, torchvision or none.",
    ),
    click.option(
        "--mean",
        metavar="NUMBERS",
        type=numbers,
        help="Mean of each channel, for pixels in [0, 1].",
    ),
    click.option(
        "--std", metavar="NUMBERS", type=numbers, help="Standard deviation of each channel."
    ),
)


def network_options(command: Command) -> Command:
    """Add the options that say which network, with which weights, on which input.

    They are ``input_size``, ``inputs``, ``example``, ``weights``, ``weights_key``, ``pretrained``,
    ``model_args``, ``preprocessing``, ``mean`` and ``std``.
    """
    return _with(_NETWORK, command)


def calibration_options(range_default: str | None = None) -> Callable[[Command], Command]:
    """Add the options that say how int8 is made.

    They are ``calibration_size``, ``range_method``, ``equalization`` and ``bias_absorption``.

    Args:
        range_default: What an omitted ``range_method``, which is None, stands for, in words; None
            for that of ``QuantizeOptions``.
    """
    stated = QuantizeOptions.range_method.value if range_default is None else range_default
    tried = "from effort 1 on" if range_default is None else "on"  # only export has --effort
    options = (
        click.option(
            "--calibration-size",
            type=click.IntRange(min=1),
            default=ExportRequest.calibration_size,
            show_default=True,
            help="How many samples to calibrate on.",
        ),
        click.option(
            "--range",
            "range_method",
            type=EnumChoice(RangeMethod),
            default=stated if range_default is None else None,
            help="How calibration chooses the ranges of activations; auto measures which is best. "
            f" [default: {stated}]",
        ),
        click.option(
            "--equalization/--no-equalization",
            default=QuantizeOptions.equalization,
            help="Even out the ranges of channels across layers, where it helps. "
            f" [default: {tried}]",
        ),
        click.option(
            "--bias-absorption/--no-bias-absorption",
            default=QuantizeOptions.bias_absorption,
            help=f"Move high biases into the next layer, where it helps.  [default: {tried}]",
        ),
    )
    return lambda command: _with(options, command)


def task_options(command: Command) -> Command:
    """Add the options that say what accuracy means: ``task`` and ``truth``."""
    options = (
        click.option(
            "--task",
            metavar="TASK",
            shell_complete=complete_task,
            default=ExportRequest.task,
            show_default=True,
            help="What accuracy means: classification, segmentation, regression (also of "
            "keypoints), embeddings, detection, or a function of your own: "
            "detection:file.py:decode for boxes of another form, file.py:metric for any other "
            "figure (docs/evaluation.md).",
        ),
        click.option(
            "--truth",
            metavar="PATH",
            type=click.Path(path_type=Path),
            help="What is true of the samples, if it is not among them: the folder of ImageNet's "
            "devkit, a folder of masks, or COCO's JSON.",
        ),
    )
    return _with(options, command)


def preprocessing(
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    stated: Preprocessing | str | Path | None = None,
) -> Preprocessing | str | Path | None:
    """What ``--preprocess`` states, or a preprocessing of ``--mean`` and ``--std``.

    Raises:
        UsageError: Both are given, one of the latter is missing, their lengths differ, or they
            are no mean and no deviation.
    """
    if mean is None and std is None:
        return stated
    if stated is not None:
        raise UsageError(
            "--preprocess and --mean exclude each other", hint="write mean and std into the file"
        )
    if mean is None or std is None or len(mean) != len(std):
        raise UsageError(
            "--mean and --std go together", hint="give both, with one number per channel each"
        )
    try:
        return Preprocessing.model_validate({"mean": mean, "std": std})
    except ValidationError as error:
        raise UsageError(
            f"--mean and --std: {first_problem(error)}",
            hint="give those of each channel, as in --mean 0.485,0.456,0.406 "
            "--std 0.229,0.224,0.225",
        ) from error


def _with(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    # The last one applied is the first one listed.
    for option in reversed(options):
        command = option(command)
    return command
