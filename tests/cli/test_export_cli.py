"""``edgeconv export`` and its kin as a person runs them: output, exit codes, what stays behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgeconv.models.randomize import structured_input

pytestmark = pytest.mark.slow

NETWORK = """
import torch
from torch import nn
from edgeconv.models.randomize import randomize_

def make(channels: int = 4, classes: int = 3) -> nn.Module:
    network = nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels), nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
    return randomize_(network, shape=(3, 12, 12))

built = make()
number = 3

def cumsum():
    class Sums(nn.Module):
        def forward(self, x):
            return torch.cumsum(x, -1)
    return Sums()

def deciding():
    class Deciding(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x
    return Deciding()

def two():
    class Two(nn.Module):
        def forward(self, left, right):
            return left + right
    return Two()

def tokens():
    return nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 3))

def double():
    return make().double()

def broken():
    raise RuntimeError("the flux\\ncapacitor")

def wrong():
    return "not a network"

class Unsupported(nn.Module):
    def forward(self, x):
        return torch.linalg.det(x)

class Slow(nn.Module):
    def forward(self, x):
        import time
        time.sleep(60)
        return x
"""
SIZE = ("--input-size", "12")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NETWORK)
    np.savez(tmp_path / "data.npz", x=structured_input((8, 3, 12, 12)).numpy())
    return tmp_path


def edgeconv(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgeconv", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def failed(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """It ended with ``code``, and its error with the hint, a line each, has all the words."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    if lines[-1].startswith("hint: "):
        assert lines[-2].startswith("error: ")
        last = "; ".join(lines[-2:])
    else:
        assert lines[-1].startswith("error: ")
        last = lines[-1]
    for word in words:
        assert word in last


def test_two_files_and_a_summary(folder: Path) -> None:
    done = edgeconv(folder, "export", "net.py:make", *SIZE, "--model-arg", "classes=5")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "next: edgeconv bench net\n"
    assert "net_float32.onnx" in done.stdout
    assert "net_float32.tflite" in done.stdout
    manifest = json.loads((folder / "net" / "manifest.json").read_text())
    assert manifest["outputs"][0]["shape"] == [1, 5]
    assert manifest["model_args"] == {"classes": 5}


@pytest.mark.parametrize("device", [(), ("--target", "ssh://nowhere.invalid")])
def test_an_occupied_folder_is_refused_before_anything_is_done(
    device: tuple[str, ...], folder: Path
) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("mine")
    done = edgeconv(folder, "export", "net.py:broken", *SIZE, "-o", "out", *device)
    failed(done, 2, "out exists and is not a bundle", "choose another --out")


def test_a_network_in_float64_is_exported_in_float32(folder: Path) -> None:
    done = edgeconv(folder, "export", "net.py:double", *SIZE, "-o", "double", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        "warning: the weights of Sequential are float64; it is exported in float32\n"
    )


