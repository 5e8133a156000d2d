"""Ranges of 16-bit activations have room for values that calibration did not see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from edgeconv.export import export
from edgeconv.export.capture.module import capture_module
from edgeconv.export.layer_rules import LayerPrecision, LayerRule
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions, RangeMethod, fit
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.room import with_room
from edgeconv.metrics import sqnr_db
from support.precision import first_outputs_onnx, first_outputs_tflite

pytestmark = pytest.mark.slow

Array = npt.NDArray[np.float32]
MINMAX = QuantizeOptions(effort=0, range_method=RangeMethod.MINMAX)


class BothSigns(nn.Module):
    """Features of both signs, as CReLU has them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        out: Tensor = self.last(torch.relu(y) + torch.relu(-y))
        return out


class Bounded(nn.Module):
    """Activations with an upper bound that the data seldom reaches, and their average."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(16, 4, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.relu6(self.conv(x))
        joined = torch.cat([self.pool(y), nn.functional.avg_pool2d(y, 2)], 1)
        out: Tensor = self.last(joined)
        return out


def made(network: type[nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return network().eval()


def graph_of(network: nn.Module, example: Array) -> ir.Model:
    return optimize(capture_module(network, (example,), ["output"], 20))


def fitted(network: nn.Module, samples: list[Array]) -> CalibratedModel:
    graph = graph_of(network, samples[0])
    return fit(graph, [[sample] for sample in samples], MINMAX)[0]


def some(count: int, shape: tuple[int, ...], seed: int, scale: float = 1.0) -> list[Array]:
    generator = np.random.default_rng(seed)
    return [
        (generator.standard_normal((1, *shape)) * scale).astype(np.float32) for _ in range(count)
    ]


def reach(model: CalibratedModel) -> dict[str, float]:
    return {name: each.range.reach for name, each in model.activations.items()}


@pytest.mark.parametrize(
    ("precision", "layers"),
    [("int16x8", ()), ("int8", (LayerRule(name="*", precision=LayerPrecision.INT16),))],
)
def test_unseen_samples_do_not_saturate(
    precision: str, layers: tuple[LayerRule, ...], tmp_path: Path
) -> None:
    network, unseen = made(BothSigns), some(300, (6,), 2)
    bundle = export(
        network,
        out=tmp_path / "out",
        name="net",
        input_size=(6,),
        calibration=np.concatenate(some(24, (6,), 1)),
        precisions=precision,
        quantization=QuantizeOptions(layers=layers),
    )
    with torch.no_grad():
        expected = network(torch.from_numpy(np.concatenate(unseen))).numpy()
    samples = [(sample,) for sample in unseen]
    by_onnx = first_outputs_onnx(ir.load(bundle.path / f"net_{precision}.onnx"), samples)
    file = bundle.path / f"net_{precision}.tflite"
    by_tflite = first_outputs_tflite(file.read_bytes(), samples)
    # Rounding of weights to 8 bits keeps 48 dB; ranges that end where those of int8 do keep 26.
    assert sqnr_db(expected, by_onnx.reshape(expected.shape)) > 40
    assert sqnr_db(expected, by_tflite.reshape(expected.shape)) > 40


def test_a_range_has_room_for_twice_what_was_seen() -> None:
    narrow = fitted(made(BothSigns), some(24, (6,), 1))
    wide = with_room(narrow)
    assert wide.activations.keys() == narrow.activations.keys()
    for name, before in reach(narrow).items():
        # The ends move by up to half a step with the zero point.
        assert reach(wide)[name] == pytest.approx(2 * before, rel=0.02), name


def test_no_range_exceeds_the_bound_of_its_clip() -> None:
    narrow = fitted(made(Bounded), some(16, (3, 8, 8), 1, scale=2))
    wide = reach(with_room(narrow))
    before = reach(narrow)
    # Calibration saw less, and twice as much would be more.
    assert 3.5 < before["relu6"] < 5.5
    # The zero point moves the ends of a range by up to half a step.
    assert wide["relu6"] == wide["pool"] == pytest.approx(6, rel=0.01)


def test_the_bound_of_a_clip_is_kept(tmp_path: Path) -> None:
    network, unseen = made(Bounded), some(40, (3, 8, 8), 2, scale=40)  # beyond the bound
    bundle = export(
        network,
        out=tmp_path / "out",
        name="net",
        input_size=(3, 8, 8),
        calibration=np.concatenate(some(16, (3, 8, 8), 1, scale=20)),
        precisions="int16x8",
    )
    with torch.no_grad():
        expected = network(torch.from_numpy(np.concatenate(unseen))).numpy()
    samples = [(sample,) for sample in unseen]
    got = first_outputs_onnx(ir.load(bundle.path / "net_int16x8.onnx"), samples)
    # 8-bit weights; without the bound less than 0 dB would be left.
    assert sqnr_db(expected, got.reshape(expected.shape)) > 30


def test_one_wild_sample_does_not_take_the_steps() -> None:
    samples = some(64, (6,), 1)
    wild = [*samples, samples[0] * np.float32(1e5)]
    options = QuantizeOptions(effort=0, range_method=RangeMethod.PERCENTILE)
    graph = graph_of(made(BothSigns), samples[0])
    narrow = fit(graph, [[sample] for sample in wild], options)[0]
    before, after = reach(narrow), reach(with_room(narrow))
    inner = [name for name in before if name != "output"]  # outputs have their whole range
    assert inner
    for name in inner:
        assert after[name] <= before[name] * 16 * 1.02, name


class Looked(nn.Module):
    """Rows of a table beside what is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = nn.Embedding(20, 8), nn.Linear(8, 4)

    def forward(self, tokens: Tensor) -> Any:
        return self.last(self.table(tokens))


def test_the_range_of_a_table_stays() -> None:
    tokens = [np.arange(5, dtype=np.int64)[None] + shift for shift in range(4)]
    graph = graph_of(made(Looked), tokens[0])
    narrow = fit(graph, [[each] for each in tokens], MINMAX)[0]
    wide = with_room(narrow)
    kept = [name for name in wide.activations if wide.activations[name] == narrow.activations[name]]
    assert kept
