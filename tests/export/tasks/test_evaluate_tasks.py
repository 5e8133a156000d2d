"""``edgeconv evaluate --task``, and budgets and gates of figures that are no top-1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgeconv.bundle import Bundle, Precision
from edgeconv.cli import cli
from edgeconv.errors import EdgeconvError
from edgeconv.evaluation import Evaluation, packed_scores
from edgeconv.export import export
from edgeconv.export.tasks.evaluate import evaluate
from edgeconv.models.randomize import randomize_, structured_input

pytestmark = pytest.mark.slow

SHAPE = (3, 16, 16)


class Maps(nn.Module):
    """Scores of three classes at half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Points(nn.Module):
    """Five points."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).reshape(-1, 5, 2)


def exported(network: nn.Module, folder: Path) -> tuple[Bundle, torch.Tensor, torch.Tensor]:
    """All four files of a network, samples that calibration did not see, and what it says."""
    network(torch.zeros(1, *SHAPE))
    network = randomize_(network, shape=SHAPE)
    np.savez(folder / "c.npz", x=structured_input((24, *SHAPE)).numpy())
    bundle = export(network, out=folder / "b", input_size=SHAPE, calibration=folder / "c.npz")
    x = structured_input((30, *SHAPE), seed=9)
    with torch.inference_mode():
        return bundle, x, network(x)


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    folder = tmp_path_factory.mktemp("maps")
    bundle, x, y = exported(Maps(), folder)
    large = nn.functional.interpolate(y, (16, 16), mode="bilinear", align_corners=False)
    np.savez(folder / "d.npz", x=x.numpy(), y=large.argmax(1).numpy())
    return bundle, folder / "d.npz"


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    folder = tmp_path_factory.mktemp("points")
    bundle, x, y = exported(Points(), folder)
    noise = np.random.default_rng(0).normal(0, 0.1, y.shape)
    np.savez(folder / "d.npz", x=x.numpy(), y=y.numpy() + noise)
    return bundle, folder / "d.npz"


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(map(str, arguments)), standalone_mode=False)
    if isinstance(result.exception, EdgeconvError):
        return result.exception.exit_code, str(result.exception)
    code = result.return_value if result.exception is None else result.exit_code
    return code or 0, result.output


def figures(evaluation: Evaluation, bundle: Bundle, precision: Precision) -> list[float]:
    of_path = {result.path: result.decisive.value for result in evaluation.results}
    return [of_path[a.path] for a in bundle.manifest.artifacts if a.precision is precision]


def test_segmentation(maps: tuple[Bundle, Path]) -> None:
    """The masks are the network's own maps, resized: in float nothing is lost, in either layout."""
    bundle, data = maps
    found = evaluate(bundle, data, task="segmentation")
    # A pixel between two classes may go either way in float32.
    assert all(value > 0.999 for value in figures(found, bundle, Precision.FLOAT32))
    assert all(0.8 < value < 1 for value in figures(found, bundle, Precision.INT8))
    assert all(
        result.against_float is None or result.against_float.low is None for result in found.results
    )


def test_regression(points: tuple[Bundle, Path]) -> None:
    bundle, data = points
    found = evaluate(bundle, data, task="keypoints")
    for result in found.results:
        scores = found.scores(result)
        assert scores is not None
        assert result.decisive.value == pytest.approx(np.sqrt(scores.mean()))
    assert figures(found, bundle, Precision.FLOAT32)[0] == pytest.approx(0.1, rel=0.1)
    (int8,) = (each for each in found.results if each.path.endswith("_int8.onnx"))
    against = int8.against_float
    assert against is not None
    assert against.low is not None
    assert against.high is not None
    assert against.low <= against.change <= against.high
    assert against.change == pytest.approx(
        int8.decisive.value - figures(found, bundle, Precision.FLOAT32)[0], rel=1e-6
    )


def test_the_command(points: tuple[Bundle, Path], tmp_path: Path) -> None:
    bundle, data = points
    (tmp_path / "mine.py").write_text(
        "def metric(outputs, truth):\n    return abs(outputs[0] - truth).max()\n"
        "metric.better = 'lower'\n"
    )
    for task, words in (("regression", "RMSE"), (f"{tmp_path / 'mine.py'}:metric", "metric")):
        code, said = run("evaluate", bundle.path, "--data", data, "--task", task, "--quiet")
        assert code == 0, said
        assert words in said
        assert "on 30 samples of d.npz" in said
    code, said = run("evaluate", bundle.path, "--data", data, "--json", "--task", "keypoints")
    plain: dict[str, Any] = json.loads(said)
    assert (plain["schema_version"], plain["task"], plain["samples"]) == (4, "regression", 30)
    assert plain["results"][0]["figures"][0] == {
        "name": "RMSE",
        "value": plain["results"][0]["figures"][0]["value"],
        "unit": "",
        "better": "lower",
        "samples": 30,
        "of": "samples",
    }
    code, said = run("evaluate", bundle.path, "--data", data, "--quiet")
    assert code == 2
    assert "[1, 5, 2]" in said


def test_the_gate_of_an_error(points: tuple[Bundle, Path], tmp_path: Path) -> None:
    bundle, data = points
    found = evaluate(bundle, data, task="regression")
    found.save(tmp_path / "old.json")
    # Every error 10 % larger, of the same samples.
    worse = []
    for result in found.results:
        scores = found.scores(result)
        assert scores is not None
        first = result.decisive.model_copy(update={"value": 1.1 * result.decisive.value})
        worse.append(
            result.model_copy(
                update={
                    "scores": packed_scores(scores * 1.21),
                    "figures": (first, *result.figures[1:]),
                }
            )
        )
    found.model_copy(update={"results": tuple(worse)}).save(tmp_path / "new.json")
    code, said = run("gate", tmp_path / "new.json", "--baseline", tmp_path / "old.json")
    assert code == 1, said
    assert "**failed**" in said
    code, said = run(
        "gate", tmp_path / "new.json", "--baseline", tmp_path / "old.json",
        "--max-accuracy-loss", "40",
    )  # fmt: skip
    assert code == 0, said
    assert run("gate", tmp_path / "old.json", "--baseline", tmp_path / "new.json")[0] == 0


def test_a_budget_of_an_error(points: tuple[Bundle, Path], tmp_path: Path) -> None:
    bundle, data = points
    source = next(a for a in bundle.manifest.artifacts if a.path.endswith("_float32.onnx"))
    common = [
        "export", bundle.file(source), "--calibration", data.parent / "c.npz", "--labeled", data,
        "--task", "regression", "--quiet",
    ]  # fmt: skip
    code, said = run(*common, "--accuracy-budget", "50%", "-o", tmp_path / "met")
    assert code == 0, said
    assert (tmp_path / "met" / "manifest.json").is_file()
    code, said = run(
        *common[:-3], "--task", "segmentation", "--accuracy-budget", "50%", "-o", tmp_path / "no"
    )
    assert code == 2
    assert "[1, 5, 2]" in said