def test_four_files_verify_inspect_and_evaluate(folder: Path) -> None:
    arguments = ("net.py:make", *SIZE, "--calibration", "data.npz", "-o", "out")
    done = edgeconv(folder, "export", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed == json.loads((folder / "out" / "manifest.json").read_text())
    assert len(printed["artifacts"]) == 4
    again = edgeconv(folder, "verify", "out", "--json")
    figures = json.loads(again.stdout)
    assert figures["schema_version"] == 2
    assert all(artifact["passed"] for artifact in figures["artifacts"].values())
    assert edgeconv(folder, "verify", "out").returncode == 0
    shown = edgeconv(folder, "inspect", "out")
    assert shown.returncode == 0, shown.stderr
    x = structured_input((6, 3, 12, 12), seed=5).numpy()
    np.savez(folder / "labeled.npz", x=x, y=np.zeros(6, np.int64))
    result = edgeconv(folder, "evaluate", "out", "--data", "labeled.npz", "--json")
    assert json.loads(result.stdout)["samples"] == 6
    assert "top-1" in edgeconv(folder, "evaluate", "out", "--data", "labeled.npz").stdout


def test_a_module_that_is_built_and_quiet(folder: Path) -> None:
    done = edgeconv(folder, "export", "net:built", *SIZE, "--format", "tflite", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (folder / "built" / "built_float32.tflite").is_file()


def test_weights_from_safetensors_and_pth(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from edgeconv.models import create_model
    from edgeconv.models.randomize import randomize_

    network = randomize_(create_model("resnet8"), seed=7, shape=(3, 32, 32))
    save_file(network.state_dict(), folder / "w.safetensors")
    torch.save({"state_dict": network.state_dict()}, folder / "w.pth")
    torch.save(torch.nn.DataParallel(network).state_dict(), folder / "parallel.pth")
    hashes = set()
    for name in ("w.safetensors", "w.pth", "parallel.pth"):
        done = edgeconv(
            folder, "export", "resnet8", "--weights", name, "--format", "onnx", "--json", "--force"
        )
        assert done.returncode == 0, done.stderr
        hashes.add(json.loads(done.stdout)["weights_sha256"])
    assert len(hashes) == 1


def test_a_pickle_is_not_executed(folder: Path) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(folder / "exploded"),)

    (folder / "w.pth").write_bytes(pickle.dumps({"fc.weight": Bomb()}))
    done = edgeconv(folder, "export", "resnet8", "--weights", "w.pth")
    failed(done, 1, "w.pth is a pickle that torch.save did not write")
    assert not (folder / "exploded").exists()


USAGE = [
    (["resnet81"], ["unknown model 'resnet81'", "resnet8"]),
    (["qqqq"], ["unknown model", "pass a zoo name"]),
    (["resnet8", *SIZE, "--model-arg", "input_size=16"], ["--input-size contradicts"]),
    (["resnet_early_exit", *SIZE, "--model-arg", "stage=1"], ["--input-size contradicts"]),
    (["resnet18", "--pretrained", "--model-arg", "num_classes=10"], ["the default num_classes"]),
    (["net.py"], ["net.py is a file without the name of a factory", "net.py:make"]),
    (["net.py:cumsum", *SIZE, "--calibration", "data.npz"], ["no operator that int8 covers"]),
    (["resnet8", "-o", "net.py/out"], ["cannot write to net.py/out", "--out"]),
    (["nowhere.py:make"], ["nowhere.py: no such file"]),
    (["nowhere.onnx"], ["nowhere.onnx: no such file"]),
    (["no.such.package:make"], ["no.such.package", "no module named 'no'"]),
    (["net.py:mak"], ["has no 'mak'", "did you mean 'make'?"]),
    (["net.py:number"], ["not a callable"]),
    (["net.py:wrong"], ["returned an object of type str"]),
    (["net.py:make", "--model-arg", "depth=3"], ["unexpected keyword argument 'depth'"]),
    (["net.py:make"], ["input size", "--input-size"]),
    (["net.py:make", *SIZE, "--precision", "int8"], ["int8 needs calibration data"]),
    (["net.py:make", *SIZE, "--calibration", "nowhere"], ["nowhere: no such file"]),
    (["net.py:make", *SIZE, "--calibration", "net.py"], ["not a file that samples are read from"]),
    (["net.py:make", *SIZE, "--opset", "12"], ["opset must be from 18"]),
    (["net.py:make", *SIZE, "--io", "int8"], ["--io int8 applies to int8"]),
    (["net.py:make", *SIZE, "--keep-float", "conv"], ["--keep-float is for", "neither"]),
    (
        ["net.py:make", *SIZE, "--calibration", "data.npz", "--precision", "float16", "--effort=2"],
        ["--effort is for", "neither"],
    ),
    (["net.py:make", *SIZE, "--mean", "0.5"], ["--mean and --std go together"]),
    (["net.py:make", *SIZE, "-o", "."], ["current folder", "folder of its own"]),
    (["net.py:make", *SIZE, "--weights", "nowhere.pth"], ["nowhere.pth: no such file"]),
    (
        ["net.py:make", *SIZE, "--weights", "net.py"],
        ["is not a file of weights", ".safetensors, .pth, .pt"],
    ),
    (["net.py:make", *SIZE, "--labels", "nowhere"], ["nowhere: no such file"]),
    (["net.py:make", "--input-size", "big"], ["'big' is not a size"]),
    (["net.py:make", "--model-arg", "classes"], ["'classes' is not key=value"]),
    (["net.py:make", "--format", "tensorrt"], ["'tensorrt'"]),
    (["net.py:make", "--batch", "0"], ["0 is not in the range"]),
    (["net.py:make", "--input-size", "5x12x12"], ["fails on an input of 1×5×12×12", "whole shape"]),
    (["net.py:make", "--input-size", "2x8x0x16"], ["is not a size", "1,2,8,16,16"]),
    (["net.py:make", "--input-size", "1,,8"], ["'1,,8' is not a size"]),
    (["net.py:make", "--input-size", "2,3,12,12", "--batch", "3"], ["--batch 3 contradicts"]),
    (["net.py:two", *SIZE], ["missing 1 required positional argument", "--input NAME:SHAPE"]),
    (["net.py:tokens", "--input-size", "1,7"], ["'indices'", "--input"]),
    (["net.py:make", *SIZE, "--calibration", "bad_shape.npz"], ["[3, 9, 9]", "[3, 12, 12]"]),
    (["net.py:make", *SIZE, "--calibration", "bad_name.npz"], ["no array 'input'", "'photos'"]),
    (["net.py:make", *SIZE, "--calibration", "data.py:labeled"], ["3 arrays, the network 1"]),
    (["net.py:make", *SIZE, "--calibration", "empty"], ["holds no images"]),
]


@pytest.mark.parametrize(("arguments", "words"), USAGE)
def test_wrong_requests(folder: Path, arguments: list[str], words: list[str]) -> None:
    (folder / "empty").mkdir()
    np.savez(folder / "bad_shape.npz", x=np.zeros((2, 3, 9, 9), np.float32))
    np.savez(folder / "bad_name.npz", photos=np.zeros((2, 3, 12, 12), np.float32))
    (folder / "data.py").write_text("def labeled():\n    yield [[[0.0] * 12] * 12] * 3, 1, 2\n")
    before = sorted(folder.iterdir())
    failed(edgeconv(folder, "export", *arguments), 2, *words)
    assert [path for path in sorted(folder.iterdir()) if path.name != "__pycache__"] == before


FAILURES = [
    (["net.py:broken"], ["broken raised RuntimeError: the flux"]),
    (["net.py:deciding", *SIZE], ["decides by the value of a tensor at net.py", "torch.where"]),
    (["net.py:Unsupported", "--input-size", "3x6x6"], ["Det"]),
    (["net.py:make", *SIZE, "--calibration", "nan.npz"], ["holds NaN"]),
    (["net.py:make", *SIZE, "--calibration", "truncated.npz"], ["not a readable NumPy file"]),
    (["damaged.onnx"], ["damaged.onnx is not a whole ONNX file", "make or copy it again"]),
    (["empty.onnx"], ["empty.onnx is empty", "make or copy it again"]),
    (["resnet8", "--weights", "other.safetensors"], ["does not fit the network"]),
    (["resnet8", "--weights", "data.npz"], ["data.npz does not fit the network", "'x'"]),
    (["resnet8", "--weights", "damaged.safetensors"], ["holds neither what torch.save"]),
    (["syntax.py:make"], ["syntax.py raised SyntaxError"]),
]


@pytest.mark.parametrize(("arguments", "words"), FAILURES)
def test_failures(folder: Path, arguments: list[str], words: list[str]) -> None:
    import torch
    from safetensors.torch import save_file

    np.savez(folder / "nan.npz", x=np.full((2, 3, 12, 12), np.nan, np.float32))
    (folder / "truncated.npz").write_bytes((folder / "data.npz").read_bytes()[:400])
    (folder / "damaged.onnx").write_bytes(b"\x08\x07garbage")
    (folder / "empty.onnx").touch()
    (folder / "damaged.safetensors").write_bytes(b"\x08\x07garbage")
    (folder / "syntax.py").write_text("def make(:\n")
    save_file({"x": torch.zeros(1)}, folder / "other.safetensors")
    before = sorted(folder.iterdir())
    failed(edgeconv(folder, "export", *arguments), 1, *words)
    assert [path for path in sorted(folder.iterdir()) if path.name != "__pycache__"] == before


def test_debug_shows_the_traceback(folder: Path) -> None:
    done = edgeconv(folder, "--debug", "export", "net.py:broken")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "the flux" in done.stderr


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interruption_leaves_nothing(folder: Path, kind: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeconv", "export", "net.py:Slow", *SIZE],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests by nohup ignores hang-ups, and its children do so too.
        preexec_fn=lambda: signal.signal(kind, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob(".Slow.*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(kind)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (128 + kind, "")
    assert stderr.strip().splitlines()[-1] == "error: interrupted"
    assert "Traceback" not in stderr
    assert not list(folder.glob(".Slow.*"))
    assert not (folder / "Slow").exists()


def test_a_full_disk_is_one_line(folder: Path) -> None:
    small = folder / "small"
    small.mkdir()
    mount = f"mount -t tmpfs -o size=256k none {small}"
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, mount], check=False).returncode:
        pytest.skip("needs unshare with user namespaces, to mount a small file system")
    command = f"{sys.executable} -m edgeconv export resnet8 -o {small}/out; echo $?; ls -A {small}"
    done = subprocess.run(
        [*unshare, f"{mount} && {{ {command}; }}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.strip() == "1", done.stderr
    assert f"error: cannot write to {small}/out: No space left on device" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("hint: free some space")
    assert "Traceback" not in done.stderr


def test_no_bundle_there(folder: Path) -> None:
    for command in (["verify", "x"], ["evaluate", "x", "--data", "data.npz"], ["inspect", "x"]):
        done = edgeconv(folder, *command)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
