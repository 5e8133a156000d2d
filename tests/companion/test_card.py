"""``README.md`` of a bundle: figures with units, and names that stay text."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv.bundle import Artifact, Calibration, Format, Manifest, Precision
from edgeconv.companion.write import write_companions
from edgeconv.preprocessing import Fit, Interpolation, Preprocessing
from edgeconv.verification import Verification
from support.manifests import made_manifest


def artifact(path: str, *, sqnr_db: float, agreement: float | None) -> Artifact:
    figures = Verification(
        passed=True,
        runtime="ai-edge-litert 2.3.0",
        samples=16,
        max_error=0.0123,
        sqnr_db=sqnr_db,
        argmax_agreement=agreement,
    )
    interface = made_manifest((1, 3, 24, 32), (1, 12))
    return Artifact(
        path=path,
        format=Format.TFLITE,
        precision=Precision.INT8,
        bytes=1_234_567,
        sha256="0" * 64,
        opset=None,
        operators={},
        lowest_runtime="tflite-runtime 2.5.0",
        inputs=interface.inputs,
        outputs=interface.outputs,
        float_fallback=(),
        verification=figures,
    )


def card(manifest: Manifest, folder: Path) -> str:
    write_companions(folder, manifest)
    return (folder / "README.md").read_text("utf-8")


@pytest.fixture
def manifest() -> Manifest:
    how = Preprocessing(
        crop=0.875, interpolation=Interpolation.BICUBIC, mean=(0.4, 0.5, 0.6), std=(0.2,) * 3
    )
    labels = tuple(f"class {index}" for index in range(12))
    made = made_manifest((1, 3, 24, 32), (1, 12), labels=labels, preprocessing=how)
    calibration = Calibration(
        source="photos", synthetic=False, samples=128, names=(), skipped=(), sha256="ab" * 32,
        method="mse",
    )  # fmt: skip
    files = (
        artifact("m_int8.tflite", sqnr_db=38.44, agreement=0.975),
        artifact("m_float32.tflite", sqnr_db=200.0, agreement=None),
    )
    return made.model_copy(
        update={"artifacts": files, "calibration": calibration, "tools": {"torch": "2.9.0"}}
    )


def test_figures_have_units(manifest: Manifest, tmp_path: Path) -> None:
    text = card(manifest, tmp_path)
    for line in (
        "| m_int8.tflite | int8 | 1.23 MB | 38.4 dB | 1.2% | 97.5% | tflite-runtime 2.5.0 |",
        "| m_float32.tflite | int8 | 1.23 MB | equal | 1.2% | – | tflite-runtime 2.5.0 |",
        "| input | x | 1 × 3 × 24 × 32 | float32 |  |",
        "python BUNDLE/run.py photo.jpg",
        "- Resize it (bicubic) until the crop of 87.5% of its sides covers the input, and crop the "
        "center.",
        "subtract the mean 0.4 0.5 0.6 and divide by the standard deviation 0.2 0.2 0.2.",
        "| calibration | 128 samples of photos, mse ranges, SHA-256 " + "ab" * 32 + " |",
        "| made by | edgeconv 0 with torch 2.9.0 |",
        "9. class 9",
        "And 2 more, in `manifest.json`.",
    ):
        assert line in text


def test_every_picture_is_described(manifest: Manifest, tmp_path: Path) -> None:
    how = Preprocessing(fit=Fit.LETTERBOX, padding=(1, 2, 3), exif_rotation=False, antialias=False)
    text = card(manifest.model_copy(update={"preprocessing": how}), tmp_path)
    assert "center it on the color rgb(1, 2, 3)" in text
    assert "without averaging the pixels left out" in text
    assert "EXIF" not in text


def test_a_network_of_other_inputs(tmp_path: Path) -> None:
    text = card(made_manifest((1, 6, 4), (1, 6, 4)), tmp_path)
    assert "python BUNDLE/run.py inputs.npz" in text
    assert "picture" not in text
    assert "Pillow" not in text


def test_names_are_no_markup(manifest: Manifest, tmp_path: Path) -> None:
    hostile = "a | b\n# c <script> [x](http://y) `z` *e* \x1b[2J {{ 7 * 7 }}"
    text = card(manifest.model_copy(update={"model": hostile, "labels": (hostile,)}), tmp_path)
    shown = r"a \| b\n# c \<script\> \[x\](http\://y) \`z\` \*e\* \\x1b\[2J {{ 7 \* 7 }}"
    shown = shown.replace(r"\n#", r"\\n#")
    assert text.startswith(f"# {shown}\n")
    assert f"0. {shown}\n" in text
    assert text.replace("\n", "").isprintable()
