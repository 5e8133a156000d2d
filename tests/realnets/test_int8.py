"""Trained networks of other people in int8: what photographs that calibration did not see keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from benchmarks.int8_held_out import db, peer_model, run
from benchmarks.real_networks import as_torchvision, crops
from edgeconv.bundle import Format, Precision
from edgeconv.export import export
from realnets.networks import NETWORKS, RealNetwork, pictures
from support.runtimes import run_onnx, run_tflite

pytestmark = pytest.mark.slow

CLASSIFIERS = [each for each in NETWORKS if each.name in ("MobileNetV2", "EfficientNet-Lite0")]
CALIBRATION, UNSEEN = 32, 24


@pytest.mark.parametrize("network", CLASSIFIERS, ids=lambda network: network.name)
def test_int8_keeps_what_the_peer_keeps_and_more(
    network: RealNetwork, packages: Path, tmp_path: Path
) -> None:
    file = packages / network.file
    if not file.exists() or network.network is None:
        pytest.skip(f"{network.file} is not installed; `make test` does it")
    calibration, unseen = photographs(packages)
    bundle = export(
        network.network(file),
        out=tmp_path / "out",
        input_size=(3, 224, 224),
        precisions=[Precision.FLOAT32, Precision.INT8],
        calibration=np.concatenate(calibration),
    )
    assert all(each.verification and each.verification.passed for each in bundle.manifest.artifacts)
    files = {(each.format, each.precision): bundle.file(each) for each in bundle.manifest.artifacts}
    network_in_float = ir.load(files[Format.ONNX, Precision.FLOAT32])
    expected = run(network_in_float, unseen)
    kept = {
        Format.ONNX: outputs(run_onnx, files[Format.ONNX, Precision.INT8], unseen),
        Format.TFLITE: outputs(
            run_tflite,
            files[Format.TFLITE, Precision.INT8],
            [np.moveaxis(each, 1, -1) for each in unseen],
        ),
    }
    peer = db(expected, run(peer_model(network_in_float, calibration), unseen))
    for got in kept.values():
        # 2.5 and 5.7 dB more with 128 photographs; a quarter as many leave more to chance.
        assert db(expected, got) > peer + 1
        # Measured: 95 % with 128 photographs, 88 % by the peer.
        assert (got.argmax(1) == expected.argmax(1)).mean() > 0.8


def photographs(packages: Path) -> tuple[list[Any], list[Any]]:
    """Inputs for calibration, and inputs from other pictures, [1, 3, 224, 224] each."""
    found = pictures(packages)
    first, second = (
        [as_torchvision(crop) for crop in crops((224, 224), files, count, seed=count)]
        for files, count in ((found[::2], CALIBRATION), (found[1::2], UNSEEN))
    )
    return first, second


def outputs(runtime: Any, file: Path, inputs: list[Any]) -> Any:
    rows = [runtime(file.read_bytes(), [each]) for each in inputs]
    return np.concatenate([next(iter(row.values())) for row in rows])
