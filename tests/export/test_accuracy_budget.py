"""``--min-sqnr`` and ``--accuracy-budget`` from the command line to the files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from edgeconv.bundle import Bundle, Precision
from edgeconv.cli import cli
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export import QuantizeOptions, export
from edgeconv.export.accuracy_budget import Escalated, export_within
from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.export.quantize.accuracy.escalation import Assessment, Attempt
from edgeconv.export.request import ExportRequest
from edgeconv.export.target import resolve_request
from edgeconv.models.randomize import randomize_, structured_input
from edgeconv.staging import staged
from support.command_line import as_printed
from support.detectors import detector, samples
from support.plain_options import PLAIN
from support.runtimes import run_onnx

pytestmark = pytest.mark.slow

SHAPE = (2, 8, 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose channels differ by a factor of up to a million, data, and as labels what
    the network itself says."""
    path = tmp_path_factory.mktemp("repair")
    network = nn.Sequential(
        nn.Conv2d(2, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )
    randomize_(network, shape=SHAPE)
    with torch.no_grad():
        factors = 1000.0 ** torch.linspace(-1, 1, 16)
        network[1].weight /= factors
        network[1].bias /= factors
        network[3].weight *= factors.reshape(1, -1, 1, 1)
    x = structured_input((200, *SHAPE)).numpy()
    captured = capture_module(network, (x[:1],), ["output"], 20)
    ir.save(optimize(captured), path / "network.onnx")
    with torch.inference_mode():
        labels = network(torch.from_numpy(x)).argmax(1).numpy()
    np.savez(path / "train.npz", x=x[:48])
    np.savez(path / "test.npz", x=x[48:], y=labels[48:])
    return path


def invoke(folder: Path, out: Path, *options: str) -> str:
    """What the command prints; it raises what it raises."""
    arguments = ["export", str(folder / "network.onnx"), "--calibration", str(folder / "train.npz")]
    result = CliRunner().invoke(
        cli, [*arguments, "-o", str(out), *options], catch_exceptions=False, standalone_mode=False
    )
    if result.exception is not None:
        raise result.exception
    return result.output


def test_it_stops_at_the_first_step_that_meets_the_budget(folder: Path, tmp_path: Path) -> None:
    output = invoke(folder, tmp_path / "out", "--min-sqnr", "20")
    assert "min-max" in output
    assert "missed" in output
    assert "adaptive" not in output
    bundle = Bundle.load(tmp_path / "out")
    for artifact in bundle.manifest.artifacts:
        assert artifact.verification is not None
        assert artifact.verification.sqnr_db >= 20


def test_an_accuracy_budget_is_in_points_of_top1(folder: Path, tmp_path: Path) -> None:
    labeled = str(folder / "test.npz")
    output = invoke(folder, tmp_path / "out", "--accuracy-budget", "8%", "--labeled", labeled)
    assert "accuracy lost" in output
    assert Bundle.load(tmp_path / "out").manifest.artifacts


class FlatSoftmax(nn.Module):
    """Nearly equal probabilities, of which int8 has no more than a step or two."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scores, self.head = nn.Conv2d(3, 250, 16), nn.Linear(250, 4)

    def forward(self, x: Tensor) -> Tensor:
        read: Tensor = self.head(1000 * self.scores(x).flatten(1).softmax(-1))
        return read


def test_an_accuracy_budget_leaves_the_operators_in_float_that_lose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of the steps before it helps, and they are left out here."""
    for name in ("CLIPPING", "_PASSES"):
        monkeypatch.setattr(f"edgeconv.export.quantize.accuracy.escalation.{name}", ())
    network, x = FlatSoftmax().eval(), samples(96)
    with torch.inference_mode():
        labels = network(torch.from_numpy(x)).argmax(1).numpy()
    asked = ExportRequest(
        network,
        out=tmp_path / "out",
        input_size=16,
        formats="onnx",
        precisions=("float32", "int8"),
        calibration=x[:32],
        accuracy_budget=0.06,
        labeled=(x[32:], labels[32:]),
    )
    found = export_within(resolve_request(asked))
    assert found.attempts[-1].met
    assert found.attempts[-1].name.startswith("+ the operators that lose most in float, to reach ")
    assert found.attempts[-1].figures.accuracy_drop < 0.06
    best = max(found.attempts[:-1], key=lambda attempt: attempt.figures.sqnr_db)
    assert found.attempts[-1].figures.sqnr_db >= best.figures.sqnr_db + 3
    (file,) = (a for a in found.met().manifest.artifacts if a.precision is Precision.INT8)
    assert any("oftmax" in entry for entry in file.float_fallback)
    # The convolution, with nearly all of the work, stays in int8.
    assert not any("conv" in entry.lower() for entry in file.float_fallback)


def test_a_loss_relative_to_no_error_is_refused(folder: Path, tmp_path: Path) -> None:
    """With what the network itself computes as labels the float file has no error but rounding."""
    samples = np.load(folder / "test.npz")["x"][:8]
    network = onnx.load(folder / "network.onnx")
    y = [next(iter(run_onnx(network, [sample[None]]).values())) for sample in samples]
    np.savez(tmp_path / "own.npz", x=samples, y=np.concatenate(y))
    labeled = ("--labeled", str(tmp_path / "own.npz"), "--task", "regression")
    with pytest.raises(UsageError, match=r"RMSE of the float32 file is .* no loss is a share of"):
        invoke(folder, tmp_path / "out", "--accuracy-budget", "1%", *labeled)
    assert not (tmp_path / "out").exists()


def test_a_single_attempt_is_called_one() -> None:
    figures = Assessment(30.0, None, 1000, None)
    attempt = Attempt("as asked", QuantizeOptions(), figures, met=False)
    with pytest.raises(EdgeconvError, match=r"^the only attempt misses the budget \(the best"):
        Escalated((attempt,), None).met()


def test_repair_is_taken_back_only_where_it_left_something_in_float(tmp_path: Path) -> None:
    """Without repair the detector keeps nothing, and a single convolution is the same file."""
    options = replace(PLAIN, repair=True)
    for network, count in ((detector(), "none of 2 attempts"), (nn.Conv2d(3, 4, 1), "the only")):
        with pytest.raises(EdgeconvError, match=f"^{count}"):
            export(
                network,
                input_size=16,
                formats="onnx",
                precisions="int8",
                calibration=samples(16),
                out=tmp_path / "out",
                quantization=options,
                max_size=10,
            )


def test_nothing_is_written_when_nothing_meets_the_budget(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeconv.export.quantize.accuracy.adaround_layer._STEPS", 10)
    monkeypatch.setattr("edgeconv.export.quantize.accuracy.escalation._FLOAT_NEIGHBORHOODS", (1,))
    reported: list[str] = []
    with pytest.raises(EdgeconvError, match="none of 11 attempts meets the budget") as raised:
        export(
            folder / "network.onnx",
            out=tmp_path / "out",
            calibration=folder / "train.npz",
            min_sqnr=150,
            progress=lambda step, done, total: reported.append(step),
        )
    assert raised.value.exit_code == 1
    named = [re.search(r", attempt (\d+) of at most 11$", step) for step in reported]
    numbers = [int(found[1]) for found in named if found is not None]
    assert sorted(set(numbers)) == list(range(1, 12))
    assert numbers == sorted(numbers)
    assert not (tmp_path / "out").exists()


def test_a_second_export_to_one_place_is_refused_before_the_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeconv.export.accuracy_budget.run", None)
    with (
        staged(tmp_path / "out", force=False),
        pytest.raises(UsageError, match="another export is writing"),
    ):
        invoke(folder, tmp_path / "out", "--min-sqnr", "20")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--accuracy-budget", "1%"], "--labeled"),
        (["--min-sqnr", "20", "--precision", "float32"], "--precision int8"),
        (["--min-sqnr", "20", "--output", "label"], "gives only the index of a class"),
        (["--labeled", "x.npz"], "pass --accuracy-budget too"),
        (["--accuracy-budget", "1%", "--labeled", "nothing.npz"], "nothing.npz: no such file"),
        (
            ["--accuracy-budget", "1%", "--labeled", ".", "--truth", "no.json"],
            "no.json: no such file",
        ),
        (
            ["--accuracy-budget", "1%", "--labeled", ".", "--task", "none.py:metric"],
            "none.py: no such file",
        ),
        (["--min-sqnr", "20", "--output", "top5"], "gives only the index of a class, or a few"),
    ],
)
def test_a_budget_that_cannot_be_measured_is_refused(
    folder: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the first attempt, which takes minutes."""
    monkeypatch.setattr("edgeconv.export.accuracy_budget.run", None)
    with pytest.raises(UsageError) as caught:
        invoke(folder, tmp_path / "out", *options)
    assert message in as_printed(caught.value)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("segmentation", "segmentation takes a map of scores"),
        ("regression", "'y' of .* holds targets of shape"),
        ("{folder}/own.py:fails", "own.py:fails raised ValueError: no such output"),
    ],
)
def test_a_task_that_does_not_fit_is_refused_before_calibration(
    folder: Path, tmp_path: Path, task: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the shapes of the outputs and one sample: a first attempt takes minutes."""
    (folder / "own.py").write_text(
        "def fails(outputs, truth):\n    raise ValueError('no such output')\n"
    )
    monkeypatch.setattr("edgeconv.export.pipeline.Writer.write", None)
    monkeypatch.setattr("edgeconv.export.pipeline._quantize", None)
    options = ("--accuracy-budget", "1%", "--labeled", str(folder / "test.npz"))
    with pytest.raises(EdgeconvError, match=message):
        invoke(folder, tmp_path / "out", *options, "--task", task.format(folder=folder))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["1", "-1%", "x%", "100%"])
def test_a_budget_is_a_percentage(folder: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(Exception, match="not a percentage"):
        invoke(folder, tmp_path / "out", "--accuracy-budget", text)


def test_a_file_with_extreme_scales_still_loads(folder: Path, tmp_path: Path) -> None:
    """XNNPACK refuses accumulators whose step is 256 output steps: min-max alone made them."""
    switches = ["--no-equalization", "--no-bias-absorption", "--no-bias-correction"]
    invoke(folder, tmp_path / "out", *switches)
    # Verification has run every file on its runtime.
    assert len(Bundle.load(tmp_path / "out").manifest.artifacts) == 4
