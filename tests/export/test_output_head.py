"""Files that give probabilities, labels or the best classes, held against PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from PIL import Image
from torch import nn

from edgeconv.bundle import Bundle, Format, Layout, OutputKind, Precision
from edgeconv.companion.predict import predict
from edgeconv.errors import UsageError
from edgeconv.export import export
from edgeconv.export.runtimes import open_runner
from edgeconv.export.tasks.evaluate import evaluate
from edgeconv.export.verify.bundle import verify_bundle
from edgeconv.preprocessing import Preprocessing
from support import tflite_metadata

pytestmark = pytest.mark.slow

SIDE = 16
LABELS = [f"class {index}" for index in range(6)]
HOW = Preprocessing(mean=(0.5,) * 3, std=(0.25,) * 3)


def classifier(*more: nn.Module) -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 6), *more
    ).eval()


def pictures(count: int) -> Any:
    rng = np.random.default_rng(4)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), np.uint8)
    big = [np.asarray(Image.fromarray(each).resize((SIDE, SIDE))) for each in coarse]
    return np.stack(big).transpose(0, 3, 1, 2)


def right(count: int) -> Any:
    """The network's scores."""
    x = ((pictures(count) / 255 - 0.5) / 0.25).astype(np.float32)
    with torch.inference_mode():
        return classifier()(torch.from_numpy(x)).numpy()


def made(out: Path, kind: str | None, network: nn.Module | None = None, **options: Any) -> Bundle:
    return export(
        network or classifier(),
        out=out,
        name="net",
        input_size=SIDE,
        calibration=pictures(40),
        preprocessing=HOW,
        labels=LABELS,
        output=kind,
        **options,
    )


def outputs(bundle: Bundle, path: str) -> Any:
    """What a file gives for each picture, as the manifest describes it."""
    artifact = next(a for a in bundle.manifest.artifacts if a.path == path)
    runner = open_runner(
        bundle.file(artifact), artifact.format, artifact.inputs, artifact.outputs, bundle.manifest
    )
    given = pictures(20)
    if not bundle.manifest.preprocessing.inside:  # type: ignore[union-attr]
        given = ((given / 255 - 0.5) / 0.25).astype(np.float32)
    rows = [runner.run([given[i : i + 1]]) for i in range(20)]
    arrays = [np.concatenate(each) for each in zip(*rows, strict=True)]
    return arrays[0] if len(arrays) == 1 else arrays


@pytest.mark.parametrize("io", ["float32", "uint8"])
def test_probabilities(io: str, tmp_path: Path) -> None:
    bundle = made(tmp_path / "out", "probabilities", io=io)
    scores = right(20).astype(np.float64)
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert bundle.manifest.output is OutputKind.PROBABILITIES
    for artifact in bundle.manifest.artifacts:
        got = outputs(bundle, artifact.path)
        exact = artifact.precision is Precision.FLOAT32
        # A score is off by a few steps of about 0.02, and so are the logarithms of probabilities.
        assert np.abs(got - expected).max() < (1e-6 if exact else 0.05)
        (info,) = artifact.outputs
        if io == "uint8" and not exact:
            assert (info.dtype, info.scale, info.zero_point) == ("uint8", 1 / 256, 0)
        else:
            assert info.dtype == "float32"
            assert got.sum(1) == pytest.approx(1, abs=1e-5)
    assert all(figures.passed for figures in verify_bundle(bundle).artifacts.values())


