"""The first pass over calibration data adds up exactly from its parts."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeconv.errors import DataError
from edgeconv.export.capture.module import capture_module
from edgeconv.export.data.samples import Sample
from edgeconv.export.passes import optimize
from edgeconv.export.quantize.accuracy.first_pass import FirstPass, Surveyed
from edgeconv.export.quantize.accuracy.surveyed_file import (
    load_surveyed,
    merged,
    save_surveyed,
)
from edgeconv.export.quantize.calibration.channel_statistics import (
    ChannelSamples,
    ChannelSums,
    RunningSums,
)
from edgeconv.export.quantize.calibration.observer import Observed
from edgeconv.export.quantize.calibration.survey import Survey
from edgeconv.export.quantize_options import QuantizeOptions
from edgeconv.models import create_model
from edgeconv.models.randomize import randomize_, structured_input

SHAPE = (3, 16, 16)
BATCHES = 40  # more than the two halves keep to be judged on


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    network = randomize_(create_model("mobilenet_v2", width_mult=0.1, num_classes=4), shape=SHAPE)
    return optimize(capture_module(network, (structured_input((1, *SHAPE), 0).numpy(),), ["y"], 20))


@pytest.fixture(scope="module")
def batches() -> list[Sample]:
    return [(structured_input((1, *SHAPE), s).numpy() * (1 + s % 7),) for s in range(BATCHES)]


@pytest.fixture(scope="module")
def whole(graph: ir.Model, batches: list[Sample]) -> Survey:
    return first_pass(graph).survey(batches)


def first_pass(graph: ir.Model, **options: object) -> FirstPass:
    decided = QuantizeOptions(**options).decided()  # type: ignore[arg-type]
    return FirstPass.of(graph, decided, judging=decided.judges)


def same_observed(one: Observed, other: Observed) -> None:
    assert list(one.histograms) == list(other.histograms)
    for name, mine in one.histograms.items():
        others = other.histograms[name]
        found = (mine.minimum, mine.maximum, mine.weight)
        assert found == (others.minimum, others.maximum, others.weight)
        assert np.array_equal(mine.counts, others.counts)
    assert one.sums.keys() == other.sums.keys()
    for name, sums in one.sums.items():
        again = other.sums[name]
        assert np.array_equal(sums.squares, again.squares)
        assert sums.count == again.count
        assert np.array_equal([sums.low, sums.high], [again.low, again.high])


def same(one: Survey, other: Survey) -> None:
    for mine, others in zip(one.halves, other.halves, strict=True):
        assert mine.batches == others.batches
        same_observed(mine.observed, others.observed)
        assert len(mine.kept) == len(others.kept)
        for kept, again in zip(mine.kept, others.kept, strict=True):
            pairs = zip((*kept.inputs, *kept.outputs), (*again.inputs, *again.outputs), strict=True)
            assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


@pytest.mark.parametrize(
    "parts", [3, *(pytest.param(parts, marks=pytest.mark.slow) for parts in (2, 7, 50))]
)
def test_parts_add_up_to_the_whole(
    graph: ir.Model, batches: list[Sample], whole: Survey, parts: int, tmp_path: Path
) -> None:
    first = first_pass(graph)
    for index in range(parts):
        found = first.surveyed(batches, lambda *_: None, index, parts)
        save_surveyed(tmp_path / f"{index}.npz", found)
    added = merged([load_surveyed(tmp_path / f"{index}.npz") for index in range(parts)])
    assert added.of == first.digest()
    assert [len(half.kept) for half in whole.halves] == [16, 16]
    assert whole.whole.sums, "channels are observed"
    same(added.survey, whole)
    same_observed(added.survey.whole, whole.whole)


def test_what_was_not_judged_keeps_no_batches(graph: ir.Model, batches: list[Sample]) -> None:
    found = first_pass(graph, effort=0).survey(batches[:4])
    assert [half.kept for half in found.halves] == [(), ()]
    assert not found.whole.sums


def test_the_digest_is_of_graph_and_options(graph: ir.Model) -> None:
    before = first_pass(graph).digest()
    assert before == first_pass(graph.clone()).digest()
    assert before != first_pass(graph, effort=0).digest()
    other = graph.clone()
    weights = next(v for v in other.graph.initializers.values() if v.const_value.size > 8)
    weights.const_value = ir.tensor(weights.const_value.numpy() * 2)
    assert before != first_pass(other).digest()


def test_parts_of_other_networks_and_damaged_ones(whole: Survey, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="are of different networks"):
        merged([Surveyed("a", whole), Surveyed("b", whole)])
    path = tmp_path / "part.npz"
    save_surveyed(path, Surveyed("a", whole))
    data = path.read_bytes()
    for bad in (data[:1000], b"", b"junk" * 99):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"part\.npz is damaged"):
            load_surveyed(path)


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=6),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    st.randoms(),
)
def test_the_sums_of_channels_are_exact_in_any_order(array: np.ndarray, random: object) -> None:
    found = _sums(array)
    single = [_sums(array[i : i + 1]) for i in range(len(array))]
    random.shuffle(single)  # type: ignore[attr-defined]
    added = single[0]
    for each in single[1:]:
        added = added + each
    running = _sums(*(array[i : i + 1] for i in range(len(array))))
    for sums in (added, running):
        assert np.array_equal(sums.squares, found.squares)
        assert np.array_equal([sums.low, sums.high], [found.low, found.high])
        assert sums.count == found.count
    # NumPy rounds the sum of one sample in float64; the samples are added exactly.
    rows = [np.einsum("cs,cs->c", row, row, dtype=np.float64) for row in array]
    exact = [sum(map(Fraction, column), Fraction()) for column in np.stack(rows, 1).tolist()]
    count = array.shape[0] * array.shape[2]
    # The exact sum is rounded once for each of its places that are not zero, and in the division.
    wanted = [float(each / count) for each in exact]
    assert found.statistics.mean_square == pytest.approx(wanted, rel=1e-15, abs=0)


def _sums(*batches: np.ndarray) -> ChannelSums:
    """What the channels of an activation add up to over batches, beside another activation."""
    running = RunningSums()
    for batch in batches:
        other = np.concatenate([batch, batch])[:, :1]
        running.add({"other": ChannelSamples.of(other), "x": ChannelSamples.of(batch)})
    return running.sums["x"]
