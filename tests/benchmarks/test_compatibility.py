"""Test what the page of compatibility is made of: outcomes that are kept, and its tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import compatibility
from benchmarks.timm_families import vary_constants


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "known.json"
    monkeypatch.setattr(compatibility, "KNOWN", file)
    return file


def test_what_is_known_is_tried_again_only_if_it_failed_and_on_demand(
    known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def attempt(_: compatibility.Known, name: str, precisions: list[str]) -> Iterator[str]:
        for precision in precisions:
            tried.append(f"{name} {precision}")
            yield "equal" if name == "right" else "refused: why"

    monkeypatch.setattr(compatibility.Known, "_tried", attempt)
    for again in (False, False, True):
        outcomes = compatibility.Known(again=again)
        assert outcomes.outcomes("right", ["float32"]) == {"float32": "equal"}
        assert outcomes.outcomes("wrong", ["float32"]) == {"float32": "refused: why"}
    assert tried == ["right float32", "wrong float32", "wrong float32"]
    assert len(json.loads(known.read_text())) == 2
    outcomes = compatibility.Known(only=True)
    assert outcomes.outcomes("wrong", ["float32"]) == {"float32": "refused: why"}
    assert outcomes.outcomes("another", ["int8"]) == {"int8": compatibility.NOT_TRIED}


def test_what_ends_the_process_is_the_outcome_of_one_precision(
    known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[list[str]] = []

    def run(name: str, precisions: list[str]) -> tuple[list[str], str]:
        runs.append(precisions)
        return (["equal"], "failed") if "float32" in precisions else (["30.0 dB"], "")

    monkeypatch.setattr(compatibility, "_run", run)
    found = compatibility.Known().outcomes("net", compatibility.PRECISIONS)
    assert found == {"float32": "equal", "int8": "failed", "int16x8": "30.0 dB"}
    assert runs == [["float32", "int8", "int16x8"], ["int16x8"]]


def test_a_process_that_ends_early_says_what_it_finished(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_text(
        f"#!{sys.executable}\nimport os, signal\n"
        f"print('a library speaks\\n{compatibility.OUTCOME}equal', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGXCPU)\n"
    )
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    late = f"takes more than {compatibility.SECONDS} s"
    assert compatibility._run("net", ["float32", "int8"]) == (["equal"], late)


def test_a_reason_does_not_break_the_table() -> None:
    found = {"net": dict.fromkeys(compatibility.PRECISIONS, "refused: a | b\nc")}
    lines = list(compatibility.page(found, {}))
    assert lines[-1] == "| net |" + r" refused: a \| b c |" * len(compatibility.PRECISIONS)


def test_families_that_were_not_tried_do_not_count() -> None:
    families = {"a": "a_small", "b": "b_small", "c": "c_small"}
    outcomes = ["equal", "refused: why", compatibility.NOT_TRIED]
    found = {
        f"family:{name}": {"float32": outcome}
        for name, outcome in zip(families.values(), outcomes, strict=True)
    }
    text = "\n".join(compatibility._family_lines(found, families))
    assert "2 were tried, and 1 of them are equal" in text
    assert "| b | b_small | refused: why |" in text


def test_constant_parameters_are_varied_and_others_stay() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    network.scale = nn.Parameter(torch.full((4,), 1e-6))
    weight = network[0].weight.clone()
    vary_constants(network)
    assert torch.equal(network[0].weight, weight)
    for parameter in (network[1].weight, network[1].bias, network.scale):
        assert parameter.std() > 0
        assert parameter.abs().max() > 0.01


@pytest.mark.parametrize(
    ("outcome", "tried"),
    [("9.9 dB", 1), ("-2.0 dB at effort 1", 1), ("10.0 dB", 0), ("refused: 3 dB", 0)],
)
def test_where_int8_keeps_little_the_inputs_are_rounded_alone(
    known: Path, monkeypatch: pytest.MonkeyPatch, outcome: str, tried: int
) -> None:
    runs: list[list[str]] = []

    def run(name: str, precisions: list[str]) -> tuple[list[str], str]:
        runs.append(precisions)
        return [outcome], ""

    monkeypatch.setattr(compatibility, "_run", run)
    compatibility._of_family(compatibility.Known(), "net", ["int8"])
    assert runs == [["int8"], ["inputs"]][: 1 + tried]


def test_inputs_are_rounded_to_256_values() -> None:
    rng = np.random.default_rng(0)
    samples = [(rng.uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32),) for _ in range(2)]
    kept = compatibility._rounded_inputs((nn.Identity(), {}, samples))
    # A step is 2/255 and its noise a 12th of its square, beside a signal of 1/3.
    assert float(kept.removesuffix(" dB")) == pytest.approx(10 * np.log10(255**2), abs=0.5)
