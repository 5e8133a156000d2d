"""Find samples that look wrong for the network, such as raw pixels, and say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import TensorInfo
from edgeconv.errors import DataError, Notice
from edgeconv.export.data.integer_ranges import IntegerRange
from edgeconv.export.data.preprocess import channel_axis, is_image
from edgeconv.export.data.samples import Sample
from edgeconv.export.index_errors import HINT, beyond_table
from edgeconv.preprocessing import Fit, Preprocessing

# Normalized pixels stay within a few units, and bytes go to 255. Nearly every image has a byte over
# this one.
_RAW_PIXEL = 30.0
_NORMALIZE = "pass them as uint8 to have them normalized, or normalize them"
_CHECK = "check that these are the samples that you mean"
_MOST_CHANNELS = 4  # of pixels: red, green, blue and infrared; what has more are features


class InputCheck:
    """Looks at samples one at a time, and keeps a few numbers per input.

    Args:
        inputs: The network's inputs.
        preprocessing: How pixels are normalized for the network, as far as it is known.
        ranges: What is known of integer inputs, by name.
        purpose: What the samples are for, for the messages.
    """

    def __init__(
        self,
        inputs: Sequence[TensorInfo],
        preprocessing: Preprocessing | None,
        ranges: Mapping[str, IntegerRange] | None = None,
        purpose: str = "calibration",
    ) -> None:
        self._purpose = purpose
        self._inputs, self._preprocessing, self._ranges = inputs, preprocessing, ranges or {}
        self._image = inputs[0] if len(inputs) == 1 and is_image(inputs[0]) else None
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._samples = 0
        self._constant: list[str] = []
        self._low = [np.inf] * len(self._inputs)
        self._high = [-np.inf] * len(self._inputs)
        self._first: Sample | None = None
        self._all_same = True

    def note(self, name: str, sample: Sample, source: str = "") -> None:
        """Look at one sample; its name and where it comes from are for the messages.

        Raises:
            DataError: It holds an index that the network's table does not have.
        """
        self._refuse_indices(f"sample {name} of {source}", sample)
        self._samples += 1
        if self._first is None:
            self._first = sample
        elif self._all_same:
            self._all_same = all(
                np.array_equal(a, b) for a, b in zip(sample, self._first, strict=True)
            )
        bounds = {
            index: (float(array.min()), float(array.max()))
            for index, array in enumerate(sample)
            if array.dtype.kind == "f" and array.size > 1
        }
        for index, (low, high) in bounds.items():
            self._low[index] = min(self._low[index], low)
            self._high[index] = max(self._high[index], high)
        if self._image is not None:
            blank = self._is_solid(sample[0])
        else:
            blank = bool(bounds) and all(low == high for low, high in bounds.values())
        if blank:
            self._constant.append(name)

    def _refuse_indices(self, which: str, sample: Sample) -> None:
        for info, array in zip(self._inputs, sample, strict=True):
            known = self._ranges.get(info.name)
            if known is None or known.rows is None:
                continue
            # ONNX counts negative indices from the end.
            wrong = array[(array < -known.rows) | (array >= known.rows)]
            if wrong.size:
                beyond = beyond_table(int(wrong[0]), known.table, known.rows, {info.name: array})
                raise DataError(f"{which}: {beyond}", hint=HINT)

    def _is_solid(self, image: npt.NDArray[Any]) -> bool:
        """Whether every channel of an image [1, …] holds one value, the bars of a letterbox apart.

        Mean and deviation of the channels differ, so one color has several values.
        """
        assert self._image is not None
        pixels = np.moveaxis(image[0], channel_axis(self._image) - 1, -1)
        if self._preprocessing is not None and self._preprocessing.fit is Fit.LETTERBOX:
            inside = (pixels != pixels[0, 0]).any(-1)
            pixels = pixels[inside.any(1)][:, inside.any(0)]
        return bool((pixels == pixels[:1, :1]).all())

    def findings(self, *, normalized_here: bool) -> list[Notice]:
        """Describe what looks wrong, each with what to do about it.

        Args:
            normalized_here: Whether the samples were made from bytes with ``preprocessing``, which
                gives them the right range.
        """
        lines: list[Notice] = []
        if self._samples > 1 and self._all_same:
            lines.append(
                Notice(f"all {self._samples} {self._purpose} samples are the same", _CHECK)
            )
        elif self._constant:
            names = ", ".join(self._constant[:3]) + (", …" if len(self._constant) > 3 else "")
            what = "hold one value all over" if self._image is None else "are of one solid color"
            lines.append(
                Notice(
                    f"{len(self._constant)} of {self._samples} {self._purpose} samples {what}: "
                    f"{names}",
                    _CHECK,
                )
            )
        image = len(self._inputs) == 1 and _may_have_pixels(self._inputs[0])
        if image and self._samples and not normalized_here and self._low[0] <= self._high[0]:
            lines += self._pixel_findings(self._low[0], self._high[0])
        return lines

    def _pixel_findings(self, low: float, high: float) -> list[Notice]:
        if self._preprocessing is not None and self._preprocessing.inside:
            return _findings_of_bytes(low, high)
        known = self._preprocessing is not None and not self._preprocessing.assumed
        least, greatest = _reach(self._preprocessing) if self._preprocessing else (0.0, 1.0)
        wanted = f"[{least:.2g}, {greatest:.2g}]"
        if low >= 0 and high > max(_RAW_PIXEL, 4 * greatest):
            expected = (
                f"mean and std put pixels into {wanted}" if known else "few networks want them"
            )
            return [
                Notice(
                    f"{self._purpose} inputs reach {high:.4g}, like raw pixels; {expected}",
                    _NORMALIZE,
                )
            ]
        if known and least < -0.5 and low >= 0 and high <= 1:
            return [
                Notice(
                    f"{self._purpose} inputs lie in [0, 1], like pixels that were scaled and not "
                    f"normalized; mean and std put pixels into {wanted}",
                    _NORMALIZE,
                )
            ]
        return []


def _may_have_pixels(info: TensorInfo) -> bool:
    return len(info.shape) == 4 and info.shape[channel_axis(info)] <= _MOST_CHANNELS


def _findings_of_bytes(low: float, high: float) -> list[Notice]:
    """What looks wrong with samples that should be pictures."""
    if low >= 0 and _RAW_PIXEL < high <= 255:
        return []
    found = f"calibration inputs lie in [{low:.4g}, {high:.4g}], and the files take bytes"
    return [Notice(found, "pass pictures as numbers from 0 to 255, not normalized")]


def _reach(preprocessing: Preprocessing) -> tuple[float, float]:
    """The least and the greatest value of a normalized pixel."""
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    return float(np.min((0 - mean) / std)), float(np.max((1 - mean) / std))
