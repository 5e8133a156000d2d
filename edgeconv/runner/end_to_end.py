"""From a camera's frame to the decoded answer: the steps of a bundle's script around a model."""

from __future__ import annotations

import runpy
import statistics
import sys
import time
from typing import Any

from edgeconv.runner.inputs import structured
from edgeconv.runner.onnx_model import OnnxModel
from edgeconv.runner.request import Request, RunnerError
from edgeconv.runner.tflite_model import TfliteModel

STEPS = ("frame", "preparation", "input", "inference", "output", "answer")


class EndToEnd:
    """One call takes a frame through all steps, and notes how long each took.

    The steps: a picture of the frame's bytes; resize, crop and normalization; quantization, layout
    and copy to the runtime; inference; copy from the runtime and dequantization; decoding.

    Args:
        model: The loaded file.
        request: Names the script on this device, the file in that script, and the frame's size.

    Raises:
        RunnerError: The script cannot be imported.
    """

    def __init__(self, model: TfliteModel | OnnxModel, request: Request) -> None:
        import numpy

        self._script = imported(request.script or "")
        self._file = request.script_file
        width, height = request.frame
        random = numpy.random.RandomState(request.seed)
        self._pixels = structured(random, "frame", [height, width, 3], "uint8")
        self._model = model
        self._infer = model.inference()
        self._fed = self._inferred = 0
        self._times: list[tuple[int, ...]] = []

    def __call__(self) -> None:
        """Take the frame through all steps."""
        script, clock = self._script, time.perf_counter_ns
        begin = clock()
        image = script["picture"](self._pixels)
        framed = clock()
        prepared = script["prepare"](image)
        # Of boxes the script also needs to know where the picture lies in the input.
        array, *place = prepared if isinstance(prepared, tuple) else (prepared,)
        ready = clock()
        outputs = script["run"](self._file, self._compute, [array])
        computed = clock()
        script["decode"](outputs, *([image, *place] if place else []))
        moments = (begin, framed, ready, self._fed, self._inferred, computed, clock())
        self._times.append(tuple(b - a for a, b in zip(moments, moments[1:])))

    def _compute(self, arrays: list[Any]) -> list[Any]:
        self._model.feed(arrays)
        self._fed = time.perf_counter_ns()
        self._infer()
        self._inferred = time.perf_counter_ns()
        return [array for _, array in self._model.outputs()]

    def steps(self, runs: int) -> dict[str, int]:
        """Return the median of each step over the last ``runs`` frames, in nanoseconds."""
        columns = zip(*self._times[-runs:])
        return {name: int(statistics.median(ns)) for name, ns in zip(STEPS, columns)}


def imported(path: str) -> dict[str, Any]:
    """Import a bundle's script, and leave no compiled file behind.

    Raises:
        RunnerError: A package that it needs is missing or unusable.
    """
    try:
        return runpy.run_path(path)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "PIL":
            raise RunnerError(
                "script", f"there is no Pillow under {sys.executable}", "install pillow there"
            ) from error
        raise RunnerError("script", f"the bundle's script does not import: {error}") from error
