"""The whole export from Python: what it writes, what it says, what it leaves when it fails."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgeconv.bundle import MANIFEST_NAME, Artifact, Bundle, sha256_of
from edgeconv.errors import (
    BundleError,
    DataError,
    EdgeconvError,
    IncompleteExport,
    UsageError,
    VerificationError,
)
from edgeconv.export import (
    Format,
    IoType,
    Layout,
    Precision,
    Preprocessing,
    export,
    runtimes,
)
from edgeconv.export.tasks.evaluate import evaluate
from edgeconv.export.verify.bundle import verify_bundle
from edgeconv.models import create_model
from edgeconv.models.randomize import randomize_, structured_input
from edgeconv.verification import Verification

pytestmark = pytest.mark.slow

SHAPE = (3, 16, 16)


def test_four_verified_files(bundle: Bundle) -> None:
    manifest = bundle.manifest
    kinds = {(artifact.format, artifact.precision) for artifact in manifest.artifacts}
    assert kinds == {(f, p) for f in Format for p in (Precision.FLOAT32, Precision.INT8)}
    for artifact in manifest.artifacts:
        figures = artifact.verification
        assert figures is not None
        assert figures.passed
        assert artifact.float_fallback == ()
        # Float differs by rounding; int8 of this small network by about 35 dB on most samples. One
        # of the six that calibration did not see exceeds the ranges of the other eighteen.
        assert figures.sqnr_db > (100 if artifact.precision is Precision.FLOAT32 else 15)
        assert figures.median_sqnr_db is not None
        assert figures.median_sqnr_db > (100 if artifact.precision is Precision.FLOAT32 else 30)
        assert sha256_of(bundle.file(artifact)) == artifact.sha256
        assert bundle.file(artifact).stat().st_size == artifact.bytes
    int8 = [a.verification for a in manifest.artifacts if a.precision is Precision.INT8]
    assert all(f and f.within_one_step_of_other_format == 1.0 for f in int8)


def test_int8_is_a_quarter_of_float(bundle: Bundle) -> None:
    size = {(a.format, a.precision): a.bytes for a in bundle.manifest.artifacts}
    for format in Format:
        assert size[format, Precision.INT8] < 0.4 * size[format, Precision.FLOAT32]


def test_the_manifest_tells_where_everything_came_from(bundle: Bundle, calibration: Path) -> None:
    manifest = bundle.manifest
    assert manifest.calibration is not None
    assert manifest.calibration.source == calibration.name
    assert manifest.calibration.samples == 18
    assert manifest.calibration.held_out == 6
    assert not manifest.calibration.synthetic
    assert manifest.tools["torch"] == torch.__version__
    assert manifest.inputs[0].shape == (1, *SHAPE)
    by_format = {a.format: a for a in manifest.artifacts if a.precision is Precision.INT8}
    assert by_format[Format.TFLITE].inputs[0].layout is Layout.NHWC
    assert by_format[Format.TFLITE].inputs[0].shape == (1, 16, 16, 3)
    assert by_format[Format.ONNX].opset == 20
    assert "CONV_2D" in by_format[Format.TFLITE].operators


def test_it_reads_back_and_verifies_from_disk(bundle: Bundle) -> None:
    report = verify_bundle(Bundle.load(bundle.path))
    for artifact in bundle.manifest.artifacts:
        assert report.artifacts[artifact.path] == at_the_end(artifact)


def at_the_end(artifact: Artifact) -> Verification | None:
    """The figures of an export without those of single operators, which only the export has."""
    figures = artifact.verification
    return figures and figures.model_copy(update={"operators": None})


def test_a_changed_file_is_noticed(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    file = copy / bundle.manifest.artifacts[0].path
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError, match="was changed after the export"):
        Bundle.load(copy)
    file.unlink()
    with pytest.raises(BundleError, match="missing from the bundle"):
        Bundle.load(copy)


@pytest.mark.parametrize("damage", ["", "{", '{"schema_version": 1}', "[]"])
def test_a_damaged_manifest(bundle: Bundle, tmp_path: Path, damage: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(damage)
    with pytest.raises(BundleError, match="is damaged"):
        Bundle.load(tmp_path)


def test_paths_that_leave_the_bundle_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    text = (bundle.path / MANIFEST_NAME).read_text()
    name = bundle.manifest.artifacts[0].path
    (tmp_path / MANIFEST_NAME).write_text(text.replace(f'"{name}"', '"../outside.onnx"'))
    with pytest.raises(BundleError, match="plain file name"):
        Bundle.load(tmp_path)


def test_the_same_request_gives_the_same_bytes(
    network: nn.Module, calibration: Path, bundle: Bundle, tmp_path: Path
) -> None:
    again = export(network, out=tmp_path / "b", input_size=SHAPE, calibration=calibration)
    assert again.manifest == bundle.manifest


@pytest.mark.parametrize("io", [IoType.INT8, IoType.UINT8])
@pytest.mark.parametrize("layout", list(Layout))
def test_integer_interfaces_agree_too(
    network: nn.Module, calibration: Path, tmp_path: Path, io: IoType, layout: Layout
) -> None:
    bundle = export(
        network,
        out=tmp_path / "b",
        input_size=SHAPE,
        calibration=calibration,
        io=io,
        layout=layout,
        precisions=[Precision.INT8],
    )
    for artifact in bundle.manifest.artifacts:
        assert artifact.inputs[0].dtype == artifact.outputs[0].dtype == io.value
        assert artifact.inputs[0].scale
        assert artifact.verification
        assert artifact.verification.within_one_step_of_other_format == 1.0


def test_one_int8_format_is_still_compared(
    network: nn.Module, calibration: Path, tmp_path: Path
) -> None:
    bundle = export(
        network,
        out=tmp_path / "b",
        input_size=SHAPE,
        calibration=calibration,
        precisions=[Precision.INT8],
        formats=[Format.TFLITE],
    )
    (artifact,) = bundle.manifest.artifacts
    assert artifact.verification
    assert artifact.verification.within_one_step_of_other_format == 1.0
    assert artifact.verification.operators
    assert artifact.verification.operators.checked > 10
    assert verify_bundle(bundle).artifacts[artifact.path] == at_the_end(artifact)


def test_batches(network: nn.Module, calibration: Path, tmp_path: Path) -> None:
    bundle = export(network, out=tmp_path / "b", input_size=SHAPE, calibration=calibration, batch=5)
    assert bundle.manifest.inputs[0].shape == (5, *SHAPE)
    assert all(a.verification and a.verification.passed for a in bundle.manifest.artifacts)
    # Seven samples: the second batch is filled up, and what fills it does not count.
    x = structured_input((7, *SHAPE), seed=3)
    with torch.inference_mode():
        y = network(x).argmax(1).numpy()
    np.savez(tmp_path / "data.npz", x=x.numpy(), y=y)
    result = evaluate(bundle, tmp_path / "data.npz")
    assert result.samples == 7
    assert result.results[0].correct == 7


def test_an_onnx_file_is_a_network_too(bundle: Bundle, calibration: Path, tmp_path: Path) -> None:
    source = bundle.file(bundle.manifest.artifacts[0])
    again = export(source, out=tmp_path / "b", calibration=calibration)
    assert again.manifest.reference == "onnxruntime"
    assert all(a.verification and a.verification.passed for a in again.manifest.artifacts)


def test_evaluation_counts_the_right_classes(
    network: nn.Module, bundle: Bundle, tmp_path: Path
) -> None:
    x = structured_input((40, *SHAPE), seed=9)
    with torch.inference_mode():
        y = network(x).argmax(1).numpy()
    np.savez(tmp_path / "data.npz", x=x.numpy(), y=y)
    result = evaluate(bundle, tmp_path / "data.npz")
    top1 = {accuracy.path: accuracy.top1 for accuracy in result.results}
    for artifact in bundle.manifest.artifacts:
        # The labels are the float network's own answers; int8 may flip a close call or two.
        least = 1.0 if artifact.precision is Precision.FLOAT32 else 0.9
        assert top1[artifact.path] >= least
    np.savez(tmp_path / "wrong.npz", x=x.numpy(), y=(y + 1) % 4)
    wrong = evaluate(bundle, tmp_path / "wrong.npz")
    assert all(accuracy.top1 < 0.2 for accuracy in wrong.results)


def test_evaluation_on_a_folder_of_classes(bundle: Bundle, images: Path) -> None:
    result = evaluate(bundle, images)
    assert result.samples == 24
    assert [accuracy.path for accuracy in result.results] == [
        artifact.path for artifact in bundle.manifest.artifacts
    ]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, *SHAPE))}, "array 'y'"),
        ({"x": np.zeros((2, *SHAPE)), "y": np.zeros(3, int)}, "2 samples and 3 labels"),
        ({"x": np.zeros((2, *SHAPE)), "y": np.array([0, 4])}, "labels from 0 to 4, outside 0…3"),
        ({"x": np.zeros((2, *SHAPE)), "y": np.zeros(2)}, "array 'y'"),
    ],
)
def test_bad_labels(
    bundle: Bundle, tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match=message):
        evaluate(bundle, tmp_path / "data.npz")


def test_class_folders_that_do_not_match(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    for name in ("class0", "class1"):
        shutil.copytree(images / name, tmp_path / name)
    with pytest.raises(DataError, match="2 class folders and the network 4 outputs"):
        evaluate(bundle, tmp_path)


def test_int8_without_data_is_refused(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="int8 needs calibration data"):
        export(network, out=tmp_path / "b", input_size=SHAPE, precisions=[Precision.INT8])
    assert list(tmp_path.iterdir()) == []


def test_synthetic_data_is_said(
    network: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        bundle = export(
            network,
            out=tmp_path / "b",
            input_size=SHAPE,
            calibration="random",
            calibration_size=4,
        )
    assert "synthetic" in caplog.text
    assert bundle.manifest.calibration
    assert bundle.manifest.calibration.synthetic


def test_assumed_preprocessing_is_said(
    network: nn.Module, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        bundle = export(network, out=tmp_path / "b", input_size=SHAPE, calibration=images)
    assert "Preprocessing(mean=…, std=…)" in caplog.text
    assert bundle.manifest.preprocessing
    assert bundle.manifest.preprocessing.assumed
    stated = Preprocessing(resize=18, mean=(0.5,) * 3, std=(0.5,) * 3)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        bundle = export(
            network, out=tmp_path / "c", input_size=SHAPE, calibration=images, preprocessing=stated
        )
    assert caplog.text == ""
    assert bundle.manifest.preprocessing == stated


@pytest.mark.parametrize("mode", ["bicubic", "nearest"])
def test_the_warning_of_floats_agrees_with_what_is_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    class Resized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.interpolate(self.body(x), scale_factor=2, mode=mode)

    with caplog.at_level(logging.WARNING):
        bundle = export(
            randomize_(Resized(), shape=(3, 8, 8)),
            out=tmp_path / "b",
            input_size=(3, 8, 8),
            precisions=[Precision.INT8],
            calibration="random",
            calibration_size=4,
        )
    listed = [a.path for a in bundle.manifest.artifacts if a.float_fallback]
    named = [path for path in listed if path in caplog.text]
    assert named == listed
    assert ("run in float" in caplog.text) == bool(listed) == (mode == "bicubic")


class Sabotage:
    """Makes every TFLite file compute something else, after it was written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: float) -> None:
        run = runtimes.LiteRtRunner.run

        def wrong(self: runtimes.LiteRtRunner, inputs: runtimes.Arrays) -> list[np.ndarray]:
            return [array * (1 + error) + error for array in run(self, inputs)]

        monkeypatch.setattr(runtimes.LiteRtRunner, "run", wrong)


