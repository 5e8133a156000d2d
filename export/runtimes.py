"""Run models on the real runtimes.

A :class:`Runner` loads a written file and computes in terms of the network's own inputs and
outputs: it takes and returns float32 arrays in the network's own layout, and converts to and from
the layout and the quantized values of the file's interface, which the file's :class:`TensorInfo`
describe.

:class:`IntermediateOutputs` runs an ONNX graph for the values inside of it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort

from edgeconv.bundle import OPEN, Format, Layout, TensorInfo
from edgeconv.errors import DataError, EdgeconvError, first_line
from edgeconv.export.data.samples import Batch
from edgeconv.export.exact_products import Settings, exact_form
from edgeconv.export.index_errors import HINT, in_the_words_of_onnx_runtime
from edgeconv.export.quiet import debugging, quiet_native
from edgeconv.printable import file_name

Arrays = Sequence[npt.NDArray[Any]]

_MOST_AT_A_TIME = 4  # more batches in memory gain little, because NumPy's part stays on one core

_ONNX_RUNTIME = f"onnxruntime {ort.__version__}"
_NO_KERNEL = "NOT_IMPLEMENTED"


class Interface(Protocol):
    """What has inputs and outputs: a manifest for the network itself, or one of its files."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The inputs, in order."""

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The outputs, in order."""


class Runner(Protocol):
    """A loaded model file.

    Attributes:
        name: The runtime and its version.
    """

    name: str

    def run(self, inputs: Arrays) -> list[npt.NDArray[Any]]:
        """Compute the outputs in the order of the interface.

        Args:
            inputs: One array per input, in the same order and in the network's own layout.

        Raises:
            EdgeconvError: An operator fails on the inputs, as Gather does on an index out of range.
        """


def open_runner(
    path: Path,
    format: Format,
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    network: Interface | None = None,
) -> Runner:
    """Load a model file.

    Args:
        path: The file.
        format: Its format, which decides the runtime.
        inputs: Its inputs, as the manifest describes them.
        outputs: Its outputs, likewise.
        network: The network itself, whose layouts :meth:`Runner.run` takes and returns; by default
            all are NCHW.

    Raises:
        EdgeconvError: The runtime refuses the file.
    """
    if format is Format.ONNX:
        return OnnxRunner(path, inputs, outputs)
    if network is not None:
        inputs = relative(inputs, network.inputs)
        outputs = relative(outputs, network.outputs)
    return LiteRtRunner(path, inputs, outputs)


def open_session(model: Path | bytes, *, fuse: bool = True) -> ort.InferenceSession:
    """Load a model on the CPU, on one thread and quietly unless debugging.

    A second thread that waits for a core which another process uses costs more than it gives.

    Args:
        model: The path of an ``.onnx`` file, or its bytes.
        fuse: Whether ONNX Runtime may rewrite the graph; otherwise each operator runs as written.

    Raises:
        EdgeconvError: ONNX Runtime refuses the model.
    """
    try:
        if isinstance(model, Path) and not _is_text(model):
            model = model.read_bytes()
        model, settings = exact_form(model)
        try:
            return _session(model, fuse, settings)
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            if _NO_KERNEL not in str(error):
                raise
            return _session(model, fuse, {})
    except Exception as error:
        raise _refused(_ONNX_RUNTIME, error) from error


def _session(model: Path | bytes, fuse: bool, settings: Settings) -> ort.InferenceSession:
    options = ort.SessionOptions()
    if not fuse:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 2 if debugging() else 4
    options.intra_op_num_threads = 1
    for setting in settings.items():
        options.add_session_config_entry(*setting)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class NamedOutputs:
    """A session whose outputs are asked for by name.

    Args:
        session: The session.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._inputs = [value.name for value in session.get_inputs()]

    def run(self, names: Sequence[str], batch: Batch) -> list[npt.NDArray[Any]]:
        """Compute some outputs, in the order of the names.

        Args:
            names: The outputs.
            batch: One array per input of the model.

        Raises:
            EdgeconvError: An operator fails on the inputs.
        """
        return _run(self._session, names, dict(zip(self._inputs, batch, strict=True)))

    def run_each(
        self, names: Sequence[str], batches: Iterable[Batch]
    ) -> Iterator[list[npt.NDArray[Any]]]:
        """Compute some outputs of every batch, in the order of the batches.

        Each batch runs on one thread, and as many at a time as there are cores. So the results are
        those of :meth:`run`, whatever the machine.

        Args:
            names: The outputs.
            batches: For each batch, one array per input of the model.

        Raises:
            EdgeconvError: An operator fails on the inputs.
        """
        cores = min(len(os.sched_getaffinity(0)), _MOST_AT_A_TIME)
        started: deque[Future[list[npt.NDArray[Any]]]] = deque()
        with ThreadPoolExecutor(cores, thread_name_prefix="batches") as threads:
            for batch in batches:
                started.append(threads.submit(self.run, names, batch))
                if len(started) > cores:
                    yield started.popleft().result()
            while started:
                yield started.popleft().result()


