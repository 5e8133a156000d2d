"""Every network of the zoo becomes verified files. A network is tested because it is registered."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from edgeconv import models
from edgeconv.bundle import Bundle, Precision
from edgeconv.errors import UnsupportedOperator
from edgeconv.export import export
from edgeconv.models.randomize import randomize_

# Networks that TFLite cannot express yet, each with the operator that it lacks. When one starts to
# pass, its test fails until the name is taken off this list.
LACKING: dict[str, str] = {}

# Small enough for a quick calibration, and between them every kind of layer that int8 treats in a
# way of its own: residuals, depthwise convolutions, vectors, pixel shuffle, shuffled and gated
# channels, dense features, sequences.
QUANTIZED = [
    "autoencoder",
    "densenet121",
    "ds_cnn",
    "espcn",
    "mobilenet_v1_025",
    "mobilenet_v2_early_exit",
    "mobilenet_v3_small",
    "resnet8",
    "shufflenet_v2_x1_0",
    "wavenet_kws",
]


def _networks() -> list[object]:
    def mark(name: str) -> object:
        return pytest.param(
            name,
            marks=pytest.mark.xfail(strict=True, raises=UnsupportedOperator, reason=LACKING[name]),
        )

    return [mark(name) if name in LACKING else name for name in models.list_models()]


def build(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A network that is alive, and the shape of a small input to it."""
    options = {"input_size": 64} if "input_size" in models.model_options(name) else {}
    shape = models.input_shape(name, **options)
    return randomize_(models.create_model(name, **options), shape=shape), shape


@pytest.mark.parametrize("name", _networks())
def test_float_files_compute_what_the_network_computes(name: str, tmp_path: Path) -> None:
    network, shape = build(name)
    # An export raises unless PyTorch agrees with ONNX Runtime and with LiteRT to 1e-4 of the range.
    bundle = export(network, out=tmp_path / "out", input_size=shape)
    assert len(bundle.manifest.artifacts) == 2
    assert bundle.manifest.inputs[0].shape == (1, *shape)
    for artifact in bundle.manifest.artifacts:
        assert artifact.verification
        # Far from the limit, which leaves room for other processors. Measured: 2e-5 at most.
        assert artifact.verification.max_error < 5e-5


def test_the_list_of_what_lacks_names_networks() -> None:
    assert set(LACKING) <= set(models.list_models())


@pytest.mark.parametrize("name", QUANTIZED)
def test_integer_files_agree(name: str, tmp_path: Path) -> None:
    network, shape = build(name)
    bundle = export(
        network,
        out=tmp_path / "out",
        input_size=shape,
        calibration="random",
        calibration_size=8,
        precisions=[Precision.INT8],
    )
    # An export raises unless both formats agree; how near they are to float is in the figures.
    for artifact in bundle.manifest.artifacts:
        assert artifact.verification
        assert artifact.verification.sqnr_db > 10


def outputs(bundle: Bundle) -> list[tuple[str, ...]]:
    return [tuple(info.name for info in a.outputs) for a in bundle.manifest.artifacts]


@pytest.mark.parametrize("name", ["fpn_resnet18", "resnet_early_exit"])
def test_outputs_have_the_names_on_the_card(name: str, tmp_path: Path) -> None:
    bundle = export(name, out=tmp_path / "out", model_args={"input_size": 64})
    names = models.model_info(name).outputs
    assert len(names) > 1
    assert outputs(bundle) == [names] * 2
    assert tuple(info.name for info in bundle.manifest.outputs) == names
