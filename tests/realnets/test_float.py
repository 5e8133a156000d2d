"""Trained networks of other people in float32: both formats compute what their own runtime does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from edgeconv.bundle import Format, Layout, Precision, TensorInfo
from edgeconv.export import export
from realnets.networks import NETWORKS, Arrays, RealNetwork
from support.runtimes import run_onnx, run_tflite

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_both_formats_compute_what_the_network_does(
    network: RealNetwork, packages: Path, tmp_path: Path
) -> None:
    file = packages / network.file
    if not file.exists():
        pytest.skip(f"{network.file} is not installed; `make test` does it")
    module = None if network.network is None else network.network(file)
    samples = list(network.inputs(packages))
    bundle = export(
        module or file,
        out=tmp_path / "out",
        precisions=[Precision.FLOAT32],
        **({"input_size": samples[0][0].shape[1:]} if module else network.options),  # type: ignore[arg-type]
    )
    assert all(a.verification and a.verification.passed for a in bundle.manifest.artifacts)
    expected = [torch_outputs(module, s) if module else onnx_outputs(file, s) for s in samples]
    for artifact in bundle.manifest.artifacts:
        data = bundle.file(artifact).read_bytes()
        run = run_onnx if artifact.format is Format.ONNX else run_tflite
        for sample, wanted in zip(samples, expected, strict=True):
            feeds = {
                info.name: np.moveaxis(x, 1, -1) if moves(own, info) else x
                for own, info, x in zip(
                    bundle.manifest.inputs, artifact.inputs, sample, strict=True
                )
            }
            outputs = run(data, feeds)
            pairs = zip(bundle.manifest.outputs, artifact.outputs, strict=True)
            for (own, info), right in zip(pairs, wanted, strict=True):
                got = outputs[info.name]
                if moves(own, info):
                    got = np.moveaxis(got, -1, 1)
                # Single scores are close to zero, so the largest one is the measure.
                tolerance = network.tolerance * max(np.abs(right).max(), 1e-3)
                np.testing.assert_allclose(got, right, rtol=0, atol=tolerance)


def moves(own: TensorInfo, info: TensorInfo) -> bool:
    """Whether a file has the channels last where the network itself has them second."""
    return info.layout is Layout.NHWC and own.layout is not Layout.NHWC


def torch_outputs(module: torch.nn.Module, sample: Arrays) -> list[np.ndarray]:
    with torch.inference_mode():
        return [module(*(torch.from_numpy(x) for x in sample)).numpy()]


def onnx_outputs(file: Path, sample: Arrays) -> list[np.ndarray]:
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return [np.asarray(y) for y in session.run(None, dict(zip(names, sample, strict=True)))]
