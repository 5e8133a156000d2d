"""What a caller from Python reads in place of options of the command line."""

from __future__ import annotations

import inspect
import re

import click
import pytest

from edgeconv.cli.blame_command import command as blame
from edgeconv.cli.export_command import command as export_command
from edgeconv.errors import Notice, UsageError
from edgeconv.export import QuantizeOptions, export
from edgeconv.preprocessing import Preprocessing
from edgeconv.python_names import ARGUMENTS, in_python

# What only the command line has.
_OF_THE_TERMINAL = {"--json", "--quiet", "--html"}


@pytest.mark.parametrize("command", [export_command, blame])
def test_every_option_has_its_argument(command: click.Command) -> None:
    names = {option for parameter in command.params for option in parameter.opts}
    options = {name for name in names if name.startswith("--")} - _OF_THE_TERMINAL
    if command is export_command:
        assert not options - set(ARGUMENTS)


@pytest.mark.parametrize("option", sorted(ARGUMENTS))
def test_every_argument_is_there(option: str) -> None:
    """The names are those of ``export``, or of the class that the text puts around them."""
    bare = ARGUMENTS[option].bare
    owner = re.search(r"(QuantizeOptions|Preprocessing)\((\w+)", bare)
    if owner is None:
        known = {*inspect.signature(export).parameters, "data"}  # data is of evaluate and blame
        assert bare.partition("=")[0] in known
    else:
        made = {"QuantizeOptions": QuantizeOptions, "Preprocessing": Preprocessing}[owner[1]]
        assert owner[2] in inspect.signature(made).parameters


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "pass --input-size, or of several inputs --input NAME:SHAPE for each",
            'pass input_size, or of several inputs inputs=["NAME:SHAPE"] for each',
        ),
        (
            "--batch 2 contradicts --input-size 1,12,8, which begins with the batch",
            'batch=2 contradicts input_size="1,12,8", which begins with the batch',
        ),
        ("leave --dynamic-batch out, or", "leave dynamic_batch=True out, or"),
        ("as in --input NAME:1,16:int64.", 'as in inputs=["NAME:1,16:int64"].'),
        ("pass --input image for bytes", 'pass inputs=["image"] for bytes'),
        ("with --precision int8-dynamic, or", 'with precisions=["int8-dynamic"], or'),
        ("pass --model-arg num_classes=35", 'pass model_args={"num_classes": 35}'),
        ("pass --model-arg width=VALUE", 'pass model_args={"width": VALUE}'),
        ("pass --weights-key student", 'pass weights_key="student"'),
        ("--weights-key chooses another", "weights_key chooses another"),
        ("with --cut-outputs boxes,scores, or", 'with cut_outputs=["boxes", "scores"], or'),
        ("the network (--cut-outputs) until it is;", "the network (cut_outputs) until it is;"),
        ("all of them with --example inputs.npz", 'all of them with example="inputs.npz"'),
        ("or pass --no-verify to keep it", "or pass verify=False to keep it"),
        (
            "pass --mean and --std if it was trained with them",
            "pass preprocessing=Preprocessing(mean=…, std=…) if it was trained with them",
        ),
        ("on from --effort 1", "on from quantization=QuantizeOptions(effort=1)"),
        ("choose another folder, as in --out out", 'choose another folder, as in out="out"'),
        # Commands stay commands, and options of other programs stay theirs.
        ("use `edgeconv export --max-latency`", "use `edgeconv export --max-latency`"),
        ("pip install --force-reinstall torch", "pip install --force-reinstall torch"),
    ],
)
def test_texts(text: str, shown: str) -> None:
    assert in_python(text) == shown


def test_errors_and_warnings_are_read_both_ways() -> None:
    error = UsageError("nothing has the size", hint="pass --input-size 64")
    assert str(error) == 'nothing has the size\nhint: pass input_size="64"'
    assert error.hint == "pass --input-size 64"  # which the command line prints
    assert str(Notice("the weights are random", "pass --pretrained")).endswith("pretrained=True")
