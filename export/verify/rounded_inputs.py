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

# Inputs in 8 bits have 35 to 40 dB, and most networks pass that on. Where no more than this is left
# of it, a dozen layers that round as the inputs do leave nothing.
_AMPLIFIED_DB = 20.0


def amplified_db(reference: Reference, output: int) -> float | None:
    """What is kept of an output with only the inputs in 8 bits, if the network amplifies that.

    Args:
        reference: Runs the float network.
        output: The index of the output.

    Returns:
        The SQNR in dB; None for another network, and where it is not known.
    """
    at_best = kept_with_rounded_inputs(reference, output)
    return at_best if at_best is not None and at_best < _AMPLIFIED_DB else None


def kept_with_rounded_inputs(reference: Reference, output: int) -> float | None:
    """The SQNR of an output of the network with its float inputs rounded to 8 bits, in dB.

    The ranges are those of the samples. Where the network cannot be run again it is what the export
    found, if anything; and None where it takes no floats.
    """
    if reference.run is None:
        return reference.rounded_inputs_db
    columns = [np.stack(column) for column in zip(*reference.inputs, strict=True)]
    floats = {index for index, column in enumerate(columns) if column.dtype == np.float32}
    if not floats:
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
    return Sqnr.of_output(*pairs[output]).db
