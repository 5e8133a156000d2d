"""What written files are compared with: the network's outputs, and how far off they may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.bundle import Format, Precision
from edgeconv.errors import EdgeconvError
from edgeconv.export.data.samples import Sample
from edgeconv.export.joined import Parts
from edgeconv.export.runtimes import Interface
from edgeconv.export.verify.ranked import as_ranked
from edgeconv.verification import OperatorFigures

Outputs = list[npt.NDArray[Any]]
T = TypeVar("T")


@dataclass(frozen=True)
class Quantized:
    """What the quantized files of one precision are compared with, beside the float network.

    Attributes:
        steps: The real size of one step of each output; None for a float output.
        outputs: What the quantized graph computes as it is written, without a runtime's fusions;
            None in bundles that do not have it.
        operators: How the operators of the files do one by one, by format.
        refused: Why that is unknown for a format.
    """

    steps: tuple[float | None, ...]
    outputs: list[Outputs] | None = None
    operators: Mapping[Format, OperatorFigures] = field(default_factory=dict)
    refused: Mapping[Format, EdgeconvError] = field(default_factory=dict)


@dataclass(frozen=True)
class Probes:
    """Further inputs for float32 files, with the network's outputs; see ``data/synthetic.py``.

    Attributes:
        inputs: The samples.
        outputs: The network's own outputs for each sample.
        what: What each sample has, in words.
    """

    inputs: list[Sample]
    outputs: list[Outputs]
    what: list[str] = field(default_factory=list)


class Allowances:
    """The errors that float32 may make, [samples and probes, outputs], computed when first needed.

    Args:
        ways: Ways to compute the array of :func:`edgeconv.export.verify.rounding.allowances`, or
            None where it cannot be had. A later one takes longer, and allows no less.
    """

    def __init__(self, *ways: Callable[[], npt.NDArray[np.float64] | None]) -> None:
        self._ways = ways
        self._found: list[npt.NDArray[np.float64] | None] = []

    @property
    def known(self) -> npt.NDArray[np.float64] | None:
        """The last array that was computed; None if there is none."""
        return self._found[-1] if self._found else None

    def __iter__(self) -> Iterator[npt.NDArray[np.float64] | None]:
        """Yield the arrays, computing each the first time that it is asked for."""
        for index, compute in enumerate(self._ways):
            if index == len(self._found):
                self._found.append(compute())
            yield self._found[index]


@dataclass(frozen=True)
class Reference:
    """What the files are compared with.

    Attributes:
        runtime: What computed ``outputs``: pytorch, or onnxruntime for a network from an ONNX file.
        inputs: The samples, each a tuple of arrays in the network's own layout.
        outputs: The network's own outputs for each sample.
        quantized: What else the files of a quantized precision are compared with.
        prequantized: Whether the network was quantized before, so that ``outputs`` are not those of
            a float network.
        probes: Further samples for float32 files only.
        allowances: The errors that float32 may make in ``outputs`` and ``probes``.
        network: The network's inputs and outputs, with their layouts; None where all are NCHW.
        joined: The parts of each output that a concatenation makes; None or missing for others.
        ranked: Whether the outputs are the best classes and their probabilities.
        run: Runs the network in float32 on another sample; None where it is not at hand.
        narrow: The floats with fewer digits that the network computes in, if it does.
        graph: The optimized float graph, where it is at hand.
        rounded_inputs_db: What an export found that the network keeps with its inputs in 8 bits.
    """

    runtime: str
    inputs: list[Sample]
    outputs: list[Outputs]
    quantized: Mapping[Precision, Quantized] = field(default_factory=dict)
    prequantized: bool = False
    probes: Probes = field(default_factory=lambda: Probes([], []))
    allowances: Allowances = field(default_factory=lambda: Allowances(lambda: None))
    network: Interface | None = None
    joined: Sequence[Parts | None] = ()
    ranked: bool = False
    run: Callable[[Sample], Outputs] | None = None
    narrow: str = ""
    graph: ir.Model | None = None
    rounded_inputs_db: float | None = None

    def comparable(self, got: Sequence[Outputs]) -> list[Outputs]:
        """What a file computed for the samples, and perhaps the probes, element by element.

        An output with another number of elements is wrong in every element.
        """
        expected = [*self.outputs, *self.probes.outputs]
        rows = in_shape(got, expected)
        if not self.ranked:
            return rows
        return [as_ranked(ours, theirs) for ours, theirs in zip(rows, expected, strict=False)]

    def with_sqnr(self, per_output: Sequence[T]) -> Sequence[T]:
        """What is there for each output, for those that have an SQNR.

        The places of the best classes have none: how much is lost shows in their probabilities.
        """
        return per_output[1:] if self.ranked else per_output


def in_shape(got: Sequence[Outputs], expected: Sequence[Outputs]) -> list[Outputs]:
    """``got``, where outputs with another number of elements are wrong in every element."""
    return [
        [_same_shape(array, wanted) for array, wanted in zip(ours, theirs, strict=True)]
        for ours, theirs in zip(got, expected, strict=False)  # without probes, or with them
    ]


def _same_shape(array: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.shape == wanted.shape:
        return array
    if wanted.dtype.kind == "f":
        return np.zeros_like(wanted)
    return np.asarray(wanted == 0, wanted.dtype)
