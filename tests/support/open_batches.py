"""Small ONNX graphs, opened for every batch size."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from edgeconv.export.open_batch import open_batch

OPSET = 20


def opened(text: str) -> ir.Model:
    """Parse ``text``, infer its shapes and open the first dimension of its inputs."""
    model = ir.from_proto(
        onnx.shape_inference.infer_shapes(
            onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : {OPSET}]> {text}'),
            strict_mode=True,
            data_prop=True,
        )
    )
    for node in model.graph:
        node.name = node.outputs[0].name
    open_batch(model)
    return model