def test_a_file_that_computes_something_else_is_not_written(
    network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Sabotage(monkeypatch, 0.01)
    wrong = r"float32\.tflite differs from pytorch"
    with pytest.raises(VerificationError, match=wrong):
        export(network, out=tmp_path / "b", input_size=SHAPE, formats=[Format.TFLITE])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(IncompleteExport, match=wrong):
        export(network, out=tmp_path / "b", input_size=SHAPE)
    (right,) = Bundle.load(tmp_path / "b").manifest.artifacts
    assert right.format is Format.ONNX
    assert not list((tmp_path / "b").glob("*.tflite"))


def test_no_verify_keeps_it_and_says_so(
    network: nn.Module,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    Sabotage(monkeypatch, 0.01)
    bundle = export(network, out=tmp_path / "b", input_size=SHAPE, verify=False)
    passed = {a.format: a.verification and a.verification.passed for a in bundle.manifest.artifacts}
    assert passed == {Format.ONNX: True, Format.TFLITE: False}
    assert "differs" in caplog.text


def test_an_int8_operator_that_is_off_is_an_error(
    network: nn.Module, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Sabotage(monkeypatch, 0.5)
    with pytest.raises(IncompleteExport, match=r"\(Conv\).* steps off what its integers"):
        export(
            network,
            out=tmp_path / "b",
            input_size=SHAPE,
            calibration=calibration,
            precisions=[Precision.INT8],
        )


@pytest.mark.parametrize("verify", [True, False])
def test_operators_that_cannot_be_checked(
    verify: bool,
    network: nn.Module,
    calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        raise EdgeconvError("LiteRT refuses it")

    monkeypatch.setattr("edgeconv.export.verify.check_export.check_operators", refuse)
    options = {"input_size": SHAPE, "calibration": calibration, "precisions": [Precision.INT8]}
    if verify:
        with pytest.raises(EdgeconvError, match="refuses it"):
            export(network, out=tmp_path / "b", **options)
        return
    bundle = export(network, out=tmp_path / "b", verify=False, **options)
    assert "not checked in tflite: LiteRT refuses it" in caplog.text
    assert all(
        a.verification and a.verification.operators is None for a in bundle.manifest.artifacts
    )


def test_an_existing_bundle_is_replaced_only_with_force(network: nn.Module, tmp_path: Path) -> None:
    out = tmp_path / "b"
    first = export(network, out=out, input_size=SHAPE, formats=[Format.ONNX])
    with pytest.raises(UsageError, match="force=True"):
        export(network, out=out, input_size=SHAPE)
    assert Bundle.load(out).manifest == first.manifest
    export(network, out=out, input_size=SHAPE, formats=[Format.TFLITE], force=True)
    suffixes = [path.suffix for path in out.iterdir()]
    assert suffixes.count(".tflite") == 1
    assert ".onnx" not in suffixes
    assert list(tmp_path.iterdir()) == [out]


def test_a_failure_keeps_the_bundle_that_was_there(
    network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b"
    only = {"input_size": SHAPE, "formats": [Format.TFLITE]}
    first = export(network, out=out, **only)
    Sabotage(monkeypatch, 0.01)
    with pytest.raises(VerificationError):
        export(network, out=out, force=True, **only)
    assert Bundle.load(out).manifest == first.manifest
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_bundle_is_never_replaced(
    network: nn.Module, tmp_path: Path, force: bool
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("more work")
    for name in ("folder", "file"):
        with pytest.raises(UsageError, match="is not a bundle"):
            export(network, out=tmp_path / name, input_size=SHAPE, force=force)
    assert (tmp_path / "folder" / "thesis.txt").read_text() == "years of work"


def test_a_network_whose_own_output_is_nan(tmp_path: Path) -> None:
    class Nan(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.log(-torch.abs(x) - 1)

    with pytest.raises(DataError, match="own output 'output' is NaN"):
        export(Nan().eval(), out=tmp_path / "b", input_size=SHAPE, formats=[Format.ONNX])


def test_unknown_size(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="input_size"):
        export(nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), out=tmp_path / "b")


def test_a_network_on_vectors_knows_its_size(tmp_path: Path) -> None:
    network = randomize_(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), shape=(6,))
    bundle = export(network, out=tmp_path / "b", calibration="random", calibration_size=16)
    assert bundle.manifest.inputs[0].shape == (1, 6)
    assert all(a.verification and a.verification.passed for a in bundle.manifest.artifacts)


def test_a_network_that_wants_two_inputs(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a + b

    with pytest.raises(UsageError, match="missing 1 required positional argument"):
        export(Two().eval(), out=tmp_path / "b", input_size=SHAPE)


def test_several_outputs_in_both_formats(calibration: Path, tmp_path: Path) -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = randomize_(create_model("resnet8", num_classes=4), shape=SHAPE)
            self.other = nn.Conv2d(3, 2, 3, stride=2)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"scores": self.body(x), "map": self.other(x)}

    bundle = export(Heads().eval(), out=tmp_path / "b", input_size=SHAPE, calibration=calibration)
    for artifact in bundle.manifest.artifacts:
        assert [output.name for output in artifact.outputs] == ["scores", "map"]
        assert artifact.verification
        assert artifact.verification.passed


@pytest.mark.parametrize("opset", [18, 21, 23])
def test_the_opset_asked_for_is_written(network: nn.Module, tmp_path: Path, opset: int) -> None:
    bundle = export(
        network, out=tmp_path / "b", input_size=SHAPE, opset=opset, formats=[Format.ONNX]
    )
    model = onnx.load(bundle.file(bundle.manifest.artifacts[0]))
    assert model.opset_import[0].version == opset
