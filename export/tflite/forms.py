"""The forms of int8 operators for a runtime that runs int8 by its own kernels.

The usual forms are those that LiteRT runs with the fewest instructions: there XNNPACK runs int8.
The XNNPACK of tflite-runtime 2.14 runs float only, and TFLite's own kernels favor other forms of
some operators. Beside each form is what it saves there, in thousands of instructions on an emulated
32-bit Raspberry Pi 3 and on a Pi 4 (``benchmarks/results/operator_forms.md``). A form that takes
more instructions for some shape, or computes less exactly, is not among them.
"""

from __future__ import annotations

from enum import Enum, auto

from edgeconv.export.inspect.runtimes import INT8_BY_OWN_KERNELS, tflite_release


class Form(Enum):
    """A form of an int8 operator that is not the usual one."""

    WIDE_CONCATENATION = auto()
    """A CONCATENATION has any number of parts, not at most five."""
    JOINED_BORDERS = auto()
    """What is around a tensor is joined to it, a CONCATENATION for each axis instead of one PAD."""
    SLICES = auto()
    """Equal parts are a SLICE each, not one SPLIT."""
    WHOLE_WINDOWS = auto()
    """A convolution over few channels reads several pixels as one only where its windows, in
    sixteens of elements, become no larger."""
    LARGE_DEPTHWISE = auto()
    """A depthwise kernel of more than 25 elements runs in int8, not in float."""
    FLOAT_RESIZE = auto()
    """A bilinear RESIZE runs in float between DEQUANTIZE and QUANTIZE."""
    SATURATING_LIMITS = auto()
    """The limits of a HardSigmoid are a fused RELU and the end of the range of the result."""


Forms = frozenset[Form]

USUAL: Forms = frozenset()


def forms_for(runtime: str | None, *, dynamic_batch: bool = False) -> Forms:
    """The forms that int8 files get.

    Args:
        runtime: The release that runs the files, as ``tflite-runtime==2.14``, if one is stated.
        dynamic_batch: Whether the files take every batch. What is around a tensor would then have
            to be made in every inference.
    """
    if runtime is None or tflite_release(runtime) != INT8_BY_OWN_KERNELS:
        return USUAL
    return frozenset(Form) - {Form.JOINED_BORDERS} if dynamic_batch else frozenset(Form)
