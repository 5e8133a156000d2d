"""``run.cc`` of a bundle: what it makes of pictures, and what it says, against ``run.py``."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import PIL
import pytest
import torch
from PIL import Image
from torch import nn

from edgeconv.bundle import Artifact, Format, IoType, Layout, Manifest, Precision, Shown, TensorInfo
from edgeconv.companion.native import native_sources
from edgeconv.companion.template import c_literal
from edgeconv.companion.write import run_script
from edgeconv.export import export
from edgeconv.preprocessing import Color, Fit, Interpolation, Preprocessing
from edgeconv.printable import printable
from support.lowering import Net
from support.manifests import made_manifest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
]
LABELS = ("plain", '"; abort(); //', "??/\\\n", "\x1b[2J\u202eevil", "%s %n ø 猫")
HOWS = {
    "crop": (Preprocessing(resize=40, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)), 3),
    "bicubic crop, gray": (Preprocessing(crop=0.875, interpolation=Interpolation.BICUBIC), 1),
    "lanczos crop": (Preprocessing(resize=30, interpolation=Interpolation.LANCZOS), 3),
    "nearest crop, gray in three": (
        Preprocessing(interpolation=Interpolation.NEAREST, color=Color.GRAY, mean=(0.5,)), 3,
    ),
    "crop not averaged": (Preprocessing(antialias=False, std=(0.5,)), 3),
    "squash": (Preprocessing(fit=Fit.SQUASH), 3),
    "bicubic squash, gray": (
        Preprocessing(fit=Fit.SQUASH, interpolation=Interpolation.BICUBIC, crop=0.875), 1,
    ),
    "nearest squash": (
        Preprocessing(fit=Fit.SQUASH, resize=70, interpolation=Interpolation.NEAREST), 3,
    ),
    "bicubic squash not averaged": (
        Preprocessing(fit=Fit.SQUASH, interpolation=Interpolation.BICUBIC, antialias=False), 3,
    ),
    "letterbox, gray": (Preprocessing(fit=Fit.LETTERBOX, padding=(9, 80, 200)), 1),
    "nearest letterbox": (
        Preprocessing(fit=Fit.LETTERBOX, interpolation=Interpolation.NEAREST), 3,
    ),
    "lanczos letterbox, BGR": (
        Preprocessing(
            fit=Fit.LETTERBOX, interpolation=Interpolation.LANCZOS, color=Color.BGR,
            padding=(1, 2, 250),
        ), 3,
    ),
    "bytes for a network of BGR": (
        Preprocessing(color=Color.BGR, inside=True, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)), 3,
    ),
    "bicubic letterbox not averaged": (
        Preprocessing(
            antialias=False, interpolation=Interpolation.BICUBIC, fit=Fit.LETTERBOX,
            color=Color.GRAY,
        ), 1,
    ),
}  # fmt: skip
# Wide, tiny and very long.
SHAPES = [(45, 61, 3), (5, 4, 3), (7, 30, 1), (2, 70_001, 3)]
if int(PIL.__version__.split(".")[0]) >= 13:
    # High ones, columns first. Earlier releases start with the rows, and round otherwise.
    SHAPES += [(90, 31, 3), (70, 60, 3), (80, 9, 1)]


def structure(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def manifest_of(how: Preprocessing, channels: int) -> Manifest:
    own = TensorInfo(name="x", shape=(1, channels, 24, 32), dtype="float32", layout=Layout.NCHW)
    given = own.model_copy(update={"shape": (1, 24, 32, channels), "layout": Layout.NHWC})
    scores = TensorInfo(name="y0", shape=(1, 5), dtype="float32")
    file = Artifact(
        path="m.tflite", format=Format.TFLITE, precision=Precision.FLOAT32, bytes=1,
        sha256="0" * 64, opset=None, operators={}, lowest_runtime="", inputs=(given,),
        outputs=(scores,), float_fallback=(), verification=None,
    )  # fmt: skip
    made = made_manifest((1, channels, 24, 32), (1, 5), preprocessing=how, labels=LABELS)
    return made.model_copy(update={"inputs": (own,), "artifacts": (file,)})


def all_kinds(manifests: list[Manifest], folder: Path) -> Path:
    """A program that writes what each of these networks would get for a picture, in order.

    Each kind of preparation is a namespace.
    """
    texts = [sources["picture.h"] for each in manifests if (sources := native_sources(each))]
    headers = sorted(set(re.findall(r"#include <(?!stb_image)[a-z]+>", texts[0])))
    calls = []
    for i, text in enumerate(texts):
        (folder / f"picture{i}.h").write_text(text, "utf-8")
        calls.append(f"{{ k{i}::Place place; write(k{i}::prepare(k{i}::read(path), place)); }}")
    probe = [
        *headers,
        *(f'namespace k{i} {{\n#include "picture{i}.h"\n}}' for i in range(len(texts))),
        "void write(const std::vector<float> &values) {",
        "  std::fwrite(values.data(), sizeof(float), values.size(), stdout);",
        "}",
        "int main(int, char **arguments) {",
        "  const char *path = arguments[1];",
        *calls,
        "}",
    ]
    (folder / "probe.cc").write_text("\n".join(probe))
    subprocess.run(
        ["g++", "-std=c++17", "-O0", "-Wall", "-Wextra", "-Wno-unused", "-Werror",
         "-ffp-contract=off", "probe.cc", "-o", "probe"],
        cwd=folder, check=True,
    )  # fmt: skip
    return folder / "probe"


def test_it_prepares_the_numbers_that_run_py_prepares(tmp_path: Path) -> None:
    """Equal to the byte, for every kind of preparation and of size."""
    manifests = [manifest_of(*how) for how in HOWS.values()]
    program = all_kinds(manifests, tmp_path)
    scripts: list[dict[str, Any]] = [{"__name__": "run"} for _ in manifests]
    for script, manifest in zip(scripts, manifests, strict=True):
        exec(run_script(manifest, tmp_path), script)
    for shape in SHAPES:
        pixels = structure(*shape)
        path = tmp_path / "picture.ppm"
        Image.fromarray(pixels if shape[2] == 3 else pixels[:, :, 0]).save(path)
        done = subprocess.run([program, path], check=True, capture_output=True, timeout=120)
        values = np.frombuffer(done.stdout, np.float32)
        for name, script in zip(HOWS, scripts, strict=True):
            wanted = script["prepare"](script["read"](str(path)))
            got, values = np.split(values, [wanted.size])
            got = got.reshape(1, 24, 32, -1).transpose(0, 3, 1, 2)
            np.testing.assert_array_equal(got, wanted, f"{name}, {shape}")
        assert values.size == 0


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "photo.ppm"
    Image.fromarray(structure(6, 8, 3)).resize((61, 45), Image.Resampling.BICUBIC).save(path)
    return path


def built(bundle: Path, folder: Path) -> Path:
    pytest.importorskip("ai_edge_litert")
    if shutil.which("cmake") is None:
        pytest.skip("needs cmake")
    for command in (
        ["cmake", "-S", bundle, "-B", folder, f"-DPython3_EXECUTABLE={sys.executable}"],
        ["cmake", "--build", folder],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


def said(command: list[str | Path], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def test_it_says_what_run_py_says(photo: Path, tmp_path: Path) -> None:
    """Labels and scores in every digit that is printed, in float and in int8 with int8 inputs."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 5)
    )
    bundle = export(
        network, out=tmp_path / "out", input_size=(3, 24, 32), labels=LABELS, io=IoType.INT8,
        calibration=photo.parent, preprocessing=HOWS["crop"][0],
    )  # fmt: skip
    program = built(bundle.path, tmp_path / "build")
    files = [a.path for a in bundle.manifest.artifacts if a.format is Format.TFLITE]
    assert len(files) == 2
    for name in files:
        python = [sys.executable, bundle.path / "run.py", photo, "--file", name]
        assert said([program, photo, "--file", name], tmp_path) == said(python, tmp_path)
    (tmp_path / "cut.ppm").write_bytes(photo.read_bytes()[:2000])
    (tmp_path / "deep.ppm").write_bytes(b"P6 4 4 65535\n" + bytes(96))
    for arguments, why in (
        ([tmp_path / "cut.ppm"], "is cut off"),
        ([tmp_path / "deep.ppm"], "no PPM picture of 8 bits"),
        ([tmp_path / "nowhere.ppm"], "cannot be opened"),
        (
            [photo, "--file", "other.tflite"],
            f"none of the files: {' '.join(files)}",
        ),
        ([], "usage:"),
    ):
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert why in done.stderr