@pytest.mark.parametrize("io", ["float32", "uint8"])
def test_labels(io: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = made(tmp_path / "out", "label", io=io, inputs=["image"])
    scores = right(20)
    best = np.sort(scores, 1)
    clear = best[:, -1] - best[:, -2] > 0.15  # more than the noise of int8
    assert clear.sum() == 9
    for artifact in bundle.manifest.artifacts:
        got = outputs(bundle, artifact.path)
        assert got.dtype == np.int64
        assert got.shape == (20,)
        exact = artifact.precision is Precision.FLOAT32
        assert (got == scores.argmax(1))[clear | exact].all()
        if artifact.format is Format.TFLITE:
            path = bundle.file(artifact)
            (graph,) = tflite_metadata.read(path)["subgraph_metadata"]
            (said,) = graph["output_tensor_metadata"]
            assert said["associated_files"] == [{"name": "labels.txt", "type": 3}]
    photo = tmp_path / "photo.png"
    shown = int(np.flatnonzero(clear)[0])
    Image.fromarray(pictures(20)[shown].transpose(1, 2, 0)).save(photo)
    for artifact in bundle.manifest.artifacts:
        predict(bundle, photo, artifact.path)
        assert capsys.readouterr().out.strip() == LABELS[int(scores[shown].argmax())]
    np.savez(tmp_path / "labeled.npz", x=pictures(20), y=scores.argmax(1))
    found = evaluate(bundle, tmp_path / "labeled.npz")
    figures = {each.path: each.figures for each in found.results}
    assert [figure.name for figure in figures["net_float32.onnx"]] == ["top-1"]
    assert figures["net_float32.onnx"][0].value == 1
    assert figures["net_int8.tflite"][0].value >= clear.mean()
    with pytest.raises(UsageError, match="classes are printed"):
        predict(bundle, photo, out=tmp_path / "out.npz")


def test_labels_do_not_change_how_a_network_is_quantized(tmp_path: Path) -> None:
    plain, labels = made(tmp_path / "plain", None), made(tmp_path / "labels", "label")
    assert plain.manifest.calibration == labels.manifest.calibration
    same = outputs(plain, "net_int8.onnx").argmax(1)
    assert (outputs(labels, "net_int8.onnx") == same).all()


def test_scores_stay(tmp_path: Path) -> None:
    bundle = made(tmp_path / "out", "logits", precisions=["float32"])
    assert outputs(bundle, "net_float32.onnx") == pytest.approx(right(20), abs=1e-4)


def test_a_network_with_probabilities(tmp_path: Path) -> None:
    network = classifier(nn.Softmax(1))
    with pytest.raises(UsageError, match=r"computes probabilities itself .*\n.*cut_outputs=\[.\w+"):
        made(tmp_path / "out", "logits", network)
    bundle = made(tmp_path / "out", "probabilities", network, formats=["onnx"])
    session = ort.InferenceSession(str(tmp_path / "out" / "net_float32.onnx"))
    assert session.get_outputs()[0].shape == [1, 6]
    scores = right(20)
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert outputs(bundle, "net_float32.onnx") == pytest.approx(expected, abs=1e-5)


EVERY = ("float32", "float16", "int8-dynamic", "int8", "int16x8")


@pytest.mark.parametrize("io", ["float32", "uint8"])
def test_the_best_five(io: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In every precision: the five best by PyTorch's scores, and their probabilities."""
    precisions = EVERY if io == "float32" else ("float32", "int8")
    bundle = made(tmp_path / "out", "top5", io=io, precisions=precisions)
    scores = right(20).astype(np.float64)
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    wanted = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    assert [info.shape for info in bundle.manifest.outputs] == [(1, 5), (1, 5)]
    assert len(bundle.manifest.artifacts) == 2 * len(precisions)
    for artifact in bundle.manifest.artifacts:
        classes, best = outputs(bundle, artifact.path)
        assert (classes.dtype, classes.shape) == (np.int64, (20, 5))
        exact = artifact.precision is Precision.FLOAT32
        if exact:
            assert (classes == wanted).all()
        # A score is off by a few steps of about 0.02 in int8, and by less in the others.
        expected = np.take_along_axis(probabilities, classes, 1)
        assert np.abs(best - expected).max() < (1e-6 if exact else 0.05)
        assert all(len({*row}) == 5 for row in classes.tolist())
        assert (np.diff(best, axis=1) <= 0).all()
        if artifact.format is Format.TFLITE:
            (graph,) = tflite_metadata.read(bundle.file(artifact))["subgraph_metadata"]
            said = graph["output_tensor_metadata"]
            assert [each.get("associated_files") for each in said] == [
                [{"name": "labels.txt", "type": 3}], None,
            ]  # fmt: skip
    assert all(figures.passed for figures in verify_bundle(bundle).artifacts.values())
    photo = tmp_path / "photo.png"
    Image.fromarray(pictures(20)[0].transpose(1, 2, 0)).save(photo)
    predict(bundle, photo, "net_float32.onnx")
    lines = [line.strip().split("  ", 1) for line in capsys.readouterr().out.splitlines()]
    assert [label for _, label in lines] == [LABELS[index] for index in wanted[0]]
    np.testing.assert_allclose(
        [float(number) for number, _ in lines], probabilities[0][wanted[0]], rtol=1e-4
    )
    truth = np.random.default_rng(0).integers(0, 6, 20)
    np.savez(tmp_path / "labeled.npz", x=pictures(20), y=truth)
    found = {each.path: each for each in evaluate(bundle, tmp_path / "labeled.npz").results}
    for path in ("net_float32.onnx", "net_float32.tflite"):
        got = {figure.name: figure.value for figure in found[path].figures}
        share = (wanted == truth[:, None]).any(1).mean()
        assert got == {"top-1": (wanted[:, 0] == truth).mean(), "top-5": share}


def test_the_best_five_of_probabilities_that_int8_rounds_to_zero(tmp_path: Path) -> None:
    """They are ranked by what the network's own Softmax reads, where most classes still differ."""

    class Sharp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scores = classifier()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.softmax(40 * self.scores(x), 1)

    bundle = made(tmp_path / "out", "top5", Sharp().eval(), precisions=["int8"], io="uint8")
    ranked = np.argsort(-right(20), axis=1, kind="stable")[:, :5]
    for artifact in bundle.manifest.artifacts:
        classes, best = outputs(bundle, artifact.path)
        assert (best[:, 3:] == 0).mean() > 0.5
        same = (classes[:, :, None] == ranked[:, None, :4]).any(1)
        # Of equal probabilities the first classes would come first: one in five is then missing.
        assert same.mean() > 0.95


def test_the_best_five_of_five_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"more than five classes, and .* has 5"):
        export(
            nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 5)), out=tmp_path / "out",
            input_size=SIDE, output="top5",
        )  # fmt: skip


@pytest.mark.slow
def test_every_batch(tmp_path: Path) -> None:
    bundle = export(
        classifier(),
        out=tmp_path / "out",
        name="net",
        inputs=["image:nhwc"],
        input_size=SIDE,
        preprocessing=HOW,
        output="label",
        dynamic_batch=True,
        formats=["onnx"],
    )
    session = ort.InferenceSession(str(tmp_path / "out" / "net_float32.onnx"))
    given = pictures(7).transpose(0, 2, 3, 1).astype(np.float32)
    (got,) = session.run(None, {"input": given})
    assert (got == right(7).argmax(1)).all()
    assert bundle.manifest.inputs[0].layout is Layout.NHWC


def test_other_outputs_are_refused(tmp_path: Path) -> None:
    segments = nn.Conv2d(3, 4, 3).eval()
    with pytest.raises(UsageError, match=r"output=.label. takes .* 'output' of \[1, 4, 14, 14\]"):
        export(segments, out=tmp_path / "out", input_size=SIDE, output="label")
    assert not (tmp_path / "out").exists()
