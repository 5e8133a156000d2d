"""Options that commands have in common mean the same in each."""

from __future__ import annotations

import click
import pytest

from edgeconv.cli import blame_command, export_command
from edgeconv.cli.shared_options import preprocessing
from edgeconv.errors import UsageError

SHARED = {
    *("input_size", "weights", "pretrained", "model_args", "mean", "std"),
    *("calibration_size", "equalization", "bias_absorption"),
}


def options(command: click.Command) -> dict[str, click.Parameter]:
    return {str(parameter.name): parameter for parameter in command.params}


def test_they_are_the_same() -> None:
    context = click.Context(click.Command("any"))
    export, blame = options(export_command.command), options(blame_command.command)
    for name in SHARED:
        ours, theirs = (each[name].get_help_record(context) for each in (export, blame))
        assert ours is not None
        assert theirs is not None
        # Only export has --effort, from which some defaults follow.
        assert [text.partition(" [default")[0] for text in ours] == [
            text.partition(" [default")[0] for text in theirs
        ]
        both = (each[name].to_info_dict() | {"help": ""} for each in (export, blame))
        assert next(both) == next(both)


def test_the_range_method_has_a_default_of_its_own() -> None:
    for command, default, words in (
        (export_command.command, "auto", "[default: auto]"),
        (blame_command.command, None, "[default: as the bundle, or as export]"),
    ):
        option = options(command)["range_method"]
        context = click.Context(command)
        assert option.get_default(context) == default
        assert isinstance(option, click.Option)
        assert str(option.help).endswith(f".  {words}")


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        *(((0.5,), None), (None, (0.5,)), ((0.5,), (0.1, 0.2)), ((0.5,), (0.0,))),
        *(((float("nan"),), (0.5,)), ((0.5,), (float("inf"),)), ((0.5,), (-0.5,))),
    ],
)
def test_what_is_no_preprocessing(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> None:
    with pytest.raises(UsageError, match="std"):
        preprocessing(mean, std)


def test_preprocessing() -> None:
    assert preprocessing(None, None) is None
    stated = preprocessing((0.5,), (0.25,))
    assert stated is not None
    assert (stated.mean, stated.std) == ((0.5,), (0.25,))
