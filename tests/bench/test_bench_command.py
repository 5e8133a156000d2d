"""``edgeconv bench`` as a user types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import CommandLine, Ran
from tiny_models import write_onnx, write_tflite

from edgeconv.bench import BenchResult
from edgeconv.bundle import (
    MANIFEST_NAME,
    Artifact,
    Format,
    Manifest,
    Precision,
    TensorInfo,
    sha256_of,
)

QUICK = ("--runs", "40", "--seconds", "0", "--warmup", "0")


@pytest.fixture
def bench(edgeconv: CommandLine) -> CommandLine:
    """``edgeconv bench`` with few and quick runs."""

    def run(*arguments: object) -> Ran:
        return edgeconv("bench", *QUICK, *arguments)

    return run


@pytest.fixture
def failed(bench: CommandLine) -> Callable[..., str]:
    """Runs what fails with an exit code; the one line of the failure."""

    def run(code: int, *arguments: object) -> str:
        done = bench(*arguments)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        *usage, line = done.stderr.strip().splitlines()
        assert all(u.startswith(("Usage:", "Try ")) or not u for u in usage)
        return line

    return run


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    write_onnx(folder / "tiny.onnx")
    write_tflite(folder / "tiny.tflite")
    tensor = TensorInfo(name="x", shape=(1,), dtype="float32")

    def artifact(name: str, kind: Format) -> Artifact:
        path = folder / name
        return Artifact(
            path=name,
            format=kind,
            precision=Precision.FLOAT32,
            bytes=path.stat().st_size,
            sha256=sha256_of(path),
            opset=None,
            operators={},
            lowest_runtime="",
            inputs=(tensor,),
            outputs=(tensor,),
            float_fallback=(),
            verification=None,
        )

    manifest = Manifest(
        edgeconv_version="0",
        model="tiny",
        model_args={},
        weights_sha256="",
        inputs=(tensor,),
        outputs=(tensor,),
        reference="pytorch",
        preprocessing=None,
        labels=None,
        calibration=None,
        artifacts=(artifact("tiny.onnx", Format.ONNX), artifact("tiny.tflite", Format.TFLITE)),
        reference_sha256="",
        tools={},
    )
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json())
    return folder


def test_table_of_a_bundle(bundle: Path, bench: CommandLine) -> None:
    done = bench(bundle)
    assert done.returncode == 0, done.stderr
    header, *rows = done.stdout.strip().splitlines()
    for column in ("File", "Runtime", "Threads", "Median", "p90", "First", "Load", "Speed-up"):
        assert column in header
    assert len(rows) == 2
    assert any("tiny.onnx" in row and "onnxruntime" in row for row in rows)
    assert any("tiny.tflite" in row and "litert" in row for row in rows)
    assert "Measuring" not in done.stdout + done.stderr


def test_one_file_has_no_speedup(tmp_path: Path, bench: CommandLine) -> None:
    done = bench(write_tflite(tmp_path / "m.tflite"))
    assert "Speed-up" not in done.stdout


def test_runtime_chooses_among_a_bundles_files(bundle: Path, bench: CommandLine) -> None:
    done = bench(bundle, "--runtime", "onnxruntime")
    assert "tiny.onnx" in done.stdout
    assert "tiny.tflite" not in done.stdout


def test_json_and_file(tmp_path: Path, bench: CommandLine) -> None:
    out = tmp_path / "result.json"
    done = bench(write_tflite(tmp_path / "m.tflite"), "--json", "--out", out, "--repetitions", 2)
    printed = json.loads(done.stdout)
    assert printed["schema_version"] == 1
    assert printed["options"]["repetitions"] == 2
    assert BenchResult.load(out) == BenchResult.model_validate(printed)


def test_blank_tail_is_explained(tmp_path: Path, bench: CommandLine) -> None:
    done = bench(
        write_onnx(tmp_path / "m.onnx"),
        *("--runs", "1", "--seconds", "0", "--max-seconds", "0.000001"),
        *("--warmup", "0", "--repetitions", "1"),
    )
    assert "p90 is left blank (1 samples, p90 needs 100)" in done.stderr
    assert " - " in done.stdout


def test_usage(tmp_path: Path, bundle: Path, failed: Callable[..., str]) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    assert "Missing argument" in failed(2)
    assert "no such file" in failed(2, tmp_path / "none.onnx")
    assert "is not one of" in failed(2, model, "--runtime", "tensorrt")
    assert "onnxruntime reads .onnx files" in failed(2, model, "--runtime", "onnxruntime")
    assert "not a bundle" in failed(2, tmp_path)
    assert "name the folder" in failed(2, bundle / MANIFEST_NAME)
    assert "neither" in failed(2, Path(__file__))
    assert "no device" in failed(2, model, "--device", "toaster")
    assert "--cpus" in failed(2, model, "--cpus", "0,x")
    assert "cannot be written" in failed(2, model, "--out", tmp_path / "no" / "r.json")


def test_failures(tmp_path: Path, bundle: Path, failed: Callable[..., str]) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    assert "no tflite-runtime under" in failed(1, model, "--runtime", "tflite-runtime")
    damaged = tmp_path / "bad.onnx"
    damaged.write_bytes(b"\x08" * 99)
    assert "cannot load it" in failed(1, damaged)
    (bundle / "tiny.onnx").write_bytes(b"changed")
    assert "was changed after the export" in failed(1, bundle)


def test_help_names_every_option(bench: CommandLine) -> None:
    done = bench("--help")
    for option in ("--runs", "--seconds", "--warmup", "--repetitions", "--threads", "--runtime",
                   "--seed", "--out", "--json", "--quiet"):  # fmt: skip
        assert option in done.stdout
