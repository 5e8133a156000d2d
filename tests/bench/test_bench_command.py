"""``edgeconv bench`` as a user types it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest

from edgeconv.bench import BenchOptions, BenchResult, Journal, new_session
from edgeconv.bundle import (
    MANIFEST_NAME,
    Artifact,
    Format,
    Layout,
    Manifest,
    Precision,
    TensorInfo,
    sha256_of,
)
from edgeconv.device import Event, RunRequest
from edgeconv.device.local import LocalDevice
from edgeconv.device.messages import Samples
from edgeconv.errors import MeasurementError, UsageError
from support.command_line import CommandLine, Ran
from support.manifests import made_artifact
from support.tiny_models import write_onnx, write_tflite

pytestmark = pytest.mark.slow

QUICK = ("--runs", "40", "--seconds", "0", "--warmup", "0")


@pytest.fixture
def bench(edgeconv: CommandLine) -> CommandLine:
    """``edgeconv bench`` with few and quick runs."""

    def run(*arguments: object) -> Ran:
        return edgeconv("bench", *QUICK, *arguments)

    return run


@pytest.fixture
def failed(bench: CommandLine) -> Callable[..., str]:
    """Runs what fails with an exit code; returns the line of the failure and that of its hint."""

    def run(code: int, *arguments: object) -> str:
        done = bench(*arguments)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        lines = [u for u in done.stderr.splitlines() if u and not u.startswith(("Usage:", "Try "))]
        assert lines[0].lower().startswith("error: "), done.stderr
        assert all(line.startswith("hint: ") for line in lines[1:]), done.stderr
        assert len(lines) < 3, done.stderr
        return "\n".join(lines)

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
        return made_artifact(
            name,
            kind,
            Precision.FLOAT32,
            bytes=path.stat().st_size,
            sha256=sha256_of(path),
            inputs=(tensor,),
            outputs=(tensor,),
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
    tables = done.stdout.strip().split("\n\n")
    assert len(tables) == 2
    for column in (
        "File",
        "Runtime",
        "Threads",
        "Median",
        "Min",
        "p10",
        "p90",
        "CPU time",
        "First",
        "Load",
        "Memory",
        "Speed-up",
    ):
        assert column in done.stdout
    for table in tables:
        assert "tiny.onnx" in table
        assert "tiny.tflite" in table
    figures = [line for line in done.stdout.splitlines() if "/tiny." not in line]
    assert max(map(len, figures)) <= 80
    assert "Measuring" not in done.stdout + done.stderr


def test_one_file_has_no_speedup(tmp_path: Path, bench: CommandLine) -> None:
    done = bench(write_tflite(tmp_path / "m.tflite"))
    assert "Speed-up" not in done.stdout


def test_runtime_chooses_among_a_bundles_files(bundle: Path, bench: CommandLine) -> None:
    done = bench(bundle, "--runtime", "onnxruntime")
    assert "tiny.onnx" in done.stdout
    assert "tiny.tflite" not in done.stdout


def test_json_and_file(tmp_path: Path, bench: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECONV_PROGRESS_SECONDS", "0.01")
    out = tmp_path / "result.json"
    done = bench(write_tflite(tmp_path / "m.tflite"), "--json", "--out", out, "--repetitions", 2)
    assert "progress" not in done.stderr
    printed = json.loads(done.stdout)
    assert printed["schema_version"] == 3
    assert printed["options"]["repetitions"] == 2
    assert BenchResult.load(out) == BenchResult.model_validate(printed)


def test_blank_tail_is_explained(tmp_path: Path, bench: CommandLine) -> None:
    done = bench(
        write_onnx(tmp_path / "m.onnx"),
        *("--runs", "1", "--seconds", "0", "--max-seconds", "0.000001"),
        *("--warmup", "0", "--repetitions", "1"),
    )
    assert "p90 is left blank (1 samples, p90 needs 100)" in done.stderr
    assert re.search(r" -( |$)", done.stdout, re.MULTILINE)


def test_usage(tmp_path: Path, bundle: Path, failed: Callable[..., str]) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    assert "missing argument" in failed(2)
    assert "no such file" in failed(2, tmp_path / "none.onnx")
    assert "is not one of" in failed(2, model, "--runtime", "tensorrt")
    assert "onnxruntime reads .onnx files" in failed(2, model, "--runtime", "onnxruntime")
    assert "not a bundle" in failed(2, tmp_path)
    assert "name the folder" in failed(2, bundle / MANIFEST_NAME)
    assert "neither" in failed(2, Path(__file__))
    assert "no device" in failed(2, model, "--device", "toaster")
    assert "--cpus" in failed(2, model, "--cpus", "0,x")
    assert "cannot be written" in failed(2, model, "--out", tmp_path / "no" / "r.json")
    assert f"{model} on local: it has no CPU 4000" in failed(2, model, "--cpus", "0,4000")
    assert list(tmp_path.glob("*.partial")) == []


def test_several_devices_are_refused_before_one_measures(
    tmp_path: Path, edgeconv: CommandLine
) -> None:
    model, out = write_tflite(tmp_path / "m.tflite"), tmp_path / "out"

    def refused(*arguments: object) -> str:
        done = edgeconv("bench", "--device", "local", "-o", out, *arguments)
        assert done.returncode == 2
        assert not out.exists()
        return done.stderr

    emulated, board = ("--device", "emulated:pi4"), ("--device", "ssh://pi")
    said = refused(model, *emulated, "--retries", 0, "--seconds", 0.3)
    assert "emulated:pi4 counts the instructions" in said
    assert "leave out --seconds, --retries" in said
    assert "gate NEW --baseline OLD --measure --device emulated:pi4" in refused(
        model, model, *emulated, "--gate"
    )
    assert "takes no times" in refused(model, *emulated, "--operators")
    assert "no emulated board 'pi9'" in refused(model, "--device", "emulated:pi9")
    assert "no such file" in refused(tmp_path / "none.onnx", *board)
    assert "give a time" in refused(model, *board, "--sustained", "x")


INPUTS = {
    "json.npz": b'{"x": 1}',
    "empty.npz": b"",
    "zip.npz": b"PK\x03\x04" + b"\x00" * 40,
}


@pytest.mark.parametrize("name", [*INPUTS, "array.npz", "objects.npz"])
def test_inputs_that_cannot_be_read(tmp_path: Path, failed: Callable[..., str], name: str) -> None:
    """One line that names the file of inputs, without NumPy's advice to load it unsafely."""
    path = tmp_path / name
    if name in INPUTS:
        path.write_bytes(INPUTS[name])
    elif name == "array.npz":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        np.savez(path, x=np.array([{}], dtype=object))
    line = failed(2, write_tflite(tmp_path / "m.tflite"), "--inputs", path)
    assert line.startswith(f"error: {path} is ")
    assert "pickle" not in line


