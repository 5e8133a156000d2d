"""``run.py`` of real bundles, where nothing of ours can be imported."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from edgeconv.bundle import (
    Artifact,
    Bundle,
    Format,
    IoType,
    Manifest,
    Precision,
    Shown,
)
from edgeconv.cli.predict_command import command
from edgeconv.companion.network import shown
from edgeconv.companion.predict import predict
from edgeconv.errors import BundleError, DataError, UsageError
from edgeconv.export import export
from edgeconv.export.data.images import load_image
from edgeconv.export.runtimes import decode, encode, open_runner
from edgeconv.preprocessing import Preprocessing
from support.manifests import HOSTILE_NAMES
from support.standalone import only, run_alone

pytestmark = pytest.mark.slow

HOW = Preprocessing(resize=40, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


def structure(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    smooth = Image.fromarray(structure(6, 8, 3)).resize((61, 45), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth.save(folder / "turned.jpg", exif=exif)
    smooth.convert("CMYK").save(folder / "cmyk.jpg")
    smooth.convert("L").save(folder / "gray.png")
    alpha = smooth.copy()
    alpha.putalpha(smooth.convert("L"))
    alpha.save(folder / "alpha.png")
    deep = np.asarray(smooth.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.png")
    return sorted(folder.iterdir())


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 5)
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, photos: list[Path]) -> Bundle:
    return export(
        classifier(),
        out=tmp_path_factory.mktemp("classifier") / "out",
        input_size=(3, 24, 32),
        preprocessing=HOW,
        labels=HOSTILE_NAMES,
        calibration=photos[0].parent,
        io=IoType.INT8,
    )


def expected(bundle: Bundle, artifact: Artifact, photo: Path) -> list[Any]:
    manifest = bundle.manifest
    runner = open_runner(
        bundle.file(artifact), artifact.format, artifact.inputs, artifact.outputs, manifest
    )
    return runner.run([load_image(photo, manifest.inputs[0], manifest.preprocessing)])


def assert_says(output: str, scores: Any) -> None:
    """The lines have every label, in the order of the scores and with them."""
    order = np.argsort(-scores, kind="stable")
    lines = [line.strip().split("  ", 1) for line in output.splitlines()]
    assert len(lines) == len(order)
    assert [float(line[0]) for line in lines] == pytest.approx(scores[order].tolist(), rel=1e-5)
    marks = ["plain", "os.abort", "7 * 7", "evil", "BULLET"]
    assert all(marks[index] in line[1] for index, line in zip(order, lines, strict=True))
    assert output.replace("\n", "").isprintable()


@pytest.mark.parametrize("package", ["ai_edge_litert", "onnxruntime"])
def test_it_says_what_the_bundles_own_runner_says(
    bundle: Bundle, photos: list[Path], package: str, tmp_path: Path
) -> None:
    path = only(tmp_path / "packages", "numpy", "PIL", package)
    shutil.copytree(bundle.path, tmp_path / "sent to a colleague")
    script = tmp_path / "sent to a colleague" / "run.py"
    format = Format.ONNX if package == "onnxruntime" else Format.TFLITE
    files = [artifact for artifact in bundle.manifest.artifacts if artifact.format is format]
    assert {artifact.precision for artifact in files} == {Precision.FLOAT32, Precision.INT8}
    assert files[-1].inputs[0].dtype == "int8"
    for artifact in files:
        for photo in photos if artifact is files[-1] else photos[:1]:
            done = run_alone(script, path, photo, "--file", artifact.path, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert_says(done.stdout, expected(bundle, artifact, photo)[0][0])
    done = run_alone(script, path, photos[0], cwd=tmp_path)  # the first that can be run
    assert_says(done.stdout, expected(bundle, files[0], photos[0])[0][0])


def test_on_tflite_runtime_2_14(
    bundle: Bundle, photos: list[Path], tflite214: Callable[[bytes, Any], Any], tmp_path: Path
) -> None:
    path = only(tmp_path / "packages", "PIL")
    artifact = next(a for a in bundle.manifest.artifacts if a.path.endswith("int8.tflite"))
    arguments = (photos[0], "--file", artifact.path)
    python = os.environ["EDGECONV_TFLITE214"]
    done = run_alone(bundle.path / "run.py", path, *arguments, python=python, cwd=tmp_path)
    if "_imaging" in done.stderr:
        pytest.skip("that Python cannot import this one's Pillow")
    assert done.returncode == 0, done.stderr
    # Its kernels round otherwise than LiteRT's, so it is compared with itself.
    taken, given = artifact.inputs[0], artifact.outputs[0]
    pixels = load_image(photos[0], bundle.manifest.inputs[0], HOW).transpose(0, 2, 3, 1)
    feeds = {taken.name: encode(pixels, taken)}
    (got,) = tflite214(bundle.file(artifact).read_bytes(), feeds).values()
    assert_says(done.stdout, decode(got, given)[0])


def test_without_a_runtime_it_says_what_to_install(
    bundle: Bundle, photos: list[Path], tmp_path: Path
) -> None:
    path = only(tmp_path / "packages", "numpy", "PIL")
    done = run_alone(bundle.path / "run.py", path, photos[0], cwd=tmp_path)
    assert done.returncode == 1
    assert "install ai-edge-litert or tflite-runtime or onnxruntime" in done.stderr


def test_onnx_runtime_is_kept_quiet_before_it_is_imported(
    bundle: Bundle, photos: list[Path], tmp_path: Path
) -> None:
    path = only(tmp_path / "packages", "numpy", "PIL")
    asked = "import os\nraise SystemExit('telemetry off: ' + os.environ['ORT_DISABLE_TELEMETRY'])"
    (path / "onnxruntime.py").write_text(asked)
    done = run_alone(bundle.path / "run.py", path, photos[0], cwd=tmp_path)
    assert done.stderr == "telemetry off: 1\n"


def test_bad_pictures_are_named_in_one_line(bundle: Bundle, tmp_path: Path) -> None:
    path = only(tmp_path / "packages", "numpy", "PIL", "onnxruntime")
    Image.fromarray(structure(45, 61, 3)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2000])
    (tmp_path / "text.jpg").write_text("no picture")
    for name in ("cut.png", "text.jpg", "nowhere.png"):
        done = run_alone(bundle.path / "run.py", path, tmp_path / name, cwd=tmp_path)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr


DAMAGED = {  # what Pillow raises for it
    "chunk.png": SyntaxError,
    "huge.bmp": Image.DecompressionBombError,
    "second.tif": TypeError,
}


def read_plainly(file: Path) -> None:
    with Image.open(file) as image:
        image.load()
        image.seek(getattr(image, "n_frames", 1) - 1)


def damaged(folder: Path, name: str) -> Path:
    file = folder / name
    Image.fromarray(structure(45, 61, 3)).save(file)
    content = bytearray(file.read_bytes())
    if name == "chunk.png":
        at = content.index(b"IDAT")
        content[at - 4 : at] = (100).to_bytes(4, "big")  # the length of the chunk
    elif name == "huge.bmp":
        content[18:22] = (1 << 20).to_bytes(4, "little")  # the width
        content[22:26] = (1 << 20).to_bytes(4, "little")
    else:
        first = int.from_bytes(content[4:8], "little")
        next_one = first + 2 + 12 * int.from_bytes(content[first : first + 2], "little")
        content += bytes(len(content) % 2)
        content[next_one : next_one + 4] = len(content).to_bytes(4, "little")
        content += bytes(6)  # a second picture without tags
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_of_any_kind_is_that_of_the_picture(
    bundle: Bundle, tmp_path: Path, name: str
) -> None:
    """Whatever Pillow raises, and not a fault of the bundle."""
    file = damaged(tmp_path, name)
    with pytest.raises(DAMAGED[name]):
        read_plainly(file)
    said = "more than EDGECONV_MAX_IMAGE_PIXELS" if name == "huge.bmp" else "cannot be read"
    with pytest.raises(DataError, match=said) as refused:
        predict(bundle, file)
    assert str(file) in str(refused.value)
    path = only(tmp_path / "packages", "numpy", "PIL", "onnxruntime")
    done = run_alone(bundle.path / "run.py", path, file, cwd=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("change", ["cut", "empty", "missing"])
@pytest.mark.parametrize("package", ["ai_edge_litert", "onnxruntime"])
def test_a_damaged_model_file_is_named_in_one_line(
    bundle: Bundle, photos: list[Path], package: str, change: str, tmp_path: Path
) -> None:
    format = Format.ONNX if package == "onnxruntime" else Format.TFLITE
    name = next(a.path for a in bundle.manifest.artifacts if a.format is format)
    shutil.copytree(bundle.path, tmp_path / "out")
    content = (tmp_path / "out" / name).read_bytes()
    (tmp_path / "out" / name).unlink()
    if change != "missing":
        (tmp_path / "out" / name).write_bytes(content[:2000] if change == "cut" else b"")
    path = only(tmp_path / "packages", "numpy", "PIL", package)
    done = run_alone(tmp_path / "out" / "run.py", path, photos[0], cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name} cannot be loaded: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("change", ["cut", "no text", "missing"])
def test_damaged_labels_are_named_in_one_line(
    bundle: Bundle, photos: list[Path], change: str, tmp_path: Path
) -> None:
    shutil.copytree(bundle.path, tmp_path / "out")
    labels = tmp_path / "out" / "labels.txt"
    content = labels.read_bytes()
    labels.unlink()
    if change != "missing":
        labels.write_bytes(content[:10] if change == "cut" else b"\xff" + content)
    path = only(tmp_path / "packages", "numpy", "PIL", "onnxruntime")
    done = run_alone(tmp_path / "out" / "run.py", path, photos[0], cwd=tmp_path)
    assert done.returncode == 1
    says = {"cut": "has [12] lines, not 5", "no text": "cannot be read: 'utf-8'"}
    assert re.match(f"labels.txt {says.get(change, 'cannot be read: .*No such file')}", done.stderr)
    assert len(done.stderr.splitlines()) == 1


CAMERAS = {
    "cv2": "import numpy\nframes = [numpy.load('frame.npy')[:, :, ::-1]] * 2\n"
    "class VideoCapture:\n    def __init__(self, index): pass\n"
    "    def read(self): return (True, frames.pop()) if frames else (False, None)\n",
    "picamera2": "from PIL import Image\nimport numpy\n"
    "class Picamera2:\n    left = 2\n    def start(self): self.frame = numpy.load('frame.npy')\n"
    "    def capture_image(self, name):\n        assert name == 'main'\n"
    "        if not self.left: raise SystemExit\n        self.left -= 1\n"
    "        return Image.fromarray(self.frame).convert('RGBA')\n",
}


@pytest.mark.parametrize("camera", CAMERAS)
def test_camera(bundle: Bundle, camera: str, tmp_path: Path) -> None:
    """Against a stand-in, for the suite has no camera: each frame is one answer, in RGB."""
    path = only(tmp_path / "packages", "numpy", "PIL", "onnxruntime")
    (path / f"{camera}.py").write_text(CAMERAS[camera])
    frame = np.asarray(Image.fromarray(structure(6, 8, 3)).resize((61, 45)))
    np.save(tmp_path / "frame.npy", frame)
    Image.fromarray(frame).save(tmp_path / "frame.png")
    done = run_alone(bundle.path / "run.py", path, "--camera", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    artifact = next(a for a in bundle.manifest.artifacts if a.format is Format.ONNX)
    half = done.stdout[: len(done.stdout) // 2]
    assert done.stdout == half * 2
    assert_says(half, expected(bundle, artifact, tmp_path / "frame.png")[0][0])


def test_a_picture_or_the_camera(bundle: Bundle, tmp_path: Path) -> None:
    path = only(tmp_path / "packages", "numpy", "PIL", "onnxruntime")
    for arguments in ((), ("a.png", "--camera")):
        done = run_alone(bundle.path / "run.py", path, *arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert "name a picture, or pass --camera" in done.stderr


def test_predict_says_the_same(bundle: Bundle, photos: list[Path], tmp_path: Path) -> None:
    """Even where the script that came with the bundle was changed."""
    shutil.copytree(bundle.path, tmp_path / "out")
    (tmp_path / "out" / "run.py").write_text("raise SystemExit('never run')")
    for artifact in bundle.manifest.artifacts:
        arguments = [str(tmp_path / "out"), str(photos[0]), "--file", artifact.path]
        done = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert_says(done.stdout, expected(bundle, artifact, photos[0])[0][0])


def test_predict_leaves_a_reader_that_left_to_the_command_line(
    bundle: Bundle, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no fault of the picture, which ``| head`` had shown as one."""

    class Closed(io.TextIOWrapper):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Closed(io.BytesIO()))
    with pytest.raises(BrokenPipeError):
        predict(bundle, photos[0])


