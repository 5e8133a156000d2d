"""``edgeconv evaluate -o``, and what the gate makes of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgeconv.bundle import Bundle
from edgeconv.cli import cli
from edgeconv.errors import DataError, EdgeconvError
from edgeconv.evaluation import parse_evaluation
from edgeconv.export.evaluate import evaluate
from edgeconv.models.randomize import structured_input

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
    saved = parse_evaluation(out.read_text(), out)
    assert saved == evaluate(bundle, data)
    assert [saved.outcomes(r).sum() for r in saved.results] == [r.correct for r in saved.results]
    assert run("gate", out, "--baseline", out)[0] == 0


def test_a_bundle_that_became_worse_fails(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    """Its labels are turned by one."""
    right, wrong = tmp_path / "right.json", tmp_path / "wrong.json"
    assert run("evaluate", bundle.path, "--data", data, "-o", right, "--quiet")[0] == 0
    with np.load(data) as archive:
        np.savez(tmp_path / "data.npz", x=archive["x"], y=(archive["y"] + 1) % 4)
    turned = tmp_path / "data.npz"
    assert run("evaluate", bundle.path, "--data", turned, "-o", wrong, "--quiet")[0] == 0
    code, said = run("gate", wrong, "--baseline", right)
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
