"""What an export feeds to the network: how images become inputs, and the batches of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import TensorInfo
from edgeconv.errors import UsageError
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.data.checks import InputCheck
from edgeconv.export.data.integer_ranges import IntegerRange
from edgeconv.export.data.open import open_samples
from edgeconv.export.data.preprocess import image_size
from edgeconv.export.data.samples import Sample, batch_size, inputs_of_samples
from edgeconv.export.data.stated import combined
from edgeconv.export.data.synthetic import Domain, SyntheticSamples, find_domain
from edgeconv.export.data.there import SYNTHETIC
from edgeconv.preprocessing import Color, Preprocessing

# Samples that verification runs on: enough for shares of a percent over the outputs of a
# classifier, and a reference.npz that does not outweigh the models.
_VERIFIED_SAMPLES = 16
_VERIFIED_BYTES = 8_000_000
# A float file differs only by rounding, which any input shows.
_VERIFIED_SYNTHETIC = 2


def choose_preprocessing(
    stated: Preprocessing | str | Path | None,
    card: Preprocessing | None,
    inputs: Sequence[TensorInfo],
    network: str,
) -> Preprocessing | None:
    """Choose how images become the network's input.

    Args:
        stated: What the user asked for, if anything: only what differs from ``card``.
        card: What the network's card says, if it has one.
        inputs: The network's inputs.
        network: The name of the network, for the message.

    Returns:
        What ``stated`` and ``card`` say, with a mean and a deviation for each channel; for other
        networks on images a scaling to [0, 1]; None for a network that is not on images.

    Raises:
        UsageError: ``stated`` is for another number of channels than the input has.
    """
    channels = image_size(inputs[0])[0] if len(inputs) == 1 and len(inputs[0].shape) == 4 else None
    chosen = combined(stated, card)
    if chosen is not None and channels is not None:
        mean, std = (
            values * channels if len(values) == 1 else values
            for values in (chosen.mean, chosen.std)
        )
        if len(mean) == len(std) == channels:
            color = _color(chosen.color, channels, network)
            return chosen.model_copy(update={"mean": mean, "std": std, "color": color})
    if chosen is not None and stated is not None and channels is None:
        raise UsageError(
            f"the preprocessing is for images, and {network} takes none",
            hint="leave --preprocess, --mean and --std out",
        )
    if chosen is not None and stated is not None:
        raise UsageError(
            f"the preprocessing has {max(len(chosen.mean), len(chosen.std))} numbers for mean and "
            f"std, and the input of {network} has {channels} channels",
            hint="give one number per channel",
        )
    if channels not in (1, 3):
        return None
    plain: dict[str, Any] = {
        "mean": (0.0,) * channels,
        "std": (1.0,) * channels,
        "color": Color.GRAY if channels == 1 else Color.RGB,
        "assumed": True,
    }
    return (card or Preprocessing()).model_copy(update=plain)


def _color(stated: Color, channels: int, network: str) -> Color:
    """The color order of an input: gray for one channel."""
    if stated is Color.BGR and channels != 3:
        raise UsageError(
            f"the preprocessing is for BGR, and the input of {network} has {channels} channels",
            hint="leave color out",
        )
    return Color.GRAY if channels == 1 else stated


def open_batches(
    calibration: Any,
    inputs: Sequence[TensorInfo],
    preprocessing: Preprocessing | None,
    ranges: Mapping[str, IntegerRange],
    run: Callable[[Sample], Sequence[npt.NDArray[Any]]],
    *,
    count: int,
    calibrates: bool,
) -> SampleBatches:
    """Open the samples for calibration and verification; some are held back for the latter.

    Args:
        calibration: Where the samples come from, as
            :func:`edgeconv.export.data.open.open_samples` takes it; None for a few synthetic ones.
        inputs: The network's inputs, with the batch.
        preprocessing: How images become inputs.
        ranges: What synthetic integers are drawn from, by the name of the input.
        run: Runs the network, which shows what synthetic reals it takes.
        count: How many samples of ``calibration`` to use at the most.
        calibrates: Whether scales are found on them; otherwise verification needs only a few.

    Raises:
        UsageError: There is no such source, or its kind does not fit the network.
        DataError: The source is damaged, empty or of the wrong shape.
    """
    shapes = [info.shape for info in inputs]
    batch, single = batch_size(inputs) or 1, inputs_of_samples(inputs)
    size = sum(int(np.prod(i.shape[1:])) * np.dtype(i.dtype).itemsize for i in single)
    keep = max(1, min(_VERIFIED_SAMPLES, _VERIFIED_BYTES // max(size, 1)) // batch)
    source = SYNTHETIC if calibration is None else calibration

    def outputs_on(domain: Domain) -> Sequence[npt.NDArray[Any]]:
        synthetic = SyntheticSamples(single, ranges, domain)
        return run(next(iter(SampleBatches(synthetic, count=batch, batch=batch, shapes=shapes))))

    is_synthetic = isinstance(source, str) and source == SYNTHETIC
    domain = Domain.REAL
    if is_synthetic and preprocessing is not None and preprocessing.inside:
        domain = Domain.BYTES
    elif is_synthetic:
        domain = find_domain(outputs_on)
    samples = open_samples(source, single, preprocessing, ranges, domain)
    if calibration is None:
        keep = min(keep, _VERIFIED_SYNTHETIC)
        return SampleBatches(samples, count=keep * batch, batch=batch, keep=keep, shapes=shapes)
    if not calibrates:
        count = min(count, keep * batch)
    return SampleBatches(
        samples,
        count=count,
        batch=batch,
        keep=keep,
        check=InputCheck(
            single, preprocessing, ranges, "calibration" if calibrates else "verification"
        ),
        shapes=shapes,
        calibrating=calibrates,
    )