def test_predict_on_a_device_says_the_same(bundle: Bundle, photos: list[Path]) -> None:
    device = ["--device", f"local:{sys.executable}"]
    for artifact in bundle.manifest.artifacts[::-1]:
        arguments = [str(bundle.path), str(photos[0]), "--file", artifact.path]
        done = CliRunner().invoke(command, [*arguments, *device], catch_exceptions=False)
        assert_says(done.stdout, expected(bundle, artifact, photos[0])[0][0])


def test_predict_on_a_device_without_the_runtime(
    bundle: Bundle, photos: list[Path], tmp_path: Path
) -> None:
    class Bare:
        name = "bare"

        def reads(self, file: Path) -> bool:
            return False

        def run(self, file: Path, batches: Any) -> Any:
            raise AssertionError

    with pytest.raises(UsageError, match="bare has no runtime for these files"):
        predict(bundle, photos[0], place=Bare())


def test_the_manifest_states_the_task(bundle: Bundle) -> None:
    """An older manifest lacks it, and is read; then the interface shows it."""
    path = bundle.path / "manifest.json"
    stated = json.loads(path.read_text())
    assert (stated["schema_version"], stated["task"]) == (3, "classification")
    stated["schema_version"] = 2
    del stated["task"]
    older = Manifest.parse(json.dumps(stated), path)
    assert older.task is None
    assert shown(older) is Shown.CLASSES
    assert shown(older.model_copy(update={"task": Shown.OUTPUTS})) is Shown.OUTPUTS


