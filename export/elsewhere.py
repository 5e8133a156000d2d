"""Run the files of a bundle elsewhere: on a device, whose runtime computes."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Artifact, Bundle, Format, TensorInfo
from edgeconv.errors import DataError, UsageError
from edgeconv.export.runtimes import Arrays, from_file, relative, to_file
from edgeconv.place import Place

logger = logging.getLogger(__name__)

PORTION_BYTES = 16_000_000  # of inputs and outputs together; one batch may be larger


def readable(bundle: Bundle, place: Place | None) -> list[Artifact]:
    """The files that a runtime of a place reads; the others are named in a warning.

    Every file is read here, which is the place None.

    Raises:
        UsageError: There is none.
    """
    found = []
    for artifact in bundle.manifest.artifacts:
        if place is None or place.reads(bundle.file(artifact)):
            found.append(artifact)
        else:
            logger.warning("left out: %s has no runtime for %s", place.name, artifact.path)
    if place is not None and not found:
        raise UsageError(
            f"{place.name} has no runtime for any file of {bundle.path}",
            hint="install one there, or name another Python",
        )
    return found


class ElsewhereRunner:
    """A file of a bundle in another place; takes and returns what a runner here does.

    Attributes:
        name: The runtime with its version and the place; known after the first portion.
    """

    def __init__(self, place: Place, bundle: Bundle, artifact: Artifact) -> None:
        self.name = place.name
        self._place = place
        self._path = bundle.file(artifact)
        manifest = bundle.manifest
        if artifact.format is Format.ONNX:  # every layout is the network's own
            self._inputs, self._outputs = (
                [info.model_copy(update={"layout": None}) for info in infos]
                for infos in (artifact.inputs, artifact.outputs)
            )
        else:
            self._inputs = relative(artifact.inputs, manifest.inputs)
            self._outputs = relative(artifact.outputs, manifest.outputs)

    @property
    def portion(self) -> int:
        """How many batches go there at once."""
        size = sum(map(_bytes, (*self._inputs, *self._outputs)))
        return max(1, PORTION_BYTES // max(1, size))

    def run_all(self, batches: Sequence[Arrays]) -> Iterator[list[npt.NDArray[Any]]]:
        """Compute the outputs of every batch, in the order of the interface.

        Raises:
            EdgeconvError: The place was lost, or cannot run the file.
        """
        for begin in range(0, len(batches), self.portion):
            portion = batches[begin : begin + self.portion]
            given = [
                {i.name: to_file(a, i) for i, a in zip(self._inputs, batch, strict=True)}
                for batch in portion
            ]
            runtime, answers = self._place.run(self._path, given)
            self.name = f"{runtime} on {self._place.name}"
            for answer in answers:
                yield [from_file(self._output(answer, info), info) for info in self._outputs]

    def _output(self, answer: Mapping[str, Any], info: TensorInfo) -> npt.NDArray[Any]:
        found = answer.get(info.name)
        dimensions = len(info.shape)
        if found is None or found.dtype != np.dtype(info.dtype) or found.ndim != dimensions:
            raise DataError(
                f"{self._place.name}: {self._path} has no output {info.name} of {info.dtype} with "
                f"{dimensions} dimensions there",
                hint="copy the bundle again: its manifest states such an output",
            )
        return np.asarray(found)


def _bytes(info: TensorInfo) -> int:
    return math.prod(max(1, size) for size in info.shape) * np.dtype(info.dtype).itemsize
