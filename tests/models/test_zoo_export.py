"""Every network of the zoo becomes verified files. A network is tested because it is registered."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgeconv import models
from edgeconv.bundle import Bundle, Precision
from edgeconv.errors import UnsupportedOperator, UsageError
from edgeconv.export import export
from edgeconv.export.capture.guess import input_shape
from edgeconv.export.capture.resolve import resolve
from edgeconv.models.randomize import randomize_

pytestmark = pytest.mark.slow

# Networks that TFLite cannot express yet, each with the operator that it lacks. When one starts to
# pass, its test fails until the name is taken off this list.
LACKING: dict[str, str] = {}

# Small, and between them most of what int8 treats in a way of its own: residuals, depthwise
# convolutions, vectors, pixel shuffle, channel shuffle, several outputs, sequences.
QUANTIZED = [
    "autoencoder",
    "ds_cnn",
    "ds_tcn",
    "espcn",
    "mobilenet_v1_025",
    "mobilenet_v2_early_exit",
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
        # Far from the limit, which leaves room for other processors. Measured: 1e-5 at most.
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
        # Measured: 15 dB (early exits) to 37 dB; under 10 dB the files would warn.
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


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("resnet8", (32, 48), (3, 32, 48)),
        ("resnet8", (1, 32, 48), (1, 32, 48)),
        ("ds_cnn", (30, 30), (1, 30, 30)),
        ("wavenet_kws", (20, 300), (20, 300)),
        ("wavenet_kws", (40, 40), (40, 40)),
        ("resnet_early_exit", (96, 96), (3, 96, 96)),
    ],
)
@pytest.mark.parametrize("built", [False, True])
def test_input_sizes(name: str, size: tuple[int, ...], shape: tuple[int, ...], built: bool) -> None:
    in_channels = {"in_channels": shape[0]} if len(size) == len(shape) else {}
    model = models.create_model(name, **in_channels) if built else name
    source = resolve(model, args={}, input_size=size, weights=None)
    assert input_shape(source, size) == shape
    assert isinstance(source.network, nn.Module)
    source.network(torch.zeros(1, *shape))


@pytest.mark.parametrize(
    ("name", "size"),
    [("wavenet_kws", (1, 20, 184)), ("autoencoder", (640, 640)), ("resnet8", (32,))],
)
def test_input_sizes_of_another_kind_are_refused(name: str, size: tuple[int, ...]) -> None:
    source = resolve(name, args={}, input_size=size, weights=None)
    with pytest.raises(UsageError, match=rf"{name} reads inputs of .*\nhint: leave input_size out"):
        input_shape(source, size)
