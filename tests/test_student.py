"""Student's t distribution against published quantiles."""

from __future__ import annotations

import pytest
from scipy import stats

from edgeconv.student import student


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.975])
def test_student_quantiles(confidence: float) -> None:
    for degrees in (*range(1, 60), 200, 999, 1000):
        assert student(confidence, degrees) == pytest.approx(
            stats.t.ppf((1 + confidence) / 2, degrees), rel=1e-9
        )
