"""The gate on counted instructions, through the command line."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
from command_line import CommandLine

from edgeconv.bench.instructions import CountedModel, CountOptions, CountResult
from edgeconv.bench.result import ModelFile
from edgeconv.device.emulated import InstructionCounts
from edgeconv.device.messages import Runtime


def save(path: Path, counts: dict[str, int], *, cpu: str = "cortex-a72", size: int = 1000) -> Path:
    models = tuple(
        CountedModel(
            file=ModelFile(name=name, bytes=size, sha256="0" * 64),
            runtime=Runtime.LITERT,
            runtime_version="2.3.0",
            python="3.11.2",
            numpy="2.4.6",
            counts=InstructionCounts(total=total),
            outputs=(),
        )
        for name, total in counts.items()
    )
    CountResult(
        edgeconv_version="0",
        started=datetime(2026, 1, 1, tzinfo=timezone.utc),
        device="emulated:pi4",
        board="Raspberry Pi 4",
        cpu=cpu,
        options=CountOptions(),
        models=models,
    ).save(path)
    return path


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    return save(tmp_path / "old.json", {"a.tflite": 100_000_000, "b.tflite": 5_000_000})


@pytest.mark.parametrize(
    ("counts", "code", "said"),
    [
        ({"a.tflite": 102_000_000, "b.tflite": 4_000_000}, 0, "**Gate passed**"),
        ({"a.tflite": 104_000_000, "b.tflite": 5_000_000}, 1, "**failed**: +4.0% instructions"),
        ({"a.tflite": 100_000_000}, 1, "| b.tflite | | | | | **failed**: not counted |"),
    ],
)
def test_gate(
    edgeconv: CommandLine,
    baseline: Path,
    tmp_path: Path,
    counts: dict[str, int],
    code: int,
    said: str,
) -> None:
    new = save(tmp_path / "new.json", counts)
    done = edgeconv("gate", new, "--baseline", baseline)
    assert done.returncode == code, done.stderr
    assert said in done.stdout
    assert "emulated" in done.stdout
    assert "102 M" in done.stdout or code


def test_larger_and_on_another_core(edgeconv: CommandLine, baseline: Path, tmp_path: Path) -> None:
    same = {"a.tflite": 100_000_000, "b.tflite": 5_000_000}
    new = save(tmp_path / "new.json", same, cpu="cortex-a76", size=2000)
    done = edgeconv("gate", new, "--baseline", baseline)
    assert "larger by +100.0%" in done.stdout
    assert "the CPU changed from cortex-a72 to cortex-a76" in done.stdout


def test_counts_and_times_do_not_mix(edgeconv: CommandLine, baseline: Path, tmp_path: Path) -> None:
    times = tmp_path / "times.json"
    times.write_text('{"schema_version": 1}')
    done = edgeconv("gate", times, "--baseline", baseline)
    assert done.returncode == 1
    assert "holds no instruction counts" in done.stderr
    done = edgeconv("compare", baseline, baseline)
    assert done.returncode == 1
    assert "holds counted instructions, not times; `edgeconv gate`" in done.stderr


@pytest.mark.parametrize("text", ["{}", "", '{"kind": "instructions"}', "[]"])
def test_a_file_that_is_no_result(
    edgeconv: CommandLine, baseline: Path, tmp_path: Path, text: str
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(text)
    done = edgeconv("gate", broken, "--baseline", baseline)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
