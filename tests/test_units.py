import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.units import (
    format_bytes,
    format_count,
    format_duration,
    format_percent,
    format_ratio,
    significant,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (3_504_872, "3.50 M"),
        (300_774_272, "301 M"),
        (10**13, "10.0 T"),
        (-2_500_000, "-2.50 M"),
    ],
)
def test_counts_have_three_digits(count: int, text: str) -> None:
    assert format_count(count) == text


def test_bytes_are_decimal() -> None:
    assert format_bytes(512) == "512 B"
    assert format_bytes(1_000) == "1.00 kB"
    assert format_bytes(13_978_964) == "14.0 MB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (1.234e-3, "1.23 ms"),
        (9.9996e-4, "1.00 ms"),
        (4.2e-8, "42.0 ns"),
        (75.2, "75.2 s"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_durations_choose_their_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "< 1 µs"),
        (1e-6, "1 µs"),
        (7e-6, "7 µs"),
        (12e-6, "12 µs"),
        (1.234e-3, "1.23 ms"),
        (12.3, "12.3 s"),
    ],
)
def test_a_clocks_step_sets_the_digits(seconds: float, text: str) -> None:
    assert format_duration(seconds, tick=1e-6) == text


def test_uncertainty_sets_the_digits() -> None:
    assert format_duration(0.0121, error=0.0002) == "12.1 ± 0.2 ms"
    assert format_duration(12.1, error=25) == "12 ± 25 s"
    assert format_duration(0.00352, error=0.0) == "3.52 ± 0.00 ms"


def test_interval_bounds_stay_apart() -> None:
    assert format_duration(3.52e-3, interval=(3.49e-3, 3.58e-3)) == "3.52 ms [3.49, 3.58]"
    assert format_duration(3.52e-3, interval=(3.519e-3, 3.521e-3)) == "3.520 ms [3.519, 3.521]"
    assert format_duration(3.52e-3, interval=(3.52e-3, 3.52e-3)) == "3.52 ms [3.52, 3.52]"


def test_ratios_and_shares() -> None:
    assert format_ratio(1.934) == "1.93\N{MULTIPLICATION SIGN}"
    assert format_percent(0.876) == "87.6%"
    assert format_percent(0.9996, places=2) == "99.96%"


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_significant_keeps_three_digits(value: float) -> None:
    # Three digits: off by at most half a unit of the third, 0.5 % of the value.
    assert float(significant(value)) == pytest.approx(value, rel=5.01e-3)


@given(st.floats(min_value=1e-8, max_value=1e6))
def test_a_duration_reads_back(seconds: float) -> None:
    number, unit = format_duration(seconds).split()
    factor = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}[unit]
    assert float(number) * factor == pytest.approx(seconds, rel=5.01e-3)
