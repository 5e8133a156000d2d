"""Right files are written although another precision fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from torch import Tensor, nn

from edgeconv.bundle import Bundle, IoType, Precision
from edgeconv.cli import cli
from edgeconv.errors import EdgeconvError, IncompleteExport, VerificationError
from edgeconv.export import QuantizeOptions, export
from edgeconv.export.verify.bundle import verify_bundle
from edgeconv.verification import OperatorFigures
from support.detectors import detector, samples

pytestmark = pytest.mark.slow

LOSSY = QuantizeOptions(effort=0)


def test_an_int8_file_that_keeps_nothing_fails_and_float32_is_written(tmp_path: Path) -> None:
    with pytest.raises(IncompleteExport, match="keeps nothing of the part 'sigmoid_1'") as raised:
        export(
            detector(),
            input_size=16,
            calibration=samples(16),
            out=tmp_path / "b",
            quantization=LOSSY,
        )
    assert raised.value.exit_code == 1
    assert "blame" in raised.value.hint
    assert raised.value.hint.endswith(", or pass --no-verify to keep the file")
    assert set(raised.value.failures) == {"Detector_int8.onnx", "Detector_int8.tflite"}
    bundle = Bundle.load(raised.value.folder)
    assert {a.precision for a in bundle.manifest.artifacts} == {Precision.FLOAT32}
    assert sorted(path.name for path in bundle.path.iterdir()) == [
        "CMakeLists.txt",
        "Detector_float32.onnx",
        "Detector_float32.tflite",
        "README.md",
        "SHA256SUMS",
        "litert.h",
        "manifest.json",
        "picture.h",
        "pictures.py",
        "reference.npz",
        "run.cc",
        "run.py",
        "runtime.py",
    ]


def test_it_is_an_error_and_no_bundle_if_nothing_is_right(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="keeps nothing"):
        export(
            detector(),
            input_size=16,
            precisions="int8",
            calibration=samples(16),
            out=tmp_path / "b",
            quantization=LOSSY,
        )
    assert not (tmp_path / "b").exists()


class Amplifying(nn.Module):
    """The logistic map, which doubles a small difference in each of its steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.steps):
            x = 4 * x * (1 - x)
        return x - 0.5


