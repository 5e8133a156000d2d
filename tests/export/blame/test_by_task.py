"""What layers cost in the figure of a task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgeconv.bundle import Bundle
from edgeconv.cli import cli
from edgeconv.errors import UsageError
from edgeconv.export.blame import _float_graph, blame
from edgeconv.export.blame.by_task import TaskMeter, loss
from edgeconv.export.tasks import open_task
from edgeconv.models.randomize import structured_input

pytestmark = pytest.mark.slow

SHAPE = (3, 16, 16)


@pytest.fixture
def labeled(network: nn.Module, tmp_path: Path) -> Path:
    """Labels of which the float network has all but every fourth right."""
    x = structured_input((40, *SHAPE), seed=9)
    with torch.inference_mode():
        y = network(x).argmax(1).numpy()
    y[::4] = (y[::4] + 1) % 4
    np.savez(tmp_path / "d.npz", x=x.numpy(), y=y)
    return tmp_path / "d.npz"


def test_the_figure_of_a_graph(bundle: Bundle, labeled: Path) -> None:
    task = open_task("classification")
    samples = task.open(labeled, None, bundle.manifest)
    names = [output.name for output in bundle.manifest.outputs]
    (source,) = (a for a in bundle.manifest.artifacts if a.path.endswith("_float32.onnx"))
    figure = TaskMeter(task, samples, names, 1).figure(_float_graph(bundle.file(source), None))
    assert (figure.name, figure.value, figure.samples) == ("top-1", 0.75, 40)
    error = figure.model_copy(update={"better": "lower"})
    assert loss(figure, figure.model_copy(update={"value": 0.5})) == 0.25
    assert loss(error, error.model_copy(update={"value": 1.0})) == 0.25


def test_layers_are_judged_by_the_task(bundle: Bundle, calibration: Path, labeled: Path) -> None:
    found = blame(bundle, calibration, labeled=labeled)
    assert found.task is not None
    assert found.task.float_network.value == 0.75
    assert abs(found.task.int8_network.value - 0.75) <= 0.1
    losses = [layer.task_loss for layer in found.layers]
    assert None not in losses
    assert losses == sorted(losses, reverse=True)  # type: ignore[type-var]
    assert blame(bundle, calibration).task is None


def test_the_command(bundle: Bundle, calibration: Path, labeled: Path) -> None:
    common = ["blame", str(bundle.path), "--data", str(calibration), "-q"]
    said = CliRunner().invoke(cli, [*common, "--labeled", str(labeled)]).output
    assert "top-1 on 40 labeled samples: 75.00% in float" in said
    refused = CliRunner().invoke(cli, [*common, "--task", "regression"], standalone_mode=False)
    assert isinstance(refused.exception, UsageError)
    assert "--labeled" in refused.exception.hint
