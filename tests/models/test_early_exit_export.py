"""A network with early exits as a chain of files, on the runtimes of a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from edgeconv import models
from edgeconv.bundle import Bundle, Format, TensorInfo
from edgeconv.errors import DataError
from edgeconv.export import export
from edgeconv.models.randomize import randomize_, structured_input
from support.runtimes import run_onnx, run_tflite

pytestmark = pytest.mark.slow

NAME = "resnet_early_exit"
OPTIONS = {"input_size": 64, "num_classes": 5}
SHAPE = (3, 64, 64)
STAGES = 3

Image = NDArray[np.float32]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return randomize_(models.create_model(NAME, **OPTIONS), shape=SHAPE)


@pytest.fixture(scope="module")
def chain(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    """A bundle for each stage, all from one file of the whole network's weights."""
    folder = tmp_path_factory.mktemp("chain")
    save_file(network.state_dict(), folder / "whole.safetensors")
    return [
        export(
            NAME,
            out=folder / f"stage{index}",
            weights=folder / "whole.safetensors",
            model_args={**OPTIONS, "stage": index},
        )
        for index in range(STAGES)
    ]


def infer(
    bundles: Sequence[Bundle], format: Format, x: Image, stop: Callable[[Image], bool]
) -> tuple[dict[str, Image], int]:
    """What a device does: run a stage, look at its logits, go on only where they leave doubt."""
    run = run_onnx if format is Format.ONNX else run_tflite
    exits: dict[str, Image] = {}
    for ran, bundle in enumerate(bundles, start=1):
        artifact = next(a for a in bundle.manifest.artifacts if a.format is format)
        result = run(bundle.file(artifact), x)
        x = result.pop("features", x)
        exits |= result
        if stop(*result.values()):
            return exits, ran
    return exits, len(bundles)


@pytest.mark.parametrize("format", list(Format))
def test_the_chain_of_files_gives_what_the_whole_gives(
    network: nn.Module, chain: list[Bundle], format: Format
) -> None:
    image = structured_input((1, *SHAPE), seed=3)
    with torch.no_grad():
        whole = dict(zip(models.model_info(NAME).outputs, network(image), strict=True))
    x = image.numpy()
    if format is Format.TFLITE:
        x = x.transpose(0, 2, 3, 1)
    exits, ran = infer(chain, format, x, stop=lambda logits: False)
    assert ran == STAGES
    assert exits.keys() == whole.keys()
    for name, expected in whole.items():
        # Float sums in another order, through three files.
        np.testing.assert_allclose(exits[name], expected.numpy(), rtol=1e-4, atol=1e-4)
    early, ran = infer(chain, format, x, stop=lambda logits: True)
    assert ran == 1
    assert early.keys() == {"exit1"}


def test_every_stage_says_what_it_reads_and_writes(chain: list[Bundle]) -> None:
    def interface(infos: tuple[TensorInfo, ...]) -> dict[str, tuple[int, ...]]:
        return {info.name: info.shape for info in infos}

    first, second, third = (bundle.manifest for bundle in chain)
    assert [info.shape for info in first.inputs] == [(1, *SHAPE)]
    assert interface(first.outputs) == {"features": (1, 128, 8, 8), "exit1": (1, 5)}
    assert [info.shape for info in second.inputs] == [(1, 128, 8, 8)]
    assert interface(second.outputs) == {"features": (1, 256, 4, 4), "exit2": (1, 5)}
    assert interface(third.outputs) == {"final": (1, 5)}
    # Pixels are the first stage's business.
    assert first.preprocessing is not None
    assert second.preprocessing is third.preprocessing is None


def test_a_stage_has_no_weights_of_the_others(chain: list[Bundle]) -> None:
    sizes = [bundle.manifest.artifacts[0].bytes for bundle in chain]
    card = models.model_info(NAME)
    assert sum(sizes) < 4 * card.parameters
    assert sizes[0] < sizes[1] < sizes[2]


def test_a_stage_misses_its_own_weights(network: nn.Module, tmp_path: Path) -> None:
    state = {k: v for k, v in network.state_dict().items() if k != "stages.1.head.fc.bias"}
    save_file(state, tmp_path / "w.safetensors")
    for stage, message in ((1, r"lacks 'stages\.1\.head\.fc\.bias'"), (2, None)):
        arguments = {"weights": tmp_path / "w.safetensors", "formats": [Format.ONNX]}
        arguments |= {"model_args": {**OPTIONS, "stage": stage}, "out": tmp_path / f"{stage}"}
        if message is None:
            export(NAME, **arguments)
        else:
            with pytest.raises(DataError, match=message):
                export(NAME, **arguments)