def test_it_says_the_label(photo: Path, tmp_path: Path) -> None:
    """Of files that give only the best class."""
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 5)
    ).eval()
    nn.init.zeros_(network[-1].bias)  # type: ignore[arg-type]
    bundle = export(
        network, out=tmp_path / "out", input_size=(3, 24, 32), labels=LABELS, output="label",
        formats=["tflite"], calibration=photo.parent,
    )  # fmt: skip
    program = built(bundle.path, tmp_path / "build")
    with Image.open(photo) as picture:
        pixels = np.asarray(picture.resize((32, 24), Image.Resampling.BILINEAR), np.float32) / 255
    with torch.no_grad():
        best = int(network(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())).argmax())
    for artifact in bundle.manifest.artifacts:
        arguments: list[str | Path] = [photo, "--file", artifact.path]
        line = said([program, *arguments], tmp_path)
        assert line == said([sys.executable, bundle.path / "run.py", *arguments], tmp_path)
        assert line == f"{printable(LABELS[best])}\n"


def test_it_writes_the_mask_that_run_py_writes(photo: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    bundle = export(
        network, out=tmp_path / "out", input_size=(3, 24, 32), labels=LABELS[:4],
        precisions=["float32"],
    )  # fmt: skip
    program = built(bundle.path, tmp_path / "build")
    name = next(a.path for a in bundle.manifest.artifacts if a.format is Format.TFLITE)
    python = [sys.executable, bundle.path / "run.py", photo, "--file", name, "--out", "mask"]
    shares = said([*python[:-1], "m.png"], tmp_path)
    (tmp_path / "m.pgm").symlink_to(tmp_path / "kept.pgm")  # stays a link
    parts = [tmp_path / f".edgeconv.0123abc{digit}.part" for digit in "def"]
    with parts[0].open("wb") as held, parts[1].open("wb"):
        os.mkfifo(parts[2])
        fcntl.flock(held, fcntl.LOCK_EX)  # as another run does that is not done
        ran = said([program, photo, "--out", "m.pgm"], tmp_path)
    assert ran.replace("m.pgm", "m.png") == shares
    assert sorted(tmp_path.glob(".edgeconv*")) == [parts[0], parts[2]]  # no part of its own
    with Image.open(tmp_path / "m.png") as wanted, Image.open(tmp_path / "m.pgm") as got:
        np.testing.assert_array_equal(np.asarray(got), np.asarray(wanted))
    assert (tmp_path / "m.pgm").is_symlink()


class Detector(nn.Module):
    """Three boxes, whose corners and classes depend on the picture."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.corners, self.scores = nn.Linear(32, 12), nn.Linear(32, 15)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        seen = 8 * self.features(x)
        corner, size = (24 * torch.sigmoid(self.corners(seen))).view(-1, 3, 2, 2).unbind(2)
        best, classes = torch.sigmoid(self.scores(seen)).view(-1, 3, 5).max(2)
        return torch.cat([corner, corner + size / 2], 2), best, classes


def test_it_draws_the_boxes_that_run_py_draws(photo: Path, tmp_path: Path) -> None:
    """Boxes in pixels of the picture, which lies in a letterbox."""
    bundle = export(
        Detector().eval(), out=tmp_path / "out", input_size=(3, 24, 32), labels=LABELS,
        precisions=["float32"], preprocessing=Preprocessing(fit=Fit.LETTERBOX),
    )  # fmt: skip
    assert bundle.manifest.task is Shown.BOXES
    program = built(bundle.path, tmp_path / "build")
    name = next(a.path for a in bundle.manifest.artifacts if a.format is Format.TFLITE)
    python = [sys.executable, bundle.path / "run.py", photo, "--file", name, "--out", "b.png"]
    lines = said(python, tmp_path)
    assert len(lines.splitlines()) == 4
    got = said([program, photo, "--out", "b.ppm"], tmp_path)
    assert got.replace("b.ppm", "b.png") == lines
    with Image.open(tmp_path / "b.png") as wanted, Image.open(tmp_path / "b.ppm") as drawn:
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(wanted))


def test_it_says_the_best_five(photo: Path, tmp_path: Path) -> None:
    """Of files that give only these."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 7)
    )
    bundle = export(
        network, out=tmp_path / "out", input_size=(3, 24, 32), labels=[*LABELS, "six", "seven"],
        calibration=photo.parent, io=IoType.UINT8, output="top5",
    )  # fmt: skip
    program = built(bundle.path, tmp_path / "build")
    for name in (a.path for a in bundle.manifest.artifacts if a.format is Format.TFLITE):
        python = [sys.executable, bundle.path / "run.py", photo, "--file", name]
        lines = said(python, tmp_path)
        assert len(lines.splitlines()) == 5
        assert said([program, photo, "--file", name], tmp_path) == lines


