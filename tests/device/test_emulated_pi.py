"""Emulated boards over their real SSH servers: what a board computes, and what it executes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from edgeconv.bench import BenchOptions, measure
from edgeconv.bench.instructions import CountOptions
from edgeconv.bench.instructions import count as count_files
from edgeconv.bundle import Bundle, Format, Precision
from edgeconv.cli.bench_command import command as bench
from edgeconv.cli.devices_command import command as devices
from edgeconv.cli.gate_command import command as gate
from edgeconv.cli.history_command import command as history
from edgeconv.device import Device, RunRequest, Runtime, open_device
from edgeconv.device.emulated import (
    BOARDS,
    Cpu,
    EmulatedDevice,
    InstructionCounts,
    Server,
    cache,
    count_instructions,
    counting,
)
from edgeconv.device.emulated.requirements import missing_packages, session_obstacle
from edgeconv.device.emulated.userland import environment
from edgeconv.device.facts import why_not
from edgeconv.device.messages import Instructions, Outputs
from edgeconv.device.provision import provision
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.export import export
from edgeconv.models import create_model
from edgeconv.models.randomize import randomize_
from edgeconv.report.instructions import notes
from support.ssh_server import write_ssh
from support.tiny_models import write_onnx, write_tflite

MISSING = missing_packages()
OBSTACLE = f"needs {', '.join(MISSING)}" if MISSING else session_obstacle()
pytestmark = [
    pytest.mark.device,
    pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE)),
]
Arrays = list[NDArray[np.generic]]
SIXTY_FOUR_BITS = {"pi3": Cpu.A53, "pi4": Cpu.A72, "pi5": Cpu.A76}


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Servers of the tests' own: the user's stay up. The userlands in the cache are shared."""
    folder = tmp_path_factory.mktemp("state of mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder
        for board in BOARDS.values():
            Server(board).down()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network with residuals and depth in four files."""
    return export(
        randomize_(create_model("resnet8"), shape=(3, 32, 32)),
        out=tmp_path_factory.mktemp("bundle") / "resnet8",
        input_size=(32, 32),
        calibration="random",
        calibration_size=8,
    )


def run(device: Device, file: Path, runtime: Runtime | None = None) -> Arrays:
    """Outputs of the first inference on structured inputs, which are the same everywhere."""
    request = RunRequest(
        model=device.place(file), runtime=runtime, warmup_seconds=0, min_runs=1, min_seconds=0
    )
    (reported,) = (event for event in device.run(request) if isinstance(event, Outputs))
    return [
        np.frombuffer(base64.b64decode(out.base64 or ""), out.dtype).reshape(out.shape)
        for out in reported.outputs
    ]


def count(device: Device, file: Path) -> InstructionCounts:
    request = RunRequest(model=device.place(file), min_runs=2)
    (reported,) = (event for event in device.run(request) if isinstance(event, Instructions))
    return InstructionCounts.of(reported)


@pytest.mark.parametrize("board", SIXTY_FOUR_BITS)
def test_files_compute_what_they_compute_here(board: str, bundle: Bundle) -> None:
    there, here = open_device(f"emulated:{board}"), open_device("local")
    for artifact in bundle.manifest.artifacts:
        file = bundle.file(artifact)
        for got, wanted in zip(run(there, file), run(here, file), strict=True):
            assert np.ptp(wanted) > 0
            if artifact.format is Format.TFLITE and artifact.precision is Precision.INT8:
                assert np.array_equal(got, wanted)
            elif artifact.precision is Precision.FLOAT32:
                # Another order of additions: 1e-5 of the range.
                assert np.abs(got - wanted).max() < 1e-5 * np.ptp(wanted)
            else:
                # ONNX Runtime rounds some products the other way on Arm: a step of the output.
                step = artifact_step(got, wanted)
                assert np.abs(got - wanted).max() <= 1.01 * step


def artifact_step(*arrays: NDArray[np.generic]) -> float:
    """The least distance of two values: dequantized outputs lie on a grid."""
    values = np.unique(np.concatenate([a.ravel() for a in arrays]).astype(np.float64))
    gaps = np.diff(values)
    return float(gaps[gaps > 1e-4 * np.ptp(values)].min())  # and equal ones differ by a rounding


def test_32_bits(bundle: Bundle, tmp_path: Path) -> None:
    """tflite-runtime 2.14 with Debian's NumPy, on a 32-bit system: within a step of LiteRT."""
    there, here = open_device("emulated:pi3-32"), open_device("local")
    for artifact in bundle.manifest.artifacts:
        if artifact.format is Format.TFLITE:
            file = bundle.file(artifact)
            (got,), (wanted,) = run(there, file), run(here, file)
            exact = artifact.precision is Precision.FLOAT32
            step = 1e-5 * np.ptp(wanted) if exact else 1.01 * artifact_step(got, wanted)
            assert np.abs(got - wanted).max() <= step
    counts = count(there, write_tflite(tmp_path / "m.tflite"))
    assert counts.total > 0
    assert counts.load_store is None
    with pytest.raises(MeasurementError, match="no onnxruntime under /opt/tflite-runtime"):
        run(there, write_onnx(tmp_path / "m.onnx"))


def test_kernels_follow_the_core(bundle: Bundle) -> None:
    """The A76 has dot products, the A72 none; both ways to count agree to 0.1 %."""
    (file,) = (
        bundle.file(a)
        for a in bundle.manifest.artifacts
        if (a.format, a.precision) == (Format.TFLITE, Precision.INT8)
    )
    old, new = count(open_device("emulated:pi4"), file), count(open_device("emulated:pi5"), file)
    assert (old.dot_product, old.matrix, new.matrix) == (0, 0, 0)
    # 12.5 M products, sixteen an instruction.
    assert new.dot_product == pytest.approx(12.5e6 / 16, rel=0.2)
    assert new.total < 0.7 * old.total
    again = count_instructions(file, Cpu.A72)
    assert again.total == pytest.approx(old.total, rel=1e-3)
    assert again.simd == pytest.approx(old.simd, rel=1e-3)


def test_classes_of_a_float_convolution(tmp_path: Path) -> None:
    """3x3 over 64x64 from 8 channels to 4: 1.18 M multiply-adds, four an instruction."""
    counts = count_instructions(write_onnx(tmp_path / "m.onnx", shape=(1, 8, 64, 64)), Cpu.A72)
    assert counts.fmla == pytest.approx(64 * 64 * 9 * 8 * 4 / 4, rel=0.1)
    assert counts.fmla <= (counts.simd or 0)
    assert (counts.simd or 0) + (counts.load_store or 0) < counts.total


def test_counting_writes_nothing_into_this_machines_python(tmp_path: Path) -> None:
    """QEMU redirects only paths that exist, so new bytecode once went to /usr/lib/python3.11."""
    count_instructions(write_tflite(tmp_path / "m.tflite"), Cpu.A72)
    command = counting._python(BOARDS["pi4"], None, tmp_path / "counts")
    where = "import importlib.util, json; print(importlib.util.cache_from_source(json.__file__))"
    done = subprocess.run([*command, "-c", where], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(str(cache.cache_folder()))
    assert Path(done.stdout.strip()).is_file()


def test_another_runtime(tmp_path: Path) -> None:
    model = write_tflite(tmp_path / "m.tflite", dtype="int8")
    ran = run(open_device("emulated:pi4"), model, Runtime.TFLITE_RUNTIME)
    assert np.array_equal(ran[0], run(open_device("local"), model)[0])


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts in the table, in the JSON and in the history, marked emulated, and never a time."""
    monkeypatch.setenv("EDGECONV_HISTORY", str(tmp_path / "history.db"))
    models = [write_tflite(tmp_path / "m.tflite"), write_onnx(tmp_path / "m.onnx")]
    out = tmp_path / "out.json"
    arguments = [*map(str, models), "--device", "emulated:pi4"]
    done = CliRunner().invoke(bench, [*arguments, "-o", str(out)], catch_exceptions=False)
    assert "Emulated Raspberry Pi 4" in done.stdout
    assert "ms" not in done.stdout.replace("ms-", "").split()
    result = json.loads(out.read_text())
    assert result["emulated"] is True
    assert [m["counts"]["total"] > 0 for m in result["models"]] == [True, True]
    assert "ns" not in out.read_text().replace("instructions", "").split('"')
    kept = CliRunner().invoke(history, ["--json"], catch_exceptions=False)
    entries = json.loads(kept.stdout)["entries"]
    totals = [model["counts"]["total"] for model in result["models"]]
    assert [entry["instructions"] for entry in entries] == totals
    assert {entry["median_ns"] for entry in entries} == {None}
    with pytest.raises(UsageError, match="leave out --runs, --threads"):
        CliRunner().invoke(
            bench, [*arguments, "--runs", "3", "--threads", "2"], catch_exceptions=False
        )


def test_a_gate_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`gate --measure` there took times, of which an emulated board has none."""
    monkeypatch.setenv("EDGECONV_HISTORY", str(tmp_path / "history.db"))
    old = write_tflite(tmp_path / "old.tflite")
    new = write_tflite(tmp_path / "new.tflite", shape=(1, 64, 64, 2))
    asked = ["--measure", "--device", "emulated:pi4", "--json", "--max-regression", "3%"]
    failed = CliRunner().invoke(gate, [str(new), "--baseline", str(old), *asked])
    assert failed.exit_code == 1
    (found,) = json.loads(failed.stdout)["gates"]
    assert found["of"] == "instructions"
    (file,) = found["files"]
    assert "instructions" in file["reasons"][0]
    assert len(json.loads(CliRunner().invoke(history, ["--json"]).stdout)["entries"]) == 2


def test_no_times_over_a_plain_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh:// to an emulated board is refused before anything is timed; it once was not marked."""
    device = open_device("emulated:pi4")
    assert isinstance(device, EmulatedDevice)
    write_ssh(tmp_path / "bin", device.config)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    plain = open_device(f"ssh://{device.host}{device.python}")
    with pytest.raises(MeasurementError, match="QEMU emulates this machine"):
        measure([write_tflite(tmp_path / "m.tflite")], BenchOptions(runs=1, warmup=0), plain)


def test_up_twice_and_down(state: Path) -> None:
    def devices_say(*arguments: str) -> str:
        return CliRunner().invoke(devices, arguments, catch_exceptions=False).stdout

    assert "emulated:pi5 is up" in devices_say("up", "pi5")
    config = state / "edgeconv" / "emulated" / "pi5" / "sshd_config"
    before = config.read_text()
    devices_say("up", "emulated:pi5")
    assert config.read_text() == before
    # Lines break where the paths of this machine make them too long.
    shown = " ".join(devices_say("probe", "emulated:pi5").split())
    assert "Raspberry Pi 5 Model B Rev 1.0 (emulated)" in shown
    assert "Cortex-A76" in shown
    assert "dot product" in shown
    assert "1500 to 2400 MHz" in shown
    for runtime in ("tflite-runtime 2.14.0", "ai-edge-litert", "onnxruntime"):
        assert runtime in shown
    assert devices_say("down", "pi5") == "pi5 is down\n"
    assert devices_say("down", "pi5") == "pi5 was not up\n"


def test_provision_32_bits(bundle: Bundle) -> None:
    """The system's Python has NumPy and no runtime; afterwards it runs the files."""
    device = open_device("emulated:pi3-32")
    assert isinstance(device, EmulatedDevice)
    steps: list[str] = []
    there = provision(device.under("/usr/bin/python3.11"), steps.append)
    assert len(steps) == 4
    python = there.probe().pythons[0]
    assert python.executable == "/home/pi/.local/share/edgeconv/runtimes/bin/python3"
    assert python.packages["tflite-runtime"] == "2.14.0"
    runs = {a.path: why_not(a, python) for a in bundle.manifest.artifacts}
    assert [reason is None for reason in runs.values()] == ["tflite" in path for path in runs]
    leftovers = device.shell("ls .cache/edgeconv; ls .local/share/edgeconv").split()
    assert not [name for name in leftovers if name.endswith((".whl", ".part", ".old"))]


def test_the_host_key_is_pinned() -> None:
    device = open_device("emulated:pi4")
    assert isinstance(device, EmulatedDevice)
    known = device.config.with_name("known_hosts")
    right = known.read_text()
    other = device.config.with_name("user_key.pub").read_text()
    known.write_text(f"{right.split()[0]} {other}")
    try:
        with pytest.raises(MeasurementError, match="its host key has changed"):
            device.probe()
    finally:
        known.write_text(right)


def test_a_session_is_inside_the_userland(tmp_path: Path) -> None:
    """scp and a shell as anybody uses them; nothing of this machine's files is seen."""
    device = open_device("emulated:pi4")
    assert isinstance(device, EmulatedDevice)
    sent = tmp_path / "sent"
    sent.write_text("x")
    ssh = ["-F", str(device.config)]
    subprocess.run(["scp", "-q", *ssh, sent, f"{device.host}:there"], check=True)
    command = f"uname -m; cat there; ls {tmp_path} 2>&1; exit 3"
    done = subprocess.run(
        ["ssh", *ssh, device.host, command], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[0] == "aarch64"
    assert done.stdout.splitlines()[1].startswith("x")
    assert "No such file" in done.stdout
    assert done.returncode == 3


@pytest.mark.slow
def test_files_that_a_board_cannot_run_are_left_out(tmp_path: Path) -> None:
    """A bundle with an .onnx file was not counted at all on a 32-bit board."""
    files = [write_onnx(tmp_path / "m.onnx"), write_tflite(tmp_path / "m.tflite")]
    board, options = EmulatedDevice.parse("emulated:pi3-32"), CountOptions()
    found = count_files(files, options, board, optional=files)
    assert [model.file.name for model in found.models] == [str(files[1])]
    assert [left.file.name for left in found.left_out] == [str(files[0])]
    assert f"left out: {found.left_out[0].reason}" in notes(found)
    with pytest.raises(
        MeasurementError, match=r"m\.onnx on emulated:pi3-32: there is no onnxruntime"
    ):
        count_files(files, options, board, optional=files[1:])
    with pytest.raises(MeasurementError, match="there is no onnxruntime"):
        count_files(files[:1], options, board, optional=files)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    broken = tmp_path / "m.tflite"
    broken.write_bytes(b"not a model")
    with pytest.raises(MeasurementError, match=r"emulated pi4: litert .* cannot load it"):
        count_instructions(broken, Cpu.A72)


def test_32_bits_need_the_server(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="emulated:pi3-32"):
        count_instructions(write_tflite(tmp_path / "m.tflite"), Cpu.A7)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", [Runtime.LITERT, Runtime.TFLITE_RUNTIME])
def test_run_py_on_the_board(runtime: Runtime, tmp_path: Path) -> None:
    """A bundle is copied there and run with Pillow's wheel, without edgeconv: what it says here."""
    device = open_device("emulated:pi4")
    assert isinstance(device, EmulatedDevice)
    bundle = export(
        randomize_(create_model("resnet8"), shape=(3, 32, 32)),
        out=tmp_path / "there",
        input_size=(32, 32),
        formats=["tflite"],
        io="int8",
        calibration="random",
        calibration_size=8,
    )
    made = bundle.path
    (file,) = (a for a in bundle.manifest.artifacts if a.precision is Precision.INT8)
    name, step = file.path, file.outputs[0].scale
    assert step is not None
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    Image.fromarray(noise).resize((90, 70)).save(made / "photo.png")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
    into = ["--target", made / "pillow", "--python-version", "3.11", "--implementation", "cp"]
    platforms = [
        argument
        for tag in device.board.architecture.wheel_platforms
        for argument in ("--platform", tag)
    ]
    wheel = f"pillow=={PIL.__version__}"  # another one may round otherwise
    done = subprocess.run([*pip, *into, *platforms, wheel], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"pip has no {wheel} for the board: {done.stderr.decode()[-200:]}")
    ssh = ["ssh", "-F", device.config, device.host]
    python = environment(device.board.architecture, runtime)
    subprocess.run(["scp", "-qr", "-F", device.config, made, f"{device.host}:run_py"], check=True)

    def said(python: str | Path, prefix: list[str | Path], *arguments: str) -> str:
        command = [*prefix, python, *arguments]
        done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    there: list[str | Path] = [*ssh, "cd run_py; PYTHONPATH=pillow"]
    try:
        prepared = "import run; print(run.prepare(run.read('photo.png')).tobytes().hex())"
        hexadecimal = said(python, there, "-c", f'"{prepared}"')
        assert hexadecimal == said(sys.executable, [], "-c", prepared)
        arguments = ["run.py", "photo.png", "--file", name]
        got, wanted = (
            [line.split() for line in text.splitlines()]
            for text in (said(python, there, *arguments), said(sys.executable, [], *arguments))
        )
    finally:
        subprocess.run([*ssh, "rm -r run_py"], check=True)
    assert len({score for score, _ in wanted}) > 3
    scores = {label: float(score) for score, label in wanted}
    least = min(scores.values())
    # Of equal inputs, LiteRT's kernels on Arm are seen to round a score the other way: by a step,
    # which may also decide what comes fifth.
    assert all(abs(float(score) - scores.get(name, least)) <= 1.01 * step for score, name in got)


@pytest.mark.slow
def test_the_forms_for_the_old_runtime_take_fewer_instructions(tmp_path: Path) -> None:
    """Two convolutions of stride two, whose padding TFLite cannot state."""
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16),
    )
    randomize_(network, shape=(3, 32, 32))
    counted = {}
    for runtime in (None, "tflite-runtime==2.14"):
        made = export(
            network,
            out=tmp_path / str(runtime),
            formats=[Format.TFLITE],
            precisions=[Precision.INT8],
            calibration="random",
            calibration_size=8,
            input_size=(3, 32, 32),
            runtime=runtime,
        )
        file = made.file(made.manifest.artifacts[0])
        counted[runtime] = count_instructions(file, Cpu.A72, Runtime.TFLITE_RUNTIME).total
    assert counted["tflite-runtime==2.14"] < 0.8 * counted[None]
