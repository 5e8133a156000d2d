"""The options that commands on a network have in common, each said once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeconv.cli.values import input_size, key_value, numbers
from edgeconv.errors import UsageError

if TYPE_CHECKING:
    from edgeconv.bundle import Preprocessing

Command = TypeVar("Command", bound=Callable[..., Any])

_NETWORK = (
    click.option(
        "--input-size",
        metavar="SIZE",
        type=input_size,
        help="224, 192x160 (height x width) or 1x28x28 (channels first); 20x184 for networks that "
        "begin with a Conv1d. Any other input: its whole shape, batch first, with commas, as in "
        "1,12,8 or 1,2,8,16,16.",
    ),
    click.option(
        "--weights", type=click.Path(path_type=Path), help=".safetensors, .pth or .pt file."
    ),
    click.option(
        "--pretrained",
        is_flag=True,
        help="Download the weights that torchvision publishes for a network of the zoo, once.",
    ),
    click.option(
        "--model-arg",
        "model_args",
        metavar="KEY=VALUE",
        type=key_value,
        multiple=True,
        help="Argument of the network's factory, as in width_mult=0.5. Repeatable.",
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
_RANGE_METHODS = ("auto", "minmax", "percentile", "mse", "entropy")


def network_options(command: Command) -> Command:
    """Which network, with which weights, on which input: ``input_size``, ``weights``,
    ``pretrained``, ``model_args``, ``mean`` and ``std``.
    """
    return _with(_NETWORK, command)


def calibration_options(range_default: str) -> Callable[[Command], Command]:
    """How int8 comes about: ``calibration_size``, ``range_method``, ``equalization`` and
    ``bias_absorption``.

    Args:
        range_default: in words; a ``range_method`` that was not stated is None.
    """
    options = (
        click.option(
            "--calibration-size",
            type=click.IntRange(min=1),
            default=128,
            show_default=True,
            help="How many samples to calibrate on.",
        ),
        click.option(
            "--range",
            "range_method",
            type=click.Choice(_RANGE_METHODS),
            help="How calibration chooses the ranges of activations; auto measures which is best. "
            f" [default: {range_default}]",
        ),
        click.option(
            "--equalization/--no-equalization",
            default=True,
            help="Even out the ranges of channels across layers.  [default: where it helps]",
        ),
        click.option(
            "--bias-absorption/--no-bias-absorption",
            default=True,
            help="Move high biases into the next layer.  [default: where it helps]",
        ),
    )
    return lambda command: _with(options, command)


def preprocessing(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> Preprocessing | None:
    """What ``--mean`` and ``--std`` say; None if nothing.

    Raises:
        UsageError: one is missing, their lengths differ, or a deviation is zero.
    """
    from edgeconv.bundle import Preprocessing

    if mean is None and std is None:
        return None
    if mean is None or std is None or len(mean) != len(std):
        raise UsageError("--mean and --std go together, with one number a channel each")
    if 0 in std:
        raise UsageError("--std must not be zero")
    return Preprocessing(resize=None, mean=mean, std=std)


def _with(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    # The last one applied is the first one listed.
    for option in reversed(options):
        command = option(command)
    return command
