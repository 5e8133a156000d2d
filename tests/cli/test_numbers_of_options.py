"""Percentages and durations of the commands that measure: what is no such number is refused."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from edgeconv.cli import cli
from edgeconv.errors import UsageError

GATE = ("gate", "a.json", "--baseline", "b.json")
NO_NUMBER = ("nan", "inf", "-1", "1_0%", "\N{ARABIC-INDIC DIGIT THREE}%", "3%%", "three", "")


def refusal(*arguments: str) -> str:
    ran = CliRunner().invoke(cli, arguments)
    assert ran.exit_code == 2, (arguments, ran.output)
    return " ".join(ran.output.split())


@pytest.mark.parametrize("value", ["0%", "0", "100%", "250", *NO_NUMBER])
def test_detect(value: str) -> None:
    """0 % would be found by no measurement, and was taken for no question at all."""
    said = refusal("bench", "a.onnx", "--detect", value)
    assert f"{value} is not a number above 0 and below 100 such as 3%" in said


@pytest.mark.parametrize("value", NO_NUMBER)
@pytest.mark.parametrize("command", [GATE, ("bench", "a.onnx", "b.onnx", "--gate")])
def test_max_regression(command: tuple[str, ...], value: str) -> None:
    said = refusal(*command, "--max-regression", value)
    assert f"{value} is not a number from 0 up such as 3%" in said


@pytest.mark.parametrize("value", ["101", *NO_NUMBER])
def test_max_accuracy_loss(value: str) -> None:
    said = refusal(*GATE, "--max-accuracy-loss", value)
    assert f"{value} is not a number from 0 to 100 such as 0.5" in said


@pytest.mark.parametrize("option", ["--seconds", "--max-seconds", "--warmup"])
def test_seconds(option: str) -> None:
    assert f"Invalid value for '{option}': nan is not a number" in refusal(
        "bench", "a.onnx", option, "nan"
    )
    for value in ("inf", "-1", "1e9"):
        assert "is not in the range 0<" in refusal("bench", "a.onnx", option, value)


@pytest.mark.parametrize("option", ["--wait", "--max-time"])
@pytest.mark.parametrize("value", ["nan", "-1s", "1", "infs", "1e9h", ""])
def test_times(option: str, value: str) -> None:
    for command in (GATE, ("bench", "a.onnx")):
        assert f"{value!r} is not a duration such as 33ms" in refusal(*command, option, value)


@pytest.mark.parametrize("value", ["nan", "-1s", "0s", "0.5s", "25h", "90"])
def test_sustained(value: str) -> None:
    ran = CliRunner().invoke(cli, ["bench", "a.onnx", "--sustained", value])
    assert isinstance(ran.exception, UsageError)
    assert ran.exception.message == f"--sustained {value} is not a time from 1s to 24h"