def test_it_shows_names_without_what_a_terminal_obeys(photo: Path, tmp_path: Path) -> None:
    """The names of tensors come from a stranger's file, and several outputs are shown by them."""
    name = '\x1b[2J\u202e"; abort(); // \\'
    net = Net(17)
    x = net.input("picture", (1, 3, 24, 32))
    net.output(net.op("ReduceMean", x, axes=[2, 3], keepdims=0))
    net.output(net.op("ReduceMax", x, axes=[2, 3], keepdims=0))
    proto = net.proto()
    old = proto.graph.output[0].name
    proto.graph.output[0].name = proto.graph.node[0].output[0] = name
    assert old != name
    onnx.save(proto, tmp_path / "net.onnx")
    bundle = export(
        tmp_path / "net.onnx", out=tmp_path / "out", formats=["tflite"], precisions=["float32"]
    )
    program = built(bundle.path, tmp_path / "build")
    shown = said([program, photo], tmp_path)
    assert shown.replace("\n", "").isprintable()
    python = said([sys.executable, bundle.path / "run.py", photo], tmp_path).splitlines()
    with Image.open(photo) as picture:
        pixels = np.asarray(picture.resize((32, 24), Image.Resampling.BILINEAR)) / 255
    for line, other, wanted in zip(
        shown.splitlines(), python, (pixels.mean((0, 1)), pixels.max((0, 1))), strict=True
    ):
        label, numbers = line.rsplit(": ", 1)
        assert other.startswith(f"{label} float32")
        np.testing.assert_allclose(np.array(numbers.split(), float), wanted, rtol=1e-5)


def test_no_source_where_it_could_not_run() -> None:
    """Without a TFLite file, or for a network of something else than one image."""
    manifest = manifest_of(*HOWS["crop"])
    assert native_sources(manifest.model_copy(update={"artifacts": ()})) is None
    vector = (TensorInfo(name="x", shape=(1, 7), dtype="float32"),)
    assert native_sources(manifest.model_copy(update={"inputs": vector})) is None


def test_labels_are_never_code() -> None:
    assert c_literal('"; ??/\\\nø') == r'"\042; \077\077/\134\012\303\270"'
