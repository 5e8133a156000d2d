"""Count TRANSPOSE operators in the TFLite files of attention, window and pooling networks.

The networks are timm's, untrained. timm and torchvision must be importable beside edgeconv:

    python -m pip install --no-deps --target DIR timm torchvision huggingface_hub
    PYTHONPATH=DIR .venv/bin/python -m benchmarks.transposes
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir
import timm
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from benchmarks.measuring import machine, markdown_table, publish
from edgeconv.export.capture.module import capture_module
from edgeconv.export.opset import DEFAULT_OPSET
from edgeconv.export.passes import optimize
from edgeconv.export.runtimes import open_session
from edgeconv.export.tflite import lower
from edgeconv.models.randomize import randomize_

# TRANSPOSE operators in the files that litert-torch 0.10 writes.
LITERT_TORCH = {
    "mobilenetv4_hybrid_medium": 49,
    "vit_tiny_patch16_224": 39,
    "swin_tiny_patch4_window7_224": 60,
    "poolformer_s12": 74,
    "skresnet18": 17,
}


def main() -> None:
    rows = [row(name, theirs) for name, theirs in LITERT_TORCH.items()]
    columns = ["network", "operators", "transposes", "of litert-torch", "largest error"]
    publish(
        "transposes",
        [
            "# Transposes in float32 TFLite files",
            "",
            "timm's networks at their own input size. The error is the largest difference to ONNX",
            "Runtime on one random input, divided by the largest output. The goal is at most half",
            "of the transposes that litert-torch 0.10 leaves.",
            machine("edgeconv", "torch", "ai-edge-litert"),
            "",
            *markdown_table(columns, rows),
        ],
    )


def row(name: str, theirs: int) -> list[str]:
    network = timm.create_model(name, pretrained=False)
    shape = network.default_cfg["input_size"]
    torch.manual_seed(0)
    randomize_(network, shape=shape).eval()
    x = torch.randn(1, *shape).numpy()
    captured = capture_module(network, (x,), ["output"], DEFAULT_OPSET)
    graph = optimize(captured)
    data = bytes(lower(graph).data)
    counts = operators(data)
    error = difference(ir.to_proto(graph).SerializeToString(), data, x)
    total = counts.total()
    return [
        name,
        str(total),
        str(counts["TRANSPOSE"]),
        str(theirs),
        f"{error:.1e}",
    ]


def operators(data: bytes) -> Counter[str]:
    """Count each operator of a TFLite file."""
    names = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    kinds = [names[code.builtinCode] for code in model.operatorCodes]
    return Counter(kinds[operator.opcodeIndex] for operator in model.subgraphs[0].operators)


def difference(onnx: bytes, tflite: bytes, x: np.ndarray) -> float:
    session = open_session(onnx)
    (expected,) = session.run(None, {session.get_inputs()[0].name: x})
    interpreter = Interpreter(model_content=tflite, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x.transpose(0, 2, 3, 1))
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return float(np.abs(got - expected).max() / np.abs(expected).max())


if __name__ == "__main__":
    main()
