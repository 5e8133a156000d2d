"""Mistakes among samples are found, and natural heavy tails stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.bundle import TensorInfo
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.data.open import open_samples
from edgeconv.export.data.outlying import find_outlying
from edgeconv.models.randomize import structured_input

Draw = Callable[[np.random.Generator, int], np.ndarray]
SHAPE = (1, 3, 16, 16)
INFO = [TensorInfo(name="image", shape=SHAPE, dtype="float32")]
# The largest magnitudes of samples, from bytes to tails so heavy that they have no mean.
NATURAL: dict[str, Draw] = {
    "power law without a mean": lambda rng, n: rng.pareto(0.8, n) + 1,
    "power law": lambda rng, n: rng.pareto(3.0, n) + 1,
    "largest of 64 Cauchy values": lambda rng, n: np.abs(rng.standard_cauchy((n, 64))).max(1),
    "largest of 64 Student values": lambda rng, n: np.abs(rng.standard_t(3, (n, 64))).max(1),
    "log-normal": lambda rng, n: rng.lognormal(0, 1.5, n),
    "exponential": lambda rng, n: rng.exponential(1, n),
    "uniform": lambda rng, n: rng.uniform(0, 1, n),
    "bytes": lambda rng, n: np.minimum(rng.normal(240, 20, n).round(), 255),
}


@pytest.mark.parametrize("count", [4, 16, 128])
@pytest.mark.parametrize("name", NATURAL)
def test_false_alarms_are_as_rare_as_stated(name: str, count: int) -> None:
    """Of 2000 sets, 20 may be accused: 3 standard deviations of that are 13."""
    rng = np.random.default_rng(0)
    accused = sum(bool(find_outlying(NATURAL[name](rng, count).tolist())) for _ in range(2000))
    assert accused <= 33


def images(count: int) -> list[np.ndarray]:
    return [structured_input(SHAPE, seed).numpy() for seed in range(count)]


@pytest.mark.parametrize(
    ("count", "factor"), [(8, 1e4), (16, 20.0), (16, 100.0), (128, 20.0), (128, 1e6)]
)
def test_an_image_that_is_far_too_bright_is_found(count: int, factor: float) -> None:
    magnitudes = [float(np.abs(image).max()) for image in images(count)]
    magnitudes[3] *= factor
    assert find_outlying(magnitudes) == [3]


def test_several_mistakes_do_not_hide_each_other() -> None:
    magnitudes = [float(np.abs(image).max()) for image in images(128)]
    for index in (5, 60, 61, 127):
        magnitudes[index] *= 100
    assert find_outlying(magnitudes) == [5, 60, 61, 127]


@given(
    st.lists(st.floats(0, 1e30), max_size=40),
    st.floats(1e-3, 1e3),
    st.randoms(use_true_random=False),
)
def test_the_rule_knows_neither_unit_nor_order(
    magnitudes: list[float], unit: float, random: object
) -> None:
    found = find_outlying(magnitudes)
    assert len(found) <= max(1, len(magnitudes) // 16)
    assert all(magnitudes[index] > np.median(magnitudes) for index in found)
    order = np.random.default_rng(len(magnitudes)).permutation(len(magnitudes))
    shuffled = [magnitudes[index] for index in order]
    assert sorted(int(order[index]) for index in find_outlying(shuffled)) == found


def test_zeros_are_no_reason_to_miss_a_mistake() -> None:
    magnitudes = [float(np.abs(image).max()) for image in images(16)]
    magnitudes[0], magnitudes[1] = 0.0, 1000.0
    assert find_outlying(magnitudes) == [1]
    assert find_outlying([0.0] * 16) == []


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    array = np.concatenate(images(20))
    array[7, 1, 4:8, 4:8] = 500.0
    np.save(tmp_path / "x.npy", array)
    return tmp_path / "x.npy"


def test_a_mistake_neither_calibrates_nor_verifies(spoilt: Path) -> None:
    feed = SampleBatches(
        open_samples(spoilt, INFO, None), count=20, batch=1, keep=16, calibrating=True
    )
    batches = list(feed)
    assert [each.name for each in feed.outlying] == ["7"]
    assert feed.outlying[0].magnitude == 500.0
    assert feed.outlying[0].usual < 10
    assert max(np.abs(batch[0]).max() for batch in (*batches, *feed.kept)) < 10
    record = feed.record("minmax")
    assert (record.outlying, record.samples, record.held_out) == (("7",), 15, 4)


def test_what_verifies_did_not_calibrate(spoilt: Path) -> None:
    feed = SampleBatches(
        open_samples(spoilt, INFO, None), count=20, batch=1, keep=16, calibrating=True
    )
    seen = {batch[0].tobytes() for batch in feed}
    assert len(seen) == len(feed) == 15
    assert seen.isdisjoint(batch[0].tobytes() for batch in feed.kept)
    assert len(feed.kept) == 4
    assert {batch[0].tobytes() for batch in feed} == seen


@pytest.mark.parametrize(
    ("count", "used", "held"), [(20, 15, 4), (12, 12, 7), (8, 8, 10), (3, 3, 10), (1, 1, 10)]
)
def test_further_samples_are_held_back_first(
    spoilt: Path, count: int, used: int, held: int
) -> None:
    feed = SampleBatches(
        open_samples(spoilt, INFO, None), count=count, batch=1, keep=10, calibrating=True
    )
    ahead = feed.kept_ahead()
    list(feed)
    assert ahead is not None
    assert np.array_equal(ahead, feed.kept)
    names = {*feed.record("").names, *(each.name for each in feed.outlying)}
    assert len(feed.kept) == feed.held_out
    # A mistake among the samples that were read leaves one less to hold back or to calibrate on.
    assert used - 1 <= feed.record("").samples <= used
    assert held - 1 <= feed.held_out <= held
    assert len(names) >= feed.record("").samples


def test_a_few_samples_all_calibrate_and_the_first_one_verifies(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.concatenate(images(3)))
    samples = open_samples(tmp_path / "x.npy", INFO, None)
    feed = SampleBatches(samples, count=9, batch=1, keep=2, calibrating=True)
    ahead = feed.kept_ahead()
    assert len(list(feed)) == 3
    assert ahead is not None
    assert np.array_equal(ahead, feed.kept)
    assert feed.held_out == 0
    assert len(feed.kept) == 2
