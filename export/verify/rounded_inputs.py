"""How much of a float network's outputs is left when only its inputs are rounded to 8 bits.

A network that amplifies small differences, as one with random weights and without normalization
may, loses its outputs to that alone. No int8 file of it can keep more, whatever its ranges.
"""

from __future__ import annotations

import numpy as np

from edgeconv.export.quantize.parameters import Range, activation_parameters
from edgeconv.export.verify.expected import Reference
from edgeconv.export.verify.kept import stacked_pairs
from edgeconv.metrics import Sqnr


def kept_with_rounded_inputs(reference: Reference) -> float | None:
    """The SQNR of the network's worst output with its float inputs rounded to 8 bits, in dB.

    The ranges are those of the samples. None where the network cannot be run again, or takes no
    floats.
    """
    columns = [np.stack(column) for column in zip(*reference.inputs, strict=True)]
    floats = {index for index, column in enumerate(columns) if column.dtype == np.float32}
    if reference.run is None or not floats:
        return None
    rounded = []
    for index, column in enumerate(columns):
        if index in floats:
            covered = activation_parameters(Range(float(column.min()), float(column.max())))
            rounded.append(covered.round_trip(column))
        else:
            rounded.append(column)
    outputs = [reference.run(sample) for sample in zip(*rounded, strict=True)]
    pairs = stacked_pairs(reference.outputs, reference.comparable(outputs))
    return min(Sqnr.of_output(*pair).db for pair in reference.with_sqnr(pairs))