def test_a_network_that_amplifies_rounding_is_named_as_the_cause(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((16, 64), dtype=np.float32)
    with pytest.raises(VerificationError, match=r"keeps nothing of .* itself keeps no more") as got:
        export(
            Amplifying(9),
            input_size=(64,),
            precisions="int8",
            calibration=values,
            out=tmp_path / "b",
            quantization=LOSSY,
        )
    assert "trained weights" in got.value.hint
    assert "blame" not in got.value.hint


def test_what_such_a_network_keeps_is_written_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = export(
        Amplifying(5),
        input_size=(64,),
        formats="onnx",
        precisions="int8",
        calibration=np.random.default_rng(0).random((16, 64), dtype=np.float32),
        out=tmp_path / "b",
        quantization=LOSSY,
    )
    figures = bundle.manifest.artifacts[0].verification
    assert figures is not None
    assert figures.passed
    assert 0.5 < figures.sqnr_db < 10
    itself = figures.rounded_inputs_sqnr_db
    assert itself is not None
    (warning,) = [text for text in caplog.messages if "keeps little" in text]
    assert f"{figures.sqnr_db:.1f} dB; the float network itself keeps no more than" in warning
    assert f"{itself:.1f} dB" in warning
    assert figures.operators is not None
    assert f"({figures.operators.checked} were checked one by one)" in warning
    assert verify_bundle(bundle).artifacts["Amplifying_int8.onnx"].rounded_inputs_sqnr_db == itself


@pytest.mark.parametrize(
    "found",
    [
        None,
        OperatorFigures(checked=0, largest_steps=0, largest_at=None),
        OperatorFigures(checked=3, largest_steps=9, largest_at="a", failed=("a",)),
    ],
)
def test_the_network_is_no_cause_where_its_operators_were_not_all_right(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    found: OperatorFigures | None,
) -> None:
    """It would amplify what a wrong operator is off by, too; ``--no-verify`` keeps such files."""
    unknown = EdgeconvError("the operators are not checked")
    monkeypatch.setattr(
        "edgeconv.export.verify.check_export.attempted", lambda check: found or unknown
    )
    bundle = export(
        Amplifying(5),
        input_size=(64,),
        formats="onnx",
        precisions="int8",
        calibration=np.random.default_rng(0).random((16, 64), dtype=np.float32),
        out=tmp_path / "b",
        quantization=LOSSY,
        verify=False,
    )
    figures = bundle.manifest.artifacts[0].verification
    assert figures is not None
    assert figures.rounded_inputs_sqnr_db is not None
    (warning,) = [text for text in caplog.messages if "keeps little" in text]
    assert "itself" not in warning
    assert "edgeconv blame" in warning


def test_no_verify_keeps_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bundle = export(
        detector(),
        input_size=16,
        precisions="int8",
        calibration=samples(16),
        out=tmp_path / "b",
        quantization=LOSSY,
        verify=False,
    )
    assert "keeps nothing of the part 'sigmoid_1' of the output" in caplog.text
    little = [message for message in caplog.messages if "keeps little" in message]
    assert not any("sigmoid_1" in message for message in little)  # that was said, and worse
    assert "--no-verify" not in caplog.text
    for artifact in bundle.manifest.artifacts:
        figures = artifact.verification
        assert figures is not None
        assert figures.keeps_nothing
        assert not figures.passed
        worst = figures.worst_place
        assert worst is not None
        assert (worst.part, worst.sqnr_db) == ("sigmoid_1", figures.sqnr_db)


def test_repair_is_the_default_and_the_parts_survive_on_disk(tmp_path: Path) -> None:
    bundle = export(detector(), input_size=16, calibration=samples(16), out=tmp_path / "b")
    assert len(bundle.manifest.artifacts) == 4
    (names,) = bundle.manifest.joined.values()
    assert names[1] == "sigmoid_1"
    result = CliRunner().invoke(cli, ["verify", str(bundle.path)])
    assert result.exit_code == 0
    assert "lowest SQNR: the part" in result.output


def test_split_outputs_give_each_part_a_scale(tmp_path: Path) -> None:
    options = {
        "input_size": 16,
        "calibration": samples(16),
        "precisions": "int8",
        "io": IoType.INT8,
    }
    with pytest.raises(EdgeconvError, match="keeps nothing") as raised:
        export(detector(), out=tmp_path / "whole", quantization=LOSSY, **options)
    assert "--split-outputs" in raised.value.hint
    bundle = export(
        detector(), out=tmp_path / "b", split_outputs=True, quantization=LOSSY, **options
    )
    for artifact in bundle.manifest.artifacts:
        boxes, scores = artifact.outputs
        assert (boxes.name, scores.name) == ("output_0", "output_1")
        assert boxes.scale is not None
        assert scores.scale is not None
        assert boxes.scale > 100 * scores.scale
        assert artifact.verification is not None
        assert artifact.verification.sqnr_db > 5  # 1/256 is what int8 has for a Sigmoid


def test_the_command_prints_the_summary_and_fails(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", samples(16))
    (tmp_path / "net.py").write_text("from support.detectors import detector\n")
    arguments = [
        "export", f"{tmp_path / 'net.py'}:detector", "--input-size", "16x16", "--calibration",
        str(tmp_path / "x.npy"), "--effort", "0", "-o", str(tmp_path / "b"), "--json",
    ]  # fmt: skip
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert isinstance(result.exception, IncompleteExport)
    assert result.exception.after_result
    manifest = json.loads(result.stdout)
    assert [a["precision"] for a in manifest["artifacts"]] == ["float32", "float32"]
