"""Run a graph on ONNX Runtime and look at values inside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort

from edgeconv.export.quantize.calibrate import Batch
from edgeconv.export.runtimes import run_session, session_options


class Tap:
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