def test_inputs_in_the_networks_layout_serve_both_formats(
    tmp_path: Path, bundle: Path, bench: CommandLine, failed: Callable[..., str]
) -> None:
    """x is 1x3x16x16 to the ONNX file and 1x16x16x3 to the TFLite file."""
    write_onnx(bundle / "tiny.onnx")
    write_tflite(bundle / "tiny.tflite", shape=(1, 16, 16, 3))
    described = Manifest.model_validate_json((bundle / MANIFEST_NAME).read_text())
    own = TensorInfo(name="x", shape=(1, 3, 16, 16), dtype="float32", layout=Layout.NCHW)
    other = TensorInfo(name="a", shape=(1, 16, 16, 3), dtype="float32", layout=Layout.NHWC)
    artifacts = tuple(
        artifact.model_copy(
            update={
                "sha256": sha256_of(bundle / artifact.path),
                "inputs": (own if artifact.format is Format.ONNX else other,),
            }
        )
        for artifact in described.artifacts
    )
    described = described.model_copy(update={"inputs": (own,), "artifacts": artifacts})
    (bundle / MANIFEST_NAME).write_text(described.model_dump_json())
    images = np.random.default_rng(0).normal(size=own.shape).astype(np.float32)
    inputs, out = tmp_path / "in.npz", tmp_path / "r.json"
    np.savez(inputs, x=images)
    done = bench(bundle, "--inputs", inputs, "--repetitions", 1, "-o", out)
    assert done.returncode == 0, done.stderr
    tflite = BenchResult.load(out).models[1].processes[0].outputs[0]
    doubled = np.ascontiguousarray(images.transpose(0, 2, 3, 1)) * 2
    assert tflite.sha256 == hashlib.sha256(doubled.tobytes()).hexdigest()
    np.savez(inputs, x=images.transpose(0, 2, 3, 1))  # the file's own layout
    assert bench(bundle / "tiny.tflite", "--inputs", inputs).returncode == 0
    alone = write_tflite(tmp_path / "alone.tflite", shape=(1, 16, 16, 3))
    np.savez(inputs, x=images)
    line = failed(2, alone, "--inputs", inputs)
    assert f"{alone} on local: 'a' of --inputs is float32 [1, 3, 16, 16]" in line
    assert "give this file NHWC" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "interrupted; nothing is kept"),
        (("--operators",), "interrupted; nothing is kept, --operators cannot be resumed"),
        (("--sustained", "1s"), "interrupted; nothing is kept, --sustained cannot be resumed"),
    ],
)
def test_interrupted_at_once(
    tmp_path: Path,
    edgeconv: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    def interrupted(device: LocalDevice, request: RunRequest) -> Generator[Event, None, None]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(LocalDevice, "run", interrupted)
    done = edgeconv("bench", write_onnx(tmp_path / "m.onnx"), *arguments)
    assert done.returncode == 1
    assert done.stderr == f"error: {said}\n"


def test_failures(tmp_path: Path, bundle: Path, failed: Callable[..., str]) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    assert "no tflite-runtime under" in failed(1, model, "--runtime", "tflite-runtime")
    damaged = tmp_path / "bad.onnx"
    damaged.write_bytes(b"\x08" * 99)
    assert "cannot load it" in failed(1, damaged)
    (bundle / "tiny.onnx").write_bytes(b"changed")
    assert "was changed after the export" in failed(1, bundle)


@pytest.fixture
def cut(tmp_path: Path, bench: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A measurement of two files that lost its device after three of four processes."""
    run, done = LocalDevice.run, []

    def dying(device: LocalDevice, request: RunRequest) -> Generator[Event, None, None]:
        seen = False
        for event in run(device, request):
            yield event
            if request.min_runs == 40 and isinstance(event, Samples) and not seen:
                seen = True  # a slow process says it several times
                done.append(event)
                if len(done) == 4:
                    raise MeasurementError("local: gone")

    models = write_onnx(tmp_path / "a.onnx"), write_tflite(tmp_path / "b.tflite")
    with monkeypatch.context() as patch:
        patch.setattr(LocalDevice, "run", dying)
        failed = bench(*models, "--repetitions", 2, "--retries", 0, "-o", tmp_path / "r.json")
    assert failed.returncode == 1
    assert "a.onnx on local: gone; 3 of 4 processes are kept\nhint: continue with" in failed.stderr
    return tmp_path / "r.json.partial"


def test_resume(cut: Path, edgeconv: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """From anywhere, without naming anything again; the result is where it was wanted."""
    folder = cut.parent / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    done = edgeconv("bench", "--resume", cut)
    assert done.returncode == 0, done.stderr
    assert "1 process was disturbed or cut short, and measured again" in done.stderr
    result = BenchResult.load(cut.with_suffix(""))
    assert [len(model.processes) for model in result.models] == [2, 2]
    assert [aside.model for aside in result.set_aside] == [0]
    assert not cut.exists()


def test_resume_with_what_it_was_begun_with(cut: Path, edgeconv: CommandLine) -> None:
    models = cut.with_name("a.onnx"), cut.with_name("b.tflite")
    done = edgeconv("bench", *models, "--resume", cut, "--runs", 40, "--device", "local", "--json")
    assert len(json.loads(done.stdout)["models"]) == 2


def test_resume_on_a_device_in_use(cut: Path, edgeconv: CommandLine) -> None:
    """It is waited for as for a new measurement, and what is kept is kept."""
    before = cut.read_bytes()
    with LocalDevice().lock(60):
        refused = edgeconv("bench", "--resume", cut)
        waited = edgeconv("bench", "--resume", cut, "--wait", "10ms")
    assert refused.returncode == waited.returncode == 1
    kept = " is measuring there; 3 of 4 processes are kept"
    assert f"{kept}\nhint: wait until it has ended; continue with `" in refused.stderr
    assert waited.stderr.startswith("warning: waiting: local: another edgeconv (")
    assert f"{kept} (waited " in waited.stderr
    assert cut.read_bytes() == before


@pytest.mark.parametrize("cause", [KeyboardInterrupt, OSError])
def test_a_journal_that_is_not_begun_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: type[BaseException]
) -> None:
    def fails(*_: object) -> None:
        raise cause

    session = new_session([write_onnx(tmp_path / "m.onnx")], BenchOptions(), "local")
    other = Journal.create(tmp_path / "other.partial", session)
    with pytest.raises(UsageError, match=r"other\.partial is an unfinished measurement"):
        Journal.create(tmp_path / "other.partial", session)
    assert Journal.open(tmp_path / "other.partial").session == other.session
    monkeypatch.setattr(Journal, "_append", fails)
    with pytest.raises(cause):
        Journal.create(tmp_path / "r.partial", session)
    assert not (tmp_path / "r.partial").exists()


def test_resume_with_something_else(cut: Path, edgeconv: CommandLine) -> None:
    def refused(*arguments: object) -> str:
        done = edgeconv("bench", "--resume", cut, *arguments)
        assert done.returncode == 2
        assert cut.exists()
        return done.stderr

    assert "was begun with runs 40, not 41" in refused("--runs", 41)
    assert "was begun on local, not on ssh://pi" in refused("--device", "ssh://pi")
    assert "was begun with 2 files" in refused(cut.with_name("b.tflite"))
    write_onnx(cut.with_name("a.onnx"), shape=("N", 5, 16, 16))
    assert "a.onnx changed since" in refused()
    cut.with_name("b.tflite").unlink()
    assert "b.tflite: no such file" in refused()


def test_resume_of_nothing(tmp_path: Path, failed: Callable[..., str]) -> None:
    assert "x does not exist" in failed(2, "--resume", tmp_path / "x")
    (tmp_path / "x").write_text("{}\n")
    assert "not an unfinished measurement" in failed(2, "--resume", tmp_path / "x")


def test_nothing_is_left_of_what_took_no_sample(tmp_path: Path, failed: Callable[..., str]) -> None:
    damaged = tmp_path / "bad.onnx"
    damaged.write_bytes(b"\x08" * 99)
    line = failed(1, damaged, "-o", tmp_path / "r.json")
    assert "resume" not in line
    assert list(tmp_path.iterdir()) == [damaged]


def test_help_names_every_option(bench: CommandLine) -> None:
    done = bench("--help")
    for option in ("--runs", "--seconds", "--warmup", "--repetitions", "--threads", "--runtime",
                   "--seed", "--out", "--json", "--quiet"):  # fmt: skip
        assert option in done.stdout


def test_a_file_of_a_bundle_that_does_not_run_is_left_out(
    bundle: Path, bench: CommandLine, failed: Callable[..., str], tmp_path: Path
) -> None:
    text = (bundle / MANIFEST_NAME).read_text()
    whole = sha256_of(bundle / "tiny.onnx"), (bundle / "tiny.onnx").stat().st_size
    (bundle / "tiny.onnx").write_bytes(b"no model")
    text = text.replace(whole[0], sha256_of(bundle / "tiny.onnx"))
    (bundle / MANIFEST_NAME).write_text(text.replace(f'"bytes":{whole[1]}', '"bytes":8'))
    out = tmp_path / "r.json"
    done = bench(bundle, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "tiny.tflite" in done.stdout
    assert "note: left out: " in done.stderr
    assert "tiny.onnx on local: " in done.stderr
    result = BenchResult.load(out)
    assert [Path(one.file.name).name for one in result.left_out] == ["tiny.onnx"]
    assert len(result.models) == 1
    # What is named itself must run, and so must one of a bundle.
    assert "cannot load it" in failed(1, bundle / "tiny.onnx", bundle / "tiny.tflite")
    assert "cannot load it" in failed(1, bundle, "--runtime", "onnxruntime")


def test_gate_measures_in_turns(tmp_path: Path, bench: CommandLine) -> None:
    a, b = write_tflite(tmp_path / "a.tflite"), tmp_path / "b.tflite"
    shutil.copy(a, b)
    done = bench(a, b, "--gate", "--max-regression", "900%", "--detect", "50%")
    assert done.returncode == 0, done.stderr
    assert "**Gate passed** (latency): a slow-down of 900% must be found" in done.stdout
    b.write_bytes(a.read_bytes() + bytes(1000))  # TFLite reads no further than its tables say
    done = bench(a, b, "--gate", "--detect", "99%", "--max-regression", "1%", "--json")
    assert done.returncode == 1
    assert "larger by" in done.stderr
    assert json.loads(done.stdout)["options"]["detect"] == 0.99


def test_gate_needs_two(bundle: Path, failed: Callable[..., str]) -> None:
    assert "--gate holds the second file or bundle against the first, not 1" in failed(
        2, bundle, "--gate"
    )
    assert "is on both sides" in failed(2, bundle, bundle, "--gate")


def test_a_gate_of_results_measures_their_files_again(
    tmp_path: Path, bench: CommandLine, edgeconv: CommandLine
) -> None:
    a, b = write_tflite(tmp_path / "a.tflite"), tmp_path / "b.tflite"
    shutil.copy(a, b)
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    for file, out in ((a, old), (b, new)):
        assert bench(file, "--repetitions", 2, "-o", out).returncode == 0
    loose = ("--max-regression", "900%")
    done = edgeconv("gate", new, "--baseline", old, "--measure", *loose)
    assert done.returncode == 0, done.stderr
    assert "different sessions" not in done.stdout
    a.unlink()
    gone = edgeconv("gate", new, "--baseline", old, "--measure", *loose)
    assert gone.returncode == 2
    assert "a.tflite is not at hand as it was measured" in gone.stderr
    auto = edgeconv("gate", new, "--baseline", old, "--measure=auto", *loose)
    assert "not measured again: " in auto.stdout
    assert "the two are different sessions" in auto.stdout
    mixed = edgeconv("gate", b, "--baseline", old, "--measure")
    assert mixed.returncode == 2
    assert "is a bundle or a model file and" in mixed.stderr
    wrong = edgeconv("gate", new, "--baseline", old, "--device", "local")
    assert wrong.returncode == 2


def test_the_page_of_a_measurement(tmp_path: Path, bench: CommandLine) -> None:
    pytest.importorskip("matplotlib")
    model, page = write_onnx(tmp_path / "a.onnx"), tmp_path / "page.html"
    done = bench(model, "--repetitions", "2", "--no-history", "--html", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text("utf-8")
    assert "<h2>Latency on local</h2>" in text
    assert text.count("<svg") == 1
    refused = bench(model, "--device", "local", "--device", "ssh://b", "--html", page)
    assert "one device" in refused.error
    refused = bench(model, "--html", tmp_path / "none" / "page.html")
    assert "its folder does not exist" in refused.error