def _run(
    session: ort.InferenceSession, names: Sequence[str], feed: Mapping[str, npt.NDArray[Any]]
) -> list[npt.NDArray[Any]]:
    """Compute the named outputs from inputs by name."""
    try:
        arrays: list[npt.NDArray[Any]] = session.run(list(names), dict(feed))
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        beyond = in_the_words_of_onnx_runtime(str(error), feed)
        if beyond is not None:
            raise DataError(beyond, hint=HINT) from error
        raise _failed(_ONNX_RUNTIME, error) from error
    # ONNX Runtime 1.20 to 1.23 answer with a view of an input that is an output as well, and do not
    # keep the memory that it shows.
    return [feed.get(name, array) for name, array in zip(names, arrays, strict=True)]


def relative(infos: Sequence[TensorInfo], own: Sequence[TensorInfo]) -> list[TensorInfo]:
    """Describe the tensors of a file without their layout, where the network's own is the same."""
    return [
        info.model_copy(update={"layout": None}) if info.layout is same.layout else info
        for info, same in zip(infos, own, strict=True)
    ]


class OnnxRunner:
    """A model on ONNX Runtime, in whose files every layout is the network's own.

    Args:
        model: The path of an ``.onnx`` file, or its bytes.
        inputs: The model's inputs, in the order of the arrays that :meth:`run` takes.
        outputs: The outputs to compute.
        fuse: Whether ONNX Runtime may rewrite the graph.

    Raises:
        EdgeconvError: ONNX Runtime refuses the model.
    """

    def __init__(
        self,
        model: Path | bytes,
        inputs: Sequence[TensorInfo],
        outputs: Sequence[TensorInfo],
        *,
        fuse: bool = True,
    ) -> None:
        self.name = _ONNX_RUNTIME
        self._inputs, self._outputs = inputs, outputs
        self._session = open_session(model, fuse=fuse)

    def run(self, inputs: Arrays) -> list[npt.NDArray[Any]]:
        """Compute the outputs; see :meth:`Runner.run`."""
        feed = {
            info.name: encode(array, info) for info, array in zip(self._inputs, inputs, strict=True)
        }
        arrays = _run(self._session, [info.name for info in self._outputs], feed)
        return [decode(array, info) for array, info in zip(arrays, self._outputs, strict=True)]


