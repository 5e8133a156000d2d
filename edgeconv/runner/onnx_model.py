"""An .onnx file under ONNX Runtime, and ONNX Runtime's own profile of its nodes."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from edgeconv.runner.request import RunnerError

CPU = "CPUExecutionProvider"
XNNPACK = "XnnpackExecutionProvider"
KERNEL_TIME = "_kernel_time"  # ends the names of kernels' events in the profile

# x86 processors without VNNI add products of uint8 and int8 in 16 bits, where they saturate. With
# "1" ONNX Runtime makes such weights uint8 there, which is slower and exact; other processors take
# no notice of it. It does so beside int8 activations too, for which there is no kernel, and refuses
# files in which weights share numbers or a zero point, which no file of this project has.
UINT8_WEIGHTS = "session.x64quantprecision"


class OnnxModel:
    """A loaded .onnx file on the CPU.

    Inputs and outputs are bound once: a plain ``run`` would add the conversion of every array to
    each sample.

    Args:
        module: The runtime's module.
        path: The file.
        threads: Threads of the runtime.
        profile: How the file of a profile begins; None is no profile.
        xnnpack: Whether XNNPACK runs what it can; by itself ONNX Runtime never uses it.

    Attributes:
        inputs: Name, shape (-1 is any size) and dtype of each input.
    """

    def __init__(
        self,
        module: Any,
        path: str,
        threads: int,
        profile: str | None = None,
        xnnpack: bool | None = None,
    ) -> None:
        self._module, self._path, self._threads = module, path, threads
        self._profile, self._xnnpack = profile, xnnpack
        try:
            self._prepare("1")
            self._session = self._open()
        except Exception:  # ONNX Runtime's exceptions have no common base
            self._prepare("0")
            self._session = self._open()
        self._binding = self._session.io_binding()
        self.inputs = [
            (i.name, [n if isinstance(n, int) else -1 for n in i.shape], self._dtype(i.type))
            for i in self._session.get_inputs()
        ]

    def _prepare(self, uint8_weights: str) -> None:
        """Make the options of a session; those of another one stay as they are set."""
        self._options = self._module.SessionOptions()
        self._options.intra_op_num_threads = self._threads
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = 3
        self._options.add_session_config_entry(UINT8_WEIGHTS, uint8_weights)
        if self._profile is not None:
            self._options.enable_profiling = True
            self._options.profile_file_prefix = self._profile
        providers: list[Any] = [CPU]
        if self._xnnpack:
            providers.insert(0, self._provider(self._module, self._threads))
        self._open = partial(self._module.InferenceSession, self._path, self._options, providers)

    def _provider(self, module: Any, threads: int) -> tuple[str, dict[str, str]]:
        """Give the threads to XNNPACK's own pool, as ONNX Runtime's documentation advises."""
        if XNNPACK not in module.get_available_providers():
            raise RunnerError(
                "delegate",
                "this build of onnxruntime has no XNNPACK provider",
                "leave out --xnnpack on, measure a TFLite file (LiteRT has XNNPACK), or build "
                "onnxruntime with --use_xnnpack",
            )
        self._options.intra_op_num_threads = 1
        self._options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return XNNPACK, {"intra_op_num_threads": str(threads)}

    def _dtype(self, onnx_type: str) -> str:
        return numpy_name(onnx_type.replace("tensor(", "").replace(")", ""))

    def feed(self, arrays: list[Any]) -> None:
        """Bind the inputs, in the order of ``inputs``."""
        self._arrays = arrays  # the binding points into them
        for (name, _, _), array in zip(self.inputs, arrays):
            self._binding.bind_cpu_input(name, array)
        for output in self._session.get_outputs():
            self._binding.bind_output(output.name, "cpu")

    def inference(self) -> Callable[[], object]:
        """Return the call that is timed."""
        return partial(self._session.run_with_iobinding, self._binding)

    def outputs(self) -> list[tuple[str, Any]]:
        """Return the outputs of the last inference, by name."""
        names = [output.name for output in self._session.get_outputs()]
        return list(zip(names, self._binding.copy_outputs_to_cpu()))

    def operators(self, runs: int) -> list[dict[str, Any]]:
        """End the profile and describe each node, in the order in which they run.

        A profile leaves out the weights that kernels have packed for themselves, so the types and
        shapes come from another session, in which kernels pack none.

        Returns:
            For each node its name, its operator, the types and shapes of its inputs and outputs,
            and ``ns``: the median time in its kernel over the last ``runs`` inferences.
        """
        measured = node_events(self._session)
        self._options.add_session_config_entry("session.disable_prepacking", "1")
        unpacked = self._open()
        unpacked.run(None, {name: array for (name, _, _), array in zip(self.inputs, self._arrays)})
        described = {name: events[-1]["args"] for name, events in node_events(unpacked).items()}
        found = []
        for name, events in measured.items():
            last = events[-1]["args"]
            types = described.get(name, last)
            found.append(
                {
                    "name": name,
                    "operator": last["op_name"],
                    "ns": int(1000 * statistics.median(event["dur"] for event in events[-runs:])),
                    "inputs": tensors(types.get("input_type_shape")),
                    "outputs": tensors(types.get("output_type_shape")),
                }
            )
        return found


def node_events(session: Any) -> dict[str, list[dict[str, Any]]]:
    """End the profile of an ONNX Runtime session; return the events of each node's kernel.

    Raises:
        RunnerError: The disk had no room for all of it, of which ONNX Runtime says nothing.
    """
    path = Path(session.end_profiling())
    try:
        events = json.loads(path.read_bytes())
    except ValueError as error:
        raise RunnerError(
            "system",
            f"the profile that ONNX Runtime wrote to {path.parent} is cut short",
            "free some space there",
        ) from error
    nodes: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL_TIME):
            nodes.setdefault(event["name"][: -len(KERNEL_TIME)], []).append(event)
    return nodes


def tensors(described: Any) -> list[dict[str, Any]]:
    """Translate tensors that ONNX Runtime describes as ``{"float": [1, 3]}``."""
    return [
        {"dtype": numpy_name(element), "shape": list(shape)}
        for tensor in described or []
        for element, shape in tensor.items()
    ]


def numpy_name(element: str) -> str:
    """Translate the name of an element type from ONNX to NumPy."""
    return {"float": "float32", "double": "float64"}.get(element, element)
