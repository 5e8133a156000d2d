"""The command line as a whole: light, complete, and true to the settings behind it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import click
import pytest
from pydantic import ConfigDict, TypeAdapter
from torch import nn
from torch.export import ExportedProgram

from edgeconv.cli import (
    COMMANDS,
    blame_command,
    cli,
    cost_command,
    export_command,
    inspect_command,
    models_command,
)
from edgeconv.cli.settings import fill, groups_of
from edgeconv.export import QuantizeOptions, export
from edgeconv.export.capture.model_in_memory import InMemory
from edgeconv.export.choices import Choice, Choices, OptionalChoice
from edgeconv.export.request import ExportRequest
from edgeconv.report.tables import printable


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_help_imports_nothing_heavy() -> None:
    loaded = run(
        "import sys\nsys.argv = ['edgeconv', '--help']\nfrom edgeconv.cli import main\n"
        "try: main()\nexcept SystemExit: print(*sys.modules)"
    ).split()
    heavy = {"torch", "onnx", "onnxruntime", "numpy", "pydantic", "rich", "ai_edge_litert"}
    assert heavy.isdisjoint(loaded)


@pytest.mark.parametrize("own", ["ACTIVE", None])
def test_threads_that_wait_leave_the_processor_to_others(own: str | None) -> None:
    """OpenMP reads the variable when PyTorch is imported, so it has to stand by then."""
    before = f"os.environ['OMP_WAIT_POLICY'] = {own!r}" if own else "pass"
    said = run(
        f"import os, sys\n{before}\nsys.argv = ['edgeconv', '--help']\n"
        "from edgeconv.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    assert said.split()[-2:] == [own or "PASSIVE", "False"]


def test_importing_the_package_imports_no_torch() -> None:
    assert "torch" not in run("import sys, edgeconv, edgeconv.bundle; print(*sys.modules)").split()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_there_with_help(name: str) -> None:
    command = command_of(name)
    assert command.name == name
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts} has no help"
            if "--quiet" in parameter.opts:
                assert "-q" in parameter.opts
                assert re.search("the table is printed|no table|no summary", str(parameter.help))


SETTINGS = {
    "blame": blame_command.BlameSettings,
    "cost": cost_command.CostSettings,
    "export": export_command.ExportSettings,
    "inspect": inspect_command.InspectSettings,
    "models": models_command.ModelsSettings,
}
# What a parameter may be given, where its type does not say it.
TEXTS = {
    "about": ["author=Ada"],
    **dict.fromkeys(("input_size",), ("224", "1x28x28", "1,12,8")),
    **dict.fromkeys(("mean", "std"), ("0.5,0.25",)),
    **dict.fromkeys(("model_args",), ("classes=3", "flag=true")),
    **dict.fromkeys(("accuracy_budget",), ("1%",)),
    **dict.fromkeys(("max_size",), ("500kB",)),
    **dict.fromkeys(("max_latency",), ("5ms",)),
    **dict.fromkeys(("labels",), (__file__,)),
    **dict.fromkeys(("layers",), (str(Path(__file__).with_name("layers.toml")),)),
}


def command_of(name: str) -> click.Command:
    with click.Context(cli) as context:
        command = cli.get_command(context, name)
    assert command is not None
    return command


# What settings import for type checkers only.
_FOR_CHECKERS = {"nn": nn, "ExportedProgram": ExportedProgram, "InMemory": InMemory}


def field_types(kind: type[Any]) -> dict[str, Any]:
    """Every field of a settings object and of its groups, with its type."""
    found: dict[str, Any] = {}
    for group in (*groups_of(kind).values(), kind):
        found |= get_type_hints(group, localns=_FOR_CHECKERS)
    return {name: _given_type(hint) for name, hint in found.items() if name not in groups_of(kind)}


def _given_type(hint: Any) -> Any:
    """What a field takes; the types of fields for choices say it by their argument."""
    if get_origin(hint) is Choice:
        return get_args(hint)[0]
    if get_origin(hint) is OptionalChoice:
        return get_args(hint)[0] | None
    if get_origin(hint) is Choices:
        return tuple[get_args(hint)[0], ...] | None
    return hint


def given(parameter: click.Parameter) -> Iterator[list[str]]:
    """Ways to give a parameter on the command line."""
    if isinstance(parameter, click.Option) and parameter.is_flag:
        yield from ([option] for option in (*parameter.opts, *parameter.secondary_opts))
        return
    texts = list(TEXTS.get(str(parameter.name), ["1"]))
    if isinstance(parameter.type, click.Choice):
        texts = [str(choice) for choice in parameter.type.choices]
    option = parameter.opts[:1] if isinstance(parameter, click.Option) else []
    for text in texts:
        yield [*option, text] * (2 if parameter.multiple else 1)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_what_click_parses_has_the_type_of_its_field(name: str) -> None:
    command, hints = command_of(name), field_types(SETTINGS[name])
    strict = ConfigDict(strict=True, arbitrary_types_allowed=True)
    required = {p.name: next(given(p)) for p in command.params if p.required}
    for parameter in command.params:
        rest = [
            text for name, texts in required.items() if name != parameter.name for text in texts
        ]
        for texts in given(parameter):
            parsed = command.make_context(name, [*rest, *texts]).params
            for field, value in parsed.items():
                TypeAdapter(hints[field], config=strict).validate_python(value)
            fill(SETTINGS[name], parsed)


def test_every_option_of_a_request_is_on_the_command_line() -> None:
    names = {parameter.name for parameter in command_of("export").params}
    asked = {field.name for field in fields(ExportRequest)}
    # Made of --target, the options of QuantizeOptions, and the display.
    assert asked - names == {"target", "quantization", "progress"}
    # The steps of a budget, the graph and --io set them; a person does not.
    assert {field.name for field in fields(QuantizeOptions)} - names == {
        "chosen",
        "float_places",
        "repair_to",
        "integer_outputs",
        "input_integers",
    }


def test_a_parameter_without_a_field_is_an_error() -> None:
    with pytest.raises(TypeError, match="no field for force"):
        fill(models_command.ModelsSettings, {"pattern": "*", "as_json": True, "force": True})


def test_the_function_takes_the_arguments_of_a_request() -> None:
    assert signature(export).parameters == signature(ExportRequest).parameters
    for field in fields(ExportRequest):
        assert f"\n    {field.name}: " in str(export.__doc__)


def edgeconv(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line, after some code."""
    program = f"import sys\nsys.argv = ['edgeconv', *{arguments!r}]\n{code}\n"
    return subprocess.run(
        [sys.executable, "-c", f"{program}from edgeconv.cli import main\nmain()"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


# A command that imports no torch: what is shown is the same for all.
PROBE = ["devices", "probe", "local"]
BROKEN = """
import edgeconv.device
def broken(name): raise ValueError("the flux\\ncapacitor")
edgeconv.device.open_device = broken
"""
LARGE = """
import edgeconv.device
import numpy
edgeconv.device.open_device = lambda name: numpy.empty(10**18)
"""
# NumPy makes an ImportError of an interruption while it is imported.
INTERRUPTED = """
import os, signal
import edgeconv.device
def broken(name):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise ImportError("initialization failed") from None
edgeconv.device.open_device = broken
"""
FAILURES = [
    (["exprot"], "", 2, "no such command 'exprot'", "see `edgeconv --help`"),
    (["--debgu"], "", 2, "no such option", "see `edgeconv --help`"),
    (["export"], "", 2, "missing argument 'MODEL'", "see `edgeconv export --help`"),
    (["export", "x", "--formt", "onnx"], "", 2, "--formt", "see `edgeconv export --help`"),
    (
        ["export", "x", "--batch", "0"],
        "",
        2,
        "0 is not in the range",
        "see `edgeconv export --help`",
    ),
    (["blame", "x", "--limit", "few"], "", 2, "'few' is not a whole number", "see `edgeconv blame"),
    (["sweep", "best"], "", 2, "there is no sweep.json here", "run `edgeconv sweep PLAN` first"),
    (["models", "a", "b"], "", 2, "unexpected extra argument", "see `edgeconv models --help`"),
    (["cost"], "", 2, "cost takes either a MODEL or --conv", "name a MODEL"),
    (["inspect", "nowhere.onnx"], "", 2, "there is no file nowhere.onnx", "name an .onnx"),
    (["verify", "nowhere"], "", 2, "nowhere", ""),
    (PROBE, BROKEN, 1, "internal: ValueError: the flux\\ncapacitor", "report it with"),
    (PROBE, INTERRUPTED, 130, "interrupted", ""),
    (PROBE, LARGE, 1, "there is not enough memory", "check the sizes"),
]


@pytest.mark.parametrize(("arguments", "code", "exit_code", "message", "hint"), FAILURES)
def test_a_failure_is_an_error_and_a_hint(
    arguments: list[str], code: str, exit_code: int, message: str, hint: str
) -> None:
    done = edgeconv(*arguments, "--json", code=code)
    assert done.returncode == exit_code, done.stderr
    error, *rest = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert message in error
    if hint:
        assert rest[0].startswith(f"hint: {hint}")
    assert len(rest) <= 1
    printed = json.loads(done.stdout)
    assert printed["schema_version"] == 1
    assert printed["exit_code"] == exit_code
    assert f"error: {printable(printed['error']['message'])}" == error
    assert [f"hint: {printed['error']['hint']}"] == (rest or ["hint: "])


@pytest.mark.parametrize("failure", [FAILURES[0], FAILURES[9], FAILURES[11]])
def test_without_json_a_failure_prints_no_document(
    failure: tuple[list[str], str, int, str, str],
) -> None:
    """Of a command line, of a command and of our own code."""
    arguments, code, exit_code, message, _ = failure
    done = edgeconv(*arguments, code=code)
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert message in done.stderr


WARNS = """
import logging
import edgeconv.device
from edgeconv.errors import EdgeconvError, Notice
def warns(name):
    logger = logging.getLogger("edgeconv.models")
    logger.warning(Notice("the flux\\x1b[31m is weak", "charge\\nit"))
    logger.warning(Notice("the clock is %s fast", ""))
    logger.warning("the road is %d m short", 3)
    raise EdgeconvError("that was all")
edgeconv.device.open_device = warns
"""


def test_a_warning_and_its_hint_are_two_printable_lines() -> None:
    assert edgeconv(*PROBE, code=WARNS).stderr.splitlines() == [
        "warning: the flux\\x1b[31m is weak",
        "hint: charge\\nit",
        "warning: the clock is %s fast",
        "warning: the road is 3 m short",
        "error: that was all",
    ]


OTHERS = """
import logging, os
import edgeconv.device

def talks(text):
    loud = logging.getLogger("a.client")
    loud.setLevel(logging.WARNING)  # its own: that of the root logger is not asked
    loud.warning("retrying in 8 s")
    raise SystemExit(os.environ.get("HF_HUB_VERBOSITY"))
edgeconv.device.open_device = talks
"""


def test_libraries_talk_only_if_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a connection timm's downloads printed forty lines, each twice."""
    monkeypatch.delenv("HF_HUB_VERBOSITY", raising=False)
    assert edgeconv(*PROBE, code=OTHERS).stderr == "error\n"
    assert "WARNING a.client: retrying in 8 s" in edgeconv("--debug", *PROBE, code=OTHERS).stderr
    monkeypatch.setenv("HF_HUB_VERBOSITY", "info")
    assert edgeconv(*PROBE, code=OTHERS).stderr == "info\n"


def test_faults_are_reported_where_the_project_says() -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    (line,) = (x for x in pyproject.read_text().splitlines() if x.startswith("Issues = "))
    address = line.partition('"')[2].rstrip('"')
    assert edgeconv(*PROBE, code=BROKEN).stderr.endswith(f" at {address}\n")


def test_the_traceback_of_an_internal_error_is_in_debug() -> None:
    done = edgeconv("--debug", *PROBE, code=BROKEN)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_no_command_shows_the_help() -> None:
    done = edgeconv()
    assert done.returncode == 2
    assert "Commands:" in done.stderr
    assert "error:" not in done.stderr


def test_help_is_quick() -> None:
    """In CPU time, because other programs may run beside the test."""
    times = []
    for _ in range(3):
        before = os.times()
        subprocess.run(
            [sys.executable, "-m", "edgeconv", "--help"], stdout=subprocess.DEVNULL, check=True
        )
        after = os.times()
        times.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    assert min(times) < 0.2


def test_version() -> None:
    assert (
        run("import edgeconv; print(edgeconv.__version__)").strip()
        in subprocess.run(
            [sys.executable, "-m", "edgeconv", "--version"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m edgeconv models --json | head -c 10"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_current_folder_that_was_removed_is_named(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "os.chdir(sys.argv.pop())\n"
        "os.rmdir(os.getcwd())\n"
        "sys.argv[0] = 'edgeconv'\n"
        "from edgeconv.cli import main\nmain()"
    )
    command = [sys.executable, "-c", code, "models", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: No such file or directory",
        "hint: the current folder may have been removed: change to another one",
    ]
