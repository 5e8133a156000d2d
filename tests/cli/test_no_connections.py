"""No command opens a connection that was not asked for, or writes where it should not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from support.system_calls import WATCHED_CALLS, written

pytestmark = pytest.mark.slow

# Python reports every socket to its audit hooks before it is used; native code is kept from the
# network by the namespace of the second test.
WATCHED = """
import sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request"):
        print("CONNECTION", event, arguments[1:], file=sys.stderr)
sys.addaudithook(watch)
from edgeconv.cli import main
main()
"""

COMMANDS = [
    ["export", "resnet8", "-o", "out", "--calibration", "random", "--calibration-size", "4"],
    ["verify", "out"],
    ["inspect", "out"],
    ["evaluate", "out", "--data", "data.npz"],
    ["predict", "out", "photo.png"],
    ["bench", "out", "--runs", "1", "--seconds", "0", "--warmup", "0", "--no-history"],
    ["models"],
]


def run(prefix: list[str], folder: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 32, 32)).astype(np.float32)
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / "photo.png")
    np.savez(folder / "data.npz", x=x, y=np.zeros(4, np.int64))
    for arguments in COMMANDS:
        done = subprocess.run(
            [*prefix, sys.executable, "-c", WATCHED, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "CONNECTION" not in done.stderr


def test_python_opens_none(tmp_path: Path) -> None:
    run([], tmp_path)


def test_everything_works_without_a_network(tmp_path: Path) -> None:
    unshare = ["unshare", "--user", "--map-root-user", "--net"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs unshare with user namespaces, to take the network away")
    run(unshare, tmp_path)


# ONNX Runtime reports from a thread of its own, some time after the import.
LOADS = {
    "package": "from pathlib import Path\nfrom edgeconv.export.runtimes import open_session\n"
    "open_session(Path('m').read_bytes())",
    "runner": "import sys\nsys.argv = ['runner']\nfrom edgeconv.runner import runner\n"
    "runner.find_runtime('m.onnx', None)",
}


def traced(folder: Path, program: str) -> str:
    """Run Python in an empty home; returns its system calls for sockets and new files."""
    log = folder / "calls"
    command = ["strace", "-f", "-qq", "-e", "trace=network,openat,mkdir", "-o", log]
    variables = {"HOME": str(folder / "home"), "PATH": os.environ["PATH"]}
    (folder / "home").mkdir(exist_ok=True)
    subprocess.run(
        [*command, sys.executable, "-B", "-c", program],
        cwd=folder,
        env=variables,
        check=True,
        capture_output=True,
        timeout=120,
    )
    return log.read_text("utf-8", "replace")


# Every command that promises to stay on this machine, in an order in which each has its input.
EVERY = [
    [*("export", "resnet8", "-o", "out", "--calibration", "random", "--calibration-size", "4")],
    ["verify", "out"],
    ["inspect", "out"],
    ["evaluate", "out", "--data", "data.npz", "-o", "accuracy.json"],
    [*("bench", "out", "--runs", "1", "--seconds", "0", "--warmup", "0", "-o", "latency.json")],
    ["predict", "out", "photo.png"],
    ["history"],
    ["models"],
    ["cost", "resnet8"],
    ["report", "latency.json", "-o", "page.html"],
]


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_every_command_in_system_calls(tmp_path: Path) -> None:
    """No socket of a network is opened, native code included, and nothing is written elsewhere."""
    folder, home, temporary = (tmp_path / name for name in ("work", "home", "tmp"))
    for each in (folder, home, temporary):
        each.mkdir()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 32, 32)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.zeros(4, np.int64))
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / "photo.png")
    variables = {"HOME": str(home), "PATH": os.environ["PATH"], "TMPDIR": str(temporary)}
    variables["EDGECONV_LOCK"] = str(tmp_path / "lock")
    ours = (folder, temporary, home / ".cache/edgeconv", home / ".local/state/edgeconv")
    allowed = {*(parent for own in ours for parent in own.parents), tmp_path / "lock"}
    for arguments in EVERY:
        log = tmp_path / "calls"
        watch = [
            "strace",
            "-f",
            "-qq",
            "-s",
            "4096",
            "-e",
            f"trace={WATCHED_CALLS}",
            "-o",
            str(log),
        ]
        done = subprocess.run(
            [*watch, sys.executable, "-B", "-m", "edgeconv", *arguments],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr)
        calls = log.read_text("utf-8", "replace")
        assert "AF_INET" not in calls, arguments
        elsewhere = {
            path
            for path in written(calls, folder)
            if path not in allowed and not any(path.is_relative_to(own) for own in ours)
        }
        assert not elsewhere, (arguments, elsewhere)
    assert {path.name for path in folder.iterdir()} == {
        *("data.npz", "photo.png", "out", "accuracy.json", "latency.json", "page.html"),
    }
    # PyTorch leaves a folder of its own there.
    assert not list(temporary.glob("*edgeconv*"))


def test_what_counts_as_written(tmp_path: Path) -> None:
    """The test above would pass if nothing were found."""
    calls = """
12 openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3
12 openat(AT_FDCWD, "a", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0666) = 3
12 openat(AT_FDCWD, "/dev/null", O_RDWR) = 3
12 openat(AT_FDCWD, "/b", O_RDWR|O_CREAT, 0666) = -1 EACCES (Permission denied)
12 mkdir("c", 0777) = 0
12 renameat2(AT_FDCWD, "a", AT_FDCWD, "/d", RENAME_EXCHANGE) = 0
"""
    packages = sysconfig.get_path("purelib")
    calls += f'12 openat(AT_FDCWD, "{packages}/__pycache__/f.cpython-311.pyc.140", O_CREAT) = 3\n'
    assert written(calls, tmp_path) == {tmp_path / "a", tmp_path / "c", Path("/d")}


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("what", ["package", "runner"])
def test_runtimes_keep_quiet_in_system_calls(tmp_path: Path, what: str) -> None:
    (tmp_path / "m").write_bytes(small_onnx())
    (tmp_path / "m.onnx").write_bytes(small_onnx())
    calls = traced(tmp_path, LOADS[what] + "\nimport time\ntime.sleep(5)")
    assert "AF_INET" not in calls
    assert not any((tmp_path / "home").iterdir())


def test_hugging_face_keeps_quiet() -> None:
    """Its switch is read when it is imported; the user's own setting stays."""
    program = "import edgeconv, os; print(os.environ['HF_HUB_DISABLE_TELEMETRY'])"
    for own, expected in (({}, "1"), ({"HF_HUB_DISABLE_TELEMETRY": "0"}, "0")):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, env=environment | own, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected


def small_onnx() -> bytes:
    """A network of one operator."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    opsets = [helper.make_opsetid("", 20)]
    data: bytes = helper.make_model(graph, ir_version=9, opset_imports=opsets).SerializeToString()
    return data
