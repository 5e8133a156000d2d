from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeconv.export.quantize.calibration.exact_sums import exact, rounded

NUMBERS = st.one_of(
    st.just(0.0), st.floats(2.0**-240, 2.0**290), st.floats(0, 1e6, allow_subnormal=False)
)
ARRAYS = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2), elements=NUMBERS)


@given(ARRAYS)
def test_nothing_is_lost(numbers: np.ndarray) -> None:
    places = exact(numbers)
    unit = Fraction(2) ** -298
    for column, wanted in zip(places.T.tolist(), numbers.T.tolist(), strict=True):
        found = sum(place << (16 * index) for index, place in enumerate(column)) * unit
        # What is below the unit is cut off, of each number.
        assert 0 <= sum(map(Fraction, wanted)) - found < len(wanted) * unit
    # A rounding for each place: within 39 times half a unit in the last place.
    assert rounded(places) == pytest.approx(numbers.sum(axis=0), rel=1e-14, abs=1e-80)


def test_a_million_of_the_largest_mantissas_fit() -> None:
    largest = np.nextafter(2.0**16, 0.0)
    places = exact(np.full((1, 1), largest)) * (1 << 20)
    assert places.max() < 2**63
    assert rounded(places)[0] == pytest.approx(largest * (1 << 20), rel=1e-15)
