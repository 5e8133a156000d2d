"""A path is bytes on Linux: no command asks for UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeconv.bundle import MANIFEST_NAME
from support.tiny_models import write_onnx

pytestmark = pytest.mark.slow


def edgeconv(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", "from edgeconv.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=240, check=False)


def test_models_data_and_folders(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"d\xff\xe9")
    odd.mkdir()
    plain = write_onnx(tmp_path / "m.onnx", shape=(1, 3, 16, 16))
    model = plain.rename(odd / os.fsdecode(b"m\xfe.onnx"))
    images = odd / os.fsdecode(b"images\xfd")
    images.mkdir()
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(images / os.fsdecode(b"\xfc%d.png" % index))
    out = odd / "out"
    done = edgeconv("export", model, "-o", out, "--calibration", images)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((out / MANIFEST_NAME).read_text("utf-8"))
    assert manifest["model"] == "m\\xfe.onnx"
    assert manifest["calibration"]["source"] == "images\\xfd"
    for more in (
        ("verify", out),
        ("verify", out, "--json"),
        ("inspect", out),
        ("inspect", model, "--json"),
    ):
        done = edgeconv(*more)
        assert done.returncode == 0, (more, done.stderr)
        done.stdout.decode("utf-8")
    done = edgeconv("bench", model, "--runs", "3", "--no-history")
    assert done.returncode == 2
    assert b"is a name that is not UTF-8" in done.stderr
