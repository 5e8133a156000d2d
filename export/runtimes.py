"""Run a written file on its real runtime, in terms of the network's own float inputs and outputs.

A runner takes NCHW float32 arrays and returns NCHW float32 arrays; the layout and the integer
codes of the file's interface are its own business, read from the file's :class:`TensorInfo`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort

from edgeconv.bundle import Format, Layout, TensorInfo
from edgeconv.errors import EdgeconvError, first_line
from edgeconv.export.data.samples import Batch
from edgeconv.export.quiet import debugging, quiet_native

Arrays = Sequence[npt.NDArray[Any]]

ort.disable_telemetry_events()


class Runner(Protocol):
    """A loaded model file. ``name`` is the runtime and its version."""

    name: str

    def run(self, inputs: Arrays) -> list[npt.NDArray[Any]]: ...


def open_runner(
    path: Path,
    format: Format,
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
) -> Runner:
    """Load a model file.

    Raises:
        EdgeconvError: the runtime refuses the file.
    """
    if format is Format.ONNX:
        return OnnxRunner(path, inputs, outputs)
    return LiteRtRunner(path, inputs, outputs)


def session_options() -> ort.SessionOptions:
    """Quiet unless debugging, and one thread: a second one that waits for a core which somebody
    else uses costs more than it gives.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 2 if debugging() else 4
    options.intra_op_num_threads = 1
    return options


def run_session(
    session: ort.InferenceSession, names: Sequence[str], feed: Mapping[str, npt.NDArray[Any]]
) -> list[npt.NDArray[Any]]:
    """The named outputs for inputs by name.

    Raises:
        EdgeconvError: an operator fails on the inputs, as Gather does on an index out of range.
    """
    try:
        arrays: list[npt.NDArray[Any]] = session.run(list(names), dict(feed))
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        raise _failed(f"onnxruntime {ort.__version__}", error) from error
    return arrays


class OnnxRunner:
    """ONNX Runtime on the CPU; ``model`` is a path or the bytes of a file."""

    def __init__(
        self, model: Path | bytes, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]
    ) -> None:
        self.name = f"onnxruntime {ort.__version__}"
        self._inputs, self._outputs = inputs, outputs
        try:
            self._session = ort.InferenceSession(
                model, session_options(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise _refused(self.name, error) from error

    def run(self, inputs: Arrays) -> list[npt.NDArray[Any]]:
        feed = {
            info.name: encode(array, info) for info, array in zip(self._inputs, inputs, strict=True)
        }
        arrays = run_session(self._session, [info.name for info in self._outputs], feed)
        return [decode(array, info) for array, info in zip(arrays, self._outputs, strict=True)]


class LiteRtRunner:
    """LiteRT with its default XNNPACK delegate."""

    def __init__(
        self, path: Path, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]
    ) -> None:
        from importlib.metadata import version

        from ai_edge_litert.interpreter import Interpreter

        self.name = f"ai-edge-litert {version('ai-edge-litert')}"
        self._inputs, self._outputs = inputs, outputs
        try:
            with quiet_native():
                self._interpreter = Interpreter(model_path=str(path), num_threads=1)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _refused(self.name, error) from error
        self._input_indices = [item["index"] for item in self._interpreter.get_input_details()]
        self._output_indices = [item["index"] for item in self._interpreter.get_output_details()]

    def run(self, inputs: Arrays) -> list[npt.NDArray[Any]]:
        try:
            for index, info, array in zip(self._input_indices, self._inputs, inputs, strict=True):
                self._interpreter.set_tensor(index, encode(array, info))
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise _failed(self.name, error) from error
        return [
            decode(self._interpreter.get_tensor(index), info)
            for index, info in zip(self._output_indices, self._outputs, strict=True)
        ]


def encode(array: npt.NDArray[Any], info: TensorInfo) -> npt.NDArray[Any]:
    """A float NCHW array in the layout and dtype of an interface."""
    if info.layout is Layout.NHWC:
        array = np.moveaxis(array, 1, -1)
    if info.scale is not None and info.zero_point is not None:
        limits = np.iinfo(info.dtype)
        integers = np.rint(array / np.float32(info.scale)) + info.zero_point
        array = np.clip(integers, limits.min, limits.max)
    # Unlike ascontiguousarray, this leaves a scalar a scalar.
    return np.asarray(array, dtype=info.dtype, order="C")


def decode(array: npt.NDArray[Any], info: TensorInfo) -> npt.NDArray[Any]:
    """The inverse of :func:`encode`."""
    if info.scale is not None and info.zero_point is not None:
        array = (array.astype(np.float32) - info.zero_point) * np.float32(info.scale)
    if info.layout is Layout.NHWC:
        array = np.moveaxis(array, -1, 1)
    return array


def _refused(runtime: str, error: Exception) -> EdgeconvError:
    return EdgeconvError(f"{runtime} refuses the file: {first_line(error)}")


def _failed(runtime: str, error: Exception) -> EdgeconvError:
    return EdgeconvError(
        f"{runtime} fails on the network's inputs: {first_line(error)}; check their values, or "
        "give others with --calibration"
    )


class IntermediateOutputs:
    """A session whose outputs are the named float values, inner ones too."""

    def __init__(self, model: ir.Model, names: Sequence[str]) -> None:
        proto = ir.to_proto(model)
        present = {output.name for output in proto.graph.output}
        for name in dict.fromkeys(names):
            if name not in present:
                proto.graph.output.append(
                    onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
                )
        self._names = list(names)
        self._session = ort.InferenceSession(
            proto.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
        )
        self._inputs = [value.name for value in self._session.get_inputs()]

    def run(self, batch: Batch) -> list[npt.NDArray[np.float32]]:
        feed = dict(zip(self._inputs, batch, strict=True))
        return run_session(self._session, self._names, feed)
