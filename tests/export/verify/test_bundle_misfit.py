"""A manifest and a reference that contradict each other are refused with one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv.bundle import MANIFEST_NAME, REFERENCE_NAME, Bundle, Precision, sha256_of
from edgeconv.checksums import write_checksums
from edgeconv.errors import BundleError
from edgeconv.export import export
from edgeconv.export.verify.bundle import verify_bundle
from edgeconv.limits import LimitExceeded
from support.tiny_models import write_onnx

pytestmark = pytest.mark.slow

Json = dict[str, Any]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    model = write_onnx(folder / "m.onnx")
    export(
        model,
        out=folder / "out",
        precisions=[Precision.FLOAT32, Precision.INT8],
        calibration="random",
        calibration_size=4,
    )
    return folder / "out"


def changed(
    good: Path,
    out: Path,
    *,
    manifest: Callable[[Json], object] = lambda plain: None,
    arrays: Callable[[Json], object] = lambda named: None,
    save: Callable[..., None] = np.savez,
) -> Bundle:
    shutil.copytree(good, out)
    with np.load(out / REFERENCE_NAME) as stored:
        named = dict(stored)
    arrays(named)
    save(out / REFERENCE_NAME, **named)
    plain = json.loads((out / MANIFEST_NAME).read_text())
    plain["reference_sha256"] = sha256_of(out / REFERENCE_NAME)
    manifest(plain)
    (out / MANIFEST_NAME).write_text(json.dumps(plain))
    write_checksums(out)
    return Bundle.load(out)


def test_nothing_changed(good: Path, tmp_path: Path) -> None:
    assert verify_bundle(changed(good, tmp_path / "b")).artifacts


@pytest.mark.parametrize(
    "change",
    [
        lambda named: named.pop("input_0"),
        lambda named: named.pop("output_0"),
        lambda named: named.pop("int8_steps"),
        lambda named: named.update(output_0=named["output_0"][:1]),
        lambda named: named.update(output_0=named["output_0"][..., :1]),
        lambda named: named.update(input_0=named["input_0"][:, :, :1]),
        lambda named: named.update(input_0=np.float32(1)),
        lambda named: named.update(input_7=named["input_0"]),
        lambda named: named.update(int8_steps=np.array("x")),
        lambda named: named.update(int8_steps=np.zeros(7)),
        lambda named: named.update(allowed_error=np.zeros(3)),
    ],
)
def test_arrays(good: Path, tmp_path: Path, change: Callable[[Json], object]) -> None:
    with pytest.raises(BundleError, match=r"does not fit the manifest|is damaged"):
        verify_bundle(changed(good, tmp_path / "b", arrays=change))


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain["artifacts"][0]["inputs"][0].update(dtype="../x"),
        lambda plain: plain["artifacts"][0]["inputs"][0].update(scale=0.5, zero_point=0),
        lambda plain: plain["artifacts"][0]["inputs"][0].update(layout="nhwc", shape=[3]),
        lambda plain: plain["artifacts"][0]["outputs"].clear(),
        lambda plain: plain["inputs"].clear(),
        lambda plain: plain["outputs"][0].update(shape=[1, 2, 3]),
    ],
)
def test_manifests(good: Path, tmp_path: Path, change: Callable[[Json], object]) -> None:
    with pytest.raises(BundleError, match=r"fit|contradict|is damaged"):
        verify_bundle(changed(good, tmp_path / "b", manifest=change))


def test_a_compressed_reference_of_gigabytes(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = changed(
        good,
        tmp_path / "b",
        arrays=lambda named: named.update(input_9=np.zeros(20_000_000, np.uint8)),
        save=np.savez_compressed,
    )
    assert (bundle.path / REFERENCE_NAME).stat().st_size < 1_000_000
    monkeypatch.setenv("EDGECONV_MAX_UNPACKED_BYTES", "10000000")
    with pytest.raises(LimitExceeded, match=r"reference\.npz unpacks to"):
        verify_bundle(bundle)
