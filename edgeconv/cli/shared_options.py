"""The options that commands on a network have in common, each stated once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from edgeconv.bundle import Preprocessing
from edgeconv.cli.values import EnumChoice, as_dict, input_size, key_value, numbers
from edgeconv.errors import UsageError
from edgeconv.export.quantize_options import QuantizeOptions, RangeMethod
from edgeconv.export.request import ExportRequest

Command = TypeVar("Command", bound=Callable[..., Any])

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
    help="Argument of the network's factory, as in width_mult=0.5. Repeatable.",
)
_NETWORK = (
    input_size_option,
    click.option(
        "--weights", type=click.Path(path_type=Path), help=".safetensors, .pth or .pt file to load."
    ),
    click.option(
        "--pretrained",
        is_flag=True,
        help="Download the weights that torchvision publishes for a network of the zoo, once.",
    ),
    model_args_option,
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

    They are ``input_size``, ``weights``, ``pretrained``, ``model_args``, ``mean`` and ``std``.
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
            help="Even out the ranges of channels across layers, where it helps.  [default: from "
            "effort 1 on]",
        ),
        click.option(
            "--bias-absorption/--no-bias-absorption",
            default=QuantizeOptions.bias_absorption,
            help="Move high biases into the next layer, where it helps.  [default: from effort 1 "
            "on]",
        ),
    )
    return lambda command: _with(options, command)


def preprocessing(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> Preprocessing | None:
    """Make a preprocessing from ``--mean`` and ``--std``; None if neither was given.

    Raises:
        UsageError: One is missing, their lengths differ, or a deviation is zero.
    """
    if mean is None and std is None:
        return None
    if mean is None or std is None or len(mean) != len(std):
        raise UsageError(
            "--mean and --std go together", hint="give both, with one number per channel each"
        )
    if 0 in std:
        raise UsageError("--std must not be zero")
    return Preprocessing(resize=None, mean=mean, std=std)


def given_options(names: Iterable[str]) -> list[str]:
    """The flags, such as ``--model-arg``, of those parameters that are on the command line."""
    context = click.get_current_context()
    flags = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    return [
        flags[name]
        for name in names
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]


def _with(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    # The last one applied is the first one listed.
    for option in reversed(options):
        command = option(command)
    return command
