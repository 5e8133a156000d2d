"""Samples that were prepared in another way than those of the calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeconv.bundle import RANGES_NAME, Bundle
from edgeconv.calibrated_ranges import ActivationRange, CalibratedRanges
from edgeconv.export.tasks.beyond_range import RangeWatch
from support.manifests import made_manifest


def test_pixels_from_0_to_255_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bundle = Bundle(tmp_path, made_manifest((1, 4, 8, 8), (1, 2)))
    name = bundle.manifest.inputs[0].name
    pixels = np.random.default_rng(0).random((1, 4, 8, 8), np.float32)
    unranged = RangeWatch(bundle)
    unranged.look((pixels * 255,))
    unranged.warn()
    assert not caplog.records, "a bundle of float files has no ranges"
    span = ActivationRange(name=name, minimum=0, maximum=1, low=0, high=1)
    CalibratedRanges(activations=1, ranges=(span,)).write(tmp_path / RANGES_NAME)
    watch = RangeWatch(bundle)
    for usual in (pixels, pixels * 1.4, np.zeros_like(pixels), (pixels * 255).astype(np.uint8)):
        watch.look((usual,))
    watch.warn()
    assert not caplog.records
    watch.look((pixels * 255,))
    watch.warn()
    (odd,) = caplog.records
    assert f"1 of 5 samples lie far outside of what int8 files cover of the input {name!r}" in str(
        odd.msg
    )
    assert "calibrate with samples of this kind" in odd.msg.hint  # and not: prepare all otherwise
    caplog.clear()
    for _ in range(3):
        watch.look((pixels * 255,))
    watch.warn()
    (record,) = caplog.records
    assert f"of the input {name!r}, 0 to 1: they are from" in str(record.msg)
    assert "prepare the samples" in record.msg.hint