def test_predict_refuses_what_it_cannot_do(
    bundle: Bundle, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("no picture")

    def error(*arguments: str | Path) -> Any:
        return CliRunner().invoke(command, [str(each) for each in arguments]).exception

    for arguments, kind, said in (
        ((bundle.path, photos[0], "--file", "other.onnx"), UsageError, "has no 'other.onnx'"),
        ((bundle.path, photos[0], "-o", tmp_path / "a.png"), UsageError, "nothing is written"),
        ((bundle.path, tmp_path / "nowhere.jpg"), UsageError, "no such file"),
        ((bundle.path, tmp_path / "text.jpg"), DataError, "cannot identify image file"),
    ):
        found = error(*arguments)
        assert isinstance(found, kind)
        assert said in str(found)


@pytest.mark.parametrize("change", [{"dtype": "float33"}, {"scale": float("inf"), "zero_point": 0}])
def test_a_manifest_that_contradicts_its_files(
    bundle: Bundle, photos: list[Path], change: dict[str, Any], tmp_path: Path
) -> None:
    manifest = bundle.manifest
    first = manifest.artifacts[0]
    wrong = first.outputs[0].model_copy(update=change)
    made = manifest.model_copy(
        update={"outputs": (wrong,), "artifacts": (first.model_copy(update={"outputs": (wrong,)}),)}
    )
    with pytest.raises(BundleError, match="contradicts its files"):
        predict(Bundle(bundle.path, made), photos[0])


def test_segmentation_writes_a_mask(photos: list[Path], tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    made = export(
        network, out=tmp_path / "out", input_size=(3, 24, 32), preprocessing=HOW,
        labels=HOSTILE_NAMES[:4],
    )  # fmt: skip
    path = only(tmp_path / "packages", "numpy", "PIL", "ai_edge_litert")
    done = run_alone(made.path / "run.py", path, photos[0], "--out", "m.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    artifact = next(a for a in made.manifest.artifacts if a.format is Format.TFLITE)
    wanted = expected(made, artifact, photos[0])[0][0].argmax(0)
    with Image.open(tmp_path / "m.png") as mask:
        assert mask.mode == "P"
        assert np.array_equal(np.asarray(mask), wanted)
    share = 100 * (wanted == 1).mean()
    assert f"{share:7.2f} %  {HOSTILE_NAMES[1]}" in done.stdout


class TwoInputs(nn.Module):
    """Adds rows of a table to a sequence."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.table = nn.Embedding(9, 4)
        self.mix = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"mixed": self.mix(x + self.table(ids))}


def test_arrays(tmp_path: Path) -> None:
    """A network of other inputs takes them by name, checks them, and writes its outputs."""
    x = np.random.default_rng(3).normal(size=(1, 6, 4)).astype(np.float32)
    ids = np.array([[0, 8, 1, 5, 5, 2]])
    example = {"x": torch.from_numpy(x), "ids": torch.from_numpy(ids)}
    made = export(TwoInputs(), out=tmp_path / "out", example=example)
    path = only(tmp_path / "packages", "numpy", "ai_edge_litert", "onnxruntime")
    np.savez(tmp_path / "in.npz", x=x.astype(np.float64), ids=ids)
    with torch.no_grad():
        wanted = TwoInputs()(**example)["mixed"].numpy()
    for artifact in made.manifest.artifacts:
        arguments = ("in.npz", "--file", artifact.path, "--out", "got.npz")
        done = run_alone(made.path / "run.py", path, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / "got.npz") as got:
            (name,) = got.files
            np.testing.assert_allclose(got[name], wanted, rtol=1e-5, atol=1e-6)
        assert "float32 (1, 6, 4)" in done.stdout
    np.savez(tmp_path / "long.npz", x=x[:, :5], ids=ids)
    np.savez(tmp_path / "bytes.npz", x=x.astype(np.uint8), ids=ids)
    np.savez(tmp_path / "one.npz", x=x)
    np.save(tmp_path / "alone.npy", x)
    np.savez(tmp_path / "pickled.npz", x=np.array([object()]), ids=ids)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "one.npz").read_bytes()[:200])
    Image.fromarray(structure(8, 8, 3)).save(tmp_path / "photo.jpg")
    np.savez(tmp_path / "beyond.npz", x=x, ids=ids + 2)  # the table has 9 rows
    for file, said in {
        "long.npz": r"'x' is float32 \(1, 5, 4\), and the network takes float32 \(1, 6, 4\)",
        "bytes.npz": "'x' is uint8 ",
        "one.npz": "has no array 'ids'",
        "alone.npy": "'alone.npy' is no .npz file",
        "pickled.npz": "'pickled.npz' is no .npz file of numbers$",
        "cut.npz": "'cut.npz' is no .npz file",
        "photo.jpg": "'photo.jpg' is no .npz file",
        "nowhere.npz": "'nowhere.npz' is no .npz file",
        "beyond.npz": "^InvalidArgument: .* idx=10 must be within",
    }.items():
        done = run_alone(made.path / "run.py", path, file, cwd=tmp_path)
        assert done.returncode == 1
        lines = [line for line in done.stderr.splitlines() if "E:onnxruntime" not in line]
        assert len(lines) == 1
        assert re.search(said, lines[0])
        if file != "nowhere.npz":
            with pytest.raises(DataError):
                predict(made, tmp_path / file)
