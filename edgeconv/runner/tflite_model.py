"""A .tflite file under LiteRT or tflite-runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeconv.runner.request import RunnerError

DELEGATE = "DELEGATE"  # the node that stands for what a delegate took


class TfliteModel:
    """A loaded .tflite file.

    Args:
        module: The runtime's module.
        path: The file.
        threads: Threads of the runtime.
        xnnpack: Whether XNNPACK runs what it can; None is what the runtime does by itself.

    Attributes:
        inputs: Name, shape (-1 is any size) and dtype of each input.
    """

    def __init__(self, module: Any, path: str, threads: int, xnnpack: bool | None = None) -> None:
        kind = "BUILTIN" if xnnpack else "BUILTIN_WITHOUT_DEFAULT_DELEGATES"
        options = {}
        if xnnpack is not None:
            options["experimental_op_resolver_type"] = module.OpResolverType[kind]
        self._interpreter = module.Interpreter(model_path=path, num_threads=threads, **options)
        self._interpreter.allocate_tensors()
        if xnnpack and self.delegates() == 0:
            raise RunnerError(
                "delegate",
                "its XNNPACK runs no operator of the file",
                "leave out --xnnpack on for it",
            )
        self.inputs = [
            (d["name"], [int(n) for n in d["shape_signature"]], d["dtype"])
            for d in self._interpreter.get_input_details()
        ]

    def feed(self, arrays: list[Any]) -> None:
        """Set the inputs, in the order of ``inputs``; resize those of another shape."""
        details = self._interpreter.get_input_details()
        resized = False
        for detail, array in zip(details, arrays):
            if list(detail["shape"]) != list(array.shape):
                self._interpreter.resize_tensor_input(detail["index"], array.shape, strict=True)
                resized = True
        if resized:
            self._interpreter.allocate_tensors()
        for detail, array in zip(details, arrays):
            self._interpreter.set_tensor(detail["index"], array)

    def inference(self) -> Callable[[], object]:
        """Return the call that is timed."""
        invoke: Callable[[], object] = self._interpreter.invoke
        return invoke

    def delegates(self) -> int | None:
        """Count the parts of the graph that a delegate runs; None if the runtime hides them."""
        try:
            nodes = self._interpreter._get_ops_details()
        except AttributeError:
            return None
        return [node["op_name"] for node in nodes].count(DELEGATE)

    def outputs(self) -> list[tuple[str, Any]]:
        """Return the outputs of the last inference, by name."""
        details = self._interpreter.get_output_details()
        return [(d["name"], self._interpreter.get_tensor(d["index"])) for d in details]
