"""What is written of ``run.py`` for each kind of network, and that names in it are never code."""

from __future__ import annotations

import ast
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeconv.bundle import Manifest, OutputKind, TensorInfo
from edgeconv.companion.write import run_script, write_companions
from edgeconv.preprocessing import Fit, Preprocessing
from support.manifests import HOSTILE_NAMES, made_manifest

pytestmark = pytest.mark.slow


def boxes_manifest() -> Manifest:
    outputs = (
        TensorInfo(name="scores", shape=(1, 3), dtype="float32"),
        TensorInfo(name="boxes", shape=(1, 3, 4), dtype="float32"),
        TensorInfo(name="classes", shape=(1, 3), dtype="int64"),
    )
    how = Preprocessing(fit=Fit.LETTERBOX)
    made = made_manifest((1, 3, 40, 40), labels=HOSTILE_NAMES, preprocessing=how)
    return made.model_copy(update={"outputs": outputs})


def test_boxes_are_drawn_where_they_are_in_the_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture of 80 × 40 lies in the input's rows 10 to 30, at half its size."""
    script: dict[str, Any] = {"__name__": "run"}
    exec(run_script(boxes_manifest(), tmp_path), script)
    image = Image.new("RGB", (80, 40))
    _, place = script["prepare"](image)
    boxes = np.array([[[5, 15, 20, 25], [0, 0, 40, 40], [1, 1, 2, 2]]], np.float32)
    outputs = [np.array([[0.9, 0.5, 0.1]], np.float32), boxes, np.array([[0, 99, 1]])]
    answer = script["decode"](outputs, image, place)
    script["show"](answer, image, str(tmp_path / "boxes.png"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["0.9", "10.0", "10.0", "40.0", "30.0", "plain"],
        ["0.5", "0.0", "0.0", "80.0", "40.0", "99"],
    ]
    assert len(lines) == 3
    with Image.open(tmp_path / "boxes.png") as drawn:
        assert drawn.getpixel((10, 20)) == (255, 0, 0)
        assert drawn.getpixel((25, 20)) == (0, 0, 0)
    assert image.getpixel((10, 20)) == (0, 0, 0)


def written(folder: Path, manifest: Manifest) -> list[Path]:
    folder.mkdir()
    write_companions(folder, manifest)
    return sorted(folder.glob("*.py"))


def kinds() -> dict[str, Manifest]:
    """Manifests of every kind of answer, with labels and without."""
    made = made_manifest((1, 3, 8, 8), (1, 5), labels=HOSTILE_NAMES)
    two = (made.outputs[0].model_copy(update={"dtype": "int64"}), made.outputs[0])
    return {
        "scores": made,
        "numbers": made.model_copy(update={"labels": None}),
        "best five": made.model_copy(update={"output": OutputKind.TOP5, "outputs": two}),
        "label": made.model_copy(update={"output": OutputKind.LABEL}),
        "mask": made_manifest((1, 3, 8, 8), (1, 5, 8, 8), labels=HOSTILE_NAMES),
        "boxes": boxes_manifest(),
        "arrays": made_manifest((1, 7), (1, 5)),
        "gray": made_manifest((1, 1, 8, 8), (1, 5), preprocessing=Preprocessing(mean=(0.5,))),
    }


@pytest.mark.parametrize("kind", kinds())
def test_what_is_written_is_tidy(kind: str, tmp_path: Path) -> None:
    """Nothing is imported that is not used, and nothing else that a linter sees."""
    files = written(tmp_path / "out", kinds()[kind])
    assert [file.name for file in files] == [
        *(["pictures.py"] if kind != "arrays" else []), "run.py", "runtime.py",
    ]  # fmt: skip
    check = ["check", "--isolated", "--select=F,E7,E9,W"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *check, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert len(files[-2].read_text().splitlines()) < 75


@pytest.mark.parametrize("text", HOSTILE_NAMES)
def test_names_are_never_code(text: str, tmp_path: Path) -> None:
    """What runs is the same whatever the names are: only literals and comments differ."""
    info = TensorInfo(name=text, shape=(1, 3, 8, 8), dtype="float32")
    plain = made_manifest((1, 3, 8, 8), (1, 5), labels=("a", "b", "c", "d", "e"))
    named = plain.model_copy(
        update={"model": text, "edgeconv_version": text, "inputs": (info,), "labels": (text,) * 5}
    )
    texts = [
        [run_script(each, Path(text)), *(f.read_text() for f in written(tmp_path / name, each))]
        for name, each in (("named", named), ("plain", plain))
    ]
    for pair in zip(*texts, strict=True):
        trees = [ast.parse(each) for each in pair]
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant):
                    node.value = None
        # The folder, of which the other is None, has the same form in both.
        assert ast.dump(trees[0]) == ast.dump(trees[1])


def writer(folder: Path) -> Any:
    """The function of ``runtime.py`` through which ``run.py`` writes a file."""
    script: dict[str, Any] = {"__name__": "run"}
    exec(run_script(boxes_manifest(), folder), script)
    return script["written"]


def test_run_py_writes_whole_or_not_at_all(tmp_path: Path) -> None:
    written, out, link = writer(tmp_path), tmp_path / "boxes.png", tmp_path / "link.png"
    out.write_text("old")
    link.symlink_to(out)
    said = r"link\.png' cannot be written: File too large"
    with pytest.raises(SystemExit, match=said), written(str(link)) as part:
        raise OSError(Path(part).write_text("half") and errno.EFBIG, os.strerror(errno.EFBIG))
    assert out.read_text() == "old"
    with written(str(link)) as part:
        assert part.endswith(".png")
        Path(part).write_text("new")
    assert (link.is_symlink(), out.read_text()) == (True, "new")
    assert {path.name for path in tmp_path.iterdir()} == {"boxes.png", "link.png"}
    with written("/dev/null") as part:
        assert part == "/dev/null"


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from runtime import written
with written(sys.argv[2]) as part:
    Path(part).write_text("half")
    print(flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_run_left_goes_with_the_next(tmp_path: Path) -> None:
    """And what one that still runs has written stays."""
    script, out = tmp_path / "bundle", tmp_path / "boxes.png"
    files = written(script, boxes_manifest())
    assert files[-1].name == "runtime.py"
    command = [sys.executable, "-c", KILLED, script, out]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as first, subprocess.Popen(command, **pipes) as second:
        assert first.stdout is not None
        assert second.stdout is not None
        first.stdout.readline()
        second.stdout.readline()
        assert len(list(tmp_path.glob(".edgeconv.*.part.png"))) == 2
        first.kill()
        first.wait()
        (tmp_path / ".edgeconv.mine.part.png").write_text("not ours")
        with writer(script)(str(out)) as part:
            Path(part).write_text("new")
            assert len(list(tmp_path.glob(".edgeconv.*.part.png"))) == 3
        assert out.read_text() == "new"
        second.communicate()
    assert second.returncode == 0
    assert out.read_text() == "half"  # all that the second one wrote
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"bundle", "boxes.png", ".edgeconv.mine.part.png"}


def test_arrays_that_unpack_to_more_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, file = made_manifest((1, 12), (1, 5)), tmp_path / "inputs.npz"
    name = manifest.inputs[0].name
    np.savez_compressed(file, **{name: np.zeros((1, 500_000), np.float32)})
    monkeypatch.setenv("EDGECONV_MAX_UNPACKED_BYTES", "1000000")
    script: dict[str, Any] = {"__name__": "run"}
    exec(run_script(manifest, tmp_path), script)
    with pytest.raises(SystemExit, match=r"unpacks to 2000128 bytes, more than EDGECONV_MAX"):
        script["read"](str(file))
