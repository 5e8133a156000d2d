"""Samples for calibration, verification and evaluation, read one at a time.

A source is a folder or tar archives of images, an ``.npy`` or ``.npz`` file, a Python function of
the user, ``random`` for synthetic samples, or from Python an object that has the samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeconv.bundle import TensorInfo
from edgeconv.errors import UsageError
from edgeconv.export.data.arrays import ArrayFile
from edgeconv.export.data.function import FunctionSamples
from edgeconv.export.data.images import Images, has_images, load_image, open_images
from edgeconv.export.data.integer_ranges import IntegerRange
from edgeconv.export.data.objects import object_samples
from edgeconv.export.data.samples import IndexedSamples, Sample, Samples, choose
from edgeconv.export.data.synthetic import Domain, SyntheticSamples, synthetic_input
from edgeconv.export.data.there import SYNTHETIC, refuse_missing
from edgeconv.preprocessing import Preprocessing

__all__ = [
    "SYNTHETIC",
    "ArrayFile",
    "FunctionSamples",
    "Images",
    "IndexedSamples",
    "Sample",
    "Samples",
    "SyntheticSamples",
    "choose",
    "load_image",
    "open_samples",
    "synthetic_input",
]


def open_samples(
    source: Any,
    inputs: Sequence[TensorInfo],
    preprocessing: Preprocessing | None,
    ranges: Mapping[str, IntegerRange] | None = None,
    domain: Domain = Domain.REAL,
) -> Samples:
    """Open a source of samples for a network with these inputs.

    Args:
        source: A path, ``file.py:function``, ``random`` for synthetic samples, or an object as
            :func:`edgeconv.export.data.objects.object_samples` takes it.
        inputs: The network's inputs, as :func:`inputs_of_samples` describes them.
        preprocessing: How pixels are normalized.
        ranges: What synthetic integers are drawn from, by the name of the input.
        domain: What synthetic reals are drawn from.

    Raises:
        UsageError: There is no such source, or its kind does not fit the network.
        DataError: The source is damaged, empty or of the wrong shape.
    """
    if not isinstance(source, (str, Path)):
        return object_samples(source, inputs, preprocessing)
    if not str(source):
        raise UsageError(
            "the path of the samples is empty",
            hint="check the variable that it comes from, or say '.' for this folder",
        )
    if str(source) == SYNTHETIC:
        return SyntheticSamples(inputs, ranges, domain)
    if ".py:" in str(source):
        return FunctionSamples(str(source), inputs, preprocessing)
    path = Path(source)
    if has_images(path):
        return open_images(path, inputs, preprocessing)
    refuse_missing(path)
    if path.suffix in (".npy", ".npz"):
        return ArrayFile(path, inputs, preprocessing)
    raise UsageError(
        f"{path} is not a file that samples are read from",
        hint="pass a folder or a tar of images, .npy, .npz, file.py:function or 'random'",
    )