class LiteRtRunner:
    """A model on LiteRT with its default XNNPACK delegate.

    Args:
        model: The path of a ``.tflite`` file, or its bytes.
        inputs: The model's inputs, in the order of the arrays that :meth:`run` takes.
        outputs: The model's outputs.

    Raises:
        EdgeconvError: LiteRT refuses the model.
    """

    def __init__(
        self, model: Path | bytes, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]
    ) -> None:
        from importlib.metadata import version

        from ai_edge_litert.interpreter import Interpreter

        self.name = f"litert {version('ai-edge-litert')}"
        self._inputs, self._outputs = inputs, outputs
        try:
            with quiet_native():
                if isinstance(model, Path) and not _is_text(model):
                    model = model.read_bytes()
                if isinstance(model, bytes):
                    self._interpreter = Interpreter(model_content=model, num_threads=1)
                else:
                    self._interpreter = Interpreter(model_path=str(model), num_threads=1)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _refused(self.name, error) from error
        self._input_indices = [item["index"] for item in self._interpreter.get_input_details()]
        self._output_indices = [item["index"] for item in self._interpreter.get_output_details()]

    def run(self, inputs: Arrays) -> list[npt.NDArray[Any]]:
        """Compute the outputs; see :meth:`Runner.run`."""
        arrays = [to_file(*pair) for pair in zip(inputs, self._inputs, strict=True)]
        try:
            self._resize([array.shape for array in arrays])
            for index, array in zip(self._input_indices, arrays, strict=True):
                self._interpreter.set_tensor(index, array)
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise _failed(self.name, error) from error
        results = (self._interpreter.get_tensor(index) for index in self._output_indices)
        return [from_file(*pair) for pair in zip(results, self._outputs, strict=True)]

    def _resize(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Give the inputs with an open dimension these shapes."""
        if OPEN not in (size for info in self._inputs for size in info.shape):
            return
        details = self._interpreter.get_input_details()
        for detail, shape in zip(details, shapes, strict=True):
            if tuple(detail["shape"]) != shape:
                self._interpreter.resize_tensor_input(detail["index"], shape, strict=True)
        with quiet_native():
            self._interpreter.allocate_tensors()


def _is_text(path: Path) -> bool:
    """Whether a path is UTF-8, which is all that the runtimes' own code can open."""
    return file_name(str(path)) == str(path)


def to_file(array: npt.NDArray[Any], info: TensorInfo) -> npt.NDArray[Any]:
    """Convert an array of the network to the layout and dtype of a file's interface."""
    return encode(np.moveaxis(array, 1, -1) if info.layout is Layout.NHWC else array, info)


def from_file(array: npt.NDArray[Any], info: TensorInfo) -> npt.NDArray[Any]:
    """Convert an array of a file's interface to the network's: the inverse of :func:`to_file`."""
    decoded = decode(array, info)
    return np.moveaxis(decoded, -1, 1) if info.layout is Layout.NHWC else decoded


def encode(array: npt.NDArray[Any], info: TensorInfo) -> npt.NDArray[Any]:
    """Convert a float array to the dtype of an interface."""
    if info.scale is not None and info.zero_point is not None:
        limits = np.iinfo(info.dtype)
        integers = np.rint(array / np.float32(info.scale)) + info.zero_point
        array = np.clip(integers, limits.min, limits.max)
    # Unlike ascontiguousarray, this leaves a scalar a scalar.
    return np.asarray(array, dtype=info.dtype, order="C")


def decode(array: npt.NDArray[Any], info: TensorInfo) -> npt.NDArray[Any]:
    """Convert an array of an interface back to float: the inverse of :func:`encode`."""
    if info.scale is not None and info.zero_point is not None:
        array = (array.astype(np.float32) - info.zero_point) * np.float32(info.scale)
    return array


def _refused(runtime: str, error: Exception) -> EdgeconvError:
    return EdgeconvError(
        f"{runtime} refuses the model: {first_line(error)}",
        hint="write the operator that it names in another way, or export the part before it with "
        "--cut-outputs",
    )


def _failed(runtime: str, error: Exception) -> EdgeconvError:
    return EdgeconvError(
        f"{runtime} fails on the network's inputs: {first_line(error)}",
        hint="check their values, or give others with --calibration",
    )


class IntermediateOutputs:
    """An ONNX Runtime session that computes any float values of a graph, inner ones too.

    Args:
        model: The graph; what it computes stays as it is.
        names: The values to compute. Those that are not outputs of the graph must be float.

    Raises:
        EdgeconvError: ONNX Runtime refuses the graph.
    """

    def __init__(self, model: ir.Model, names: Sequence[str]) -> None:
        proto = ir.to_proto(model)
        present = {output.name for output in proto.graph.output}
        for name in dict.fromkeys(names):
            if name not in present:
                proto.graph.output.append(
                    onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
                )
        self._names = list(names)
        self._outputs = NamedOutputs(open_session(proto.SerializeToString()))

    def run(self, batch: Batch) -> list[npt.NDArray[np.float32]]:
        """Compute the values, in the order of the names.

        Args:
            batch: One array per input of the graph.

        Raises:
            EdgeconvError: An operator fails on the inputs.
        """
        return self._outputs.run(self._names, batch)

    def run_each(self, batches: Iterable[Batch]) -> Iterator[list[npt.NDArray[np.float32]]]:
        """Compute the values of every batch; see :meth:`NamedOutputs.run_each`.

        Args:
            batches: For each batch, one array per input of the graph.

        Raises:
            EdgeconvError: An operator fails on the inputs.
        """
        return self._outputs.run_each(self._names, batches)
