"""The samples to which int8 gives another class than float32, with their pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from edgeconv.bundle import Artifact, Manifest, Precision
from edgeconv.evaluation import PICTURE_SIDE, Picture
from edgeconv.export.data.picture import picture
from edgeconv.export.data.preprocess import is_image
from edgeconv.export.data.samples import Sample
from edgeconv.export.tasks.task import ClassRows


class ChangedSamples:
    """Keeps the first samples that an int8 file gives another class than a float32 file.

    Args:
        artifacts: The files.
        manifest: Describes the network.
        most: How many samples to keep.

    Attributes:
        pictures: Those that were kept; none where the network takes no image.
    """

    def __init__(self, artifacts: Sequence[Artifact], manifest: Manifest, most: int) -> None:
        self.pictures: list[Picture] = []
        self._most, self._preprocessing, self._seen = most, manifest.preprocessing, 0
        self._int8 = [i for i, a in enumerate(artifacts) if a.precision is Precision.INT8]
        floats = (i for i, a in enumerate(artifacts) if a.precision is Precision.FLOAT32)
        self._float = next(floats, None)
        images = ((i, info) for i, info in enumerate(manifest.inputs) if is_image(info))
        self._image = next(images, None)

    def look(self, samples: Sequence[Sample], counts: Sequence[Any]) -> None:
        """Look at the next samples; ``counts`` is what was counted of each file on them."""
        first, self._seen = self._seen, self._seen + len(samples)
        if self._image is None or self._float is None or len(self.pictures) >= self._most:
            return
        expected = counts[self._float]
        if not isinstance(expected, ClassRows):
            return
        place, info = self._image
        for row, sample in enumerate(samples):
            said = {int(counts[i].predicted[row]) for i in self._int8}
            if said <= {int(expected.predicted[row])} or len(self.pictures) >= self._most:
                continue
            png = picture(sample[place], info, self._preprocessing, PICTURE_SIDE)
            self.pictures.append(
                Picture(sample=first + row, png=base64.b64encode(png).decode("ascii"))
            )
