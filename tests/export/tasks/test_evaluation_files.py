"""``edgeconv evaluate -o``, and what the gate makes of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgeconv.bench import BenchOptions
from edgeconv.bundle import MANIFEST_NAME, Bundle, sha256_of
from edgeconv.cli import cli
from edgeconv.cli.bench_files import files_named
from edgeconv.errors import DataError, EdgeconvError
from edgeconv.evaluation import Evaluation
from edgeconv.export.tasks.evaluate import evaluate
from edgeconv.models.randomize import structured_input
from edgeconv.store.history import History

pytestmark = pytest.mark.slow

SHAPE = (3, 16, 16)


@pytest.fixture(scope="module")
def data(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labeled by the network itself."""
    x = structured_input((40, *SHAPE), seed=9)
    with torch.inference_mode():
        y = network(x).argmax(1).numpy()
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, x=x.numpy(), y=y)
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(map(str, arguments)), standalone_mode=False)
    if isinstance(result.exception, EdgeconvError):
        return result.exception.exit_code, str(result.exception)
    code = result.return_value if result.exception is None else result.exit_code
    return code or 0, result.output


def test_saved_and_gated(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "old.json"
    assert run("evaluate", bundle.path, "--data", data, "-o", out, "--quiet")[0] == 0
    saved = Evaluation.parse(out.read_text(), out)
    assert saved == evaluate(bundle, data)
    assert [saved.scores(r).sum() for r in saved.results] == [r.correct for r in saved.results]
    again = tmp_path / "new.json"
    assert run("evaluate", bundle.path, "--data", data, "-o", again, "--quiet")[0] == 0
    assert run("gate", again, "--baseline", out)[0] == 0
    assert run("gate", out, "--baseline", out)[0] == 2, "a file held against itself says nothing"


def test_a_baseline_of_an_earlier_edgeconv(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    """Version 3 called LiteRT ai-edge-litert, and had no classes."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    result = evaluate(bundle, data)
    result.save(new)
    written = json.loads(new.read_text()) | {"schema_version": 3}
    for name in ("classes", "labels", "truths", "pictures"):
        del written[name]
    for file in written["results"]:
        del file["predictions"]
        file["runtime"] = file["runtime"].replace("litert", "ai-edge-litert")
    old.write_text(json.dumps(written))
    code, said = run("gate", new, "--baseline", old)
    assert (code, "passed" in said) == (0, True), said


def test_the_history_names_files_as_bench_does(
    bundle: Bundle, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # without what other tests kept
    assert run("evaluate", bundle.path, "--data", data, "--quiet")[0] == 0
    names = {entry.name for entry in History.at(None).entries()}
    assert names == set(map(str, files_named((bundle.path,), BenchOptions())))


def spoiled(bundle: Bundle, out: Path) -> Path:
    """A copy of a bundle whose float ONNX file answers with the class after the right one."""
    shutil.copytree(bundle.path, out)
    (artifact,) = (a for a in bundle.manifest.artifacts if a.path.endswith("_float32.onnx"))
    model = onnx.load(out / artifact.path)
    (last,) = (node for node in model.graph.node if node.op_type == "Gemm")
    for tensor in model.graph.initializer:
        if tensor.name in last.input:
            classes = np.roll(onnx.numpy_helper.to_array(tensor), 1, axis=0)
            tensor.CopyFrom(onnx.numpy_helper.from_array(classes, tensor.name))
    onnx.save(model, out / artifact.path)
    text = (out / MANIFEST_NAME).read_text()
    digest = sha256_of(out / artifact.path)
    (out / MANIFEST_NAME).write_text(text.replace(artifact.sha256, digest))
    return out


def test_a_file_that_became_worse_fails(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    for path, out in ((bundle.path, old), (spoiled(bundle, tmp_path / "b"), new)):
        assert run("evaluate", path, "--data", data, "-o", out, "--quiet")[0] == 0
    code, said = run("gate", new, "--baseline", old)
    assert code == 1
    (failed,) = (line for line in said.splitlines() if "**failed**" in line)
    assert "_float32.onnx" in failed
    assert said.count("| passed") == 3
    assert "points less accurate, at least" in run("compare", old, new)[1]
    # With other labels, the samples are others.
    with np.load(data) as archive:
        np.savez(tmp_path / "other.npz", x=archive["x"], y=(archive["y"] + 1) % 4)
    run("evaluate", bundle.path, "--data", tmp_path / "other.npz", "-o", new, "--quiet")
    code, said = run("gate", new, "--baseline", old)
    assert code == 1
    assert "the samples changed" in said


def test_the_same_samples_are_known(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(images, copy)
    before = evaluate(bundle, images)
    assert before.same_samples(evaluate(bundle, copy))
    (copy / "notes.txt").write_text("no sample")
    assert before.same_samples(evaluate(bundle, copy))
    first, second = sorted(copy.rglob("*.png"))[:2]
    shutil.copy(second, first)
    assert not before.same_samples(evaluate(bundle, copy))


def test_where_it_cannot_be_written(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "none" / "r.json"):
        code, said = run("evaluate", bundle.path, "--data", data, "-o", out)
        assert code == 2
        assert "cannot be written" in said


@pytest.mark.parametrize(
    ("renamed", "words"),
    [
        ({"images": "x", "y": "y"}, ["'images', 'y'", "'x'"]),
        ({"x": "x", "labels": "y"}, ["'labels', 'x'", "'y'"]),
        ({"y": "y"}, ["has 'y'", "'x'"]),
    ],
)
def test_a_wrongly_named_array(
    bundle: Bundle, data: Path, tmp_path: Path, renamed: dict[str, str], words: list[str]
) -> None:
    with np.load(data) as archive:
        np.savez(tmp_path / "d.npz", **{new: archive[old] for new, old in renamed.items()})
    with pytest.raises(DataError) as raised:
        evaluate(bundle, tmp_path / "d.npz")
    assert all(word in str(raised.value) for word in words), raised.value
