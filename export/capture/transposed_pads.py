"""ConvTransposes whose padding is SAME beside ``output_padding``, with their pads stated.

ONNX's shape inference adds ``output_padding`` to the size that SAME gives. ONNX's text, its
reference implementation and ONNX Runtime count it among what is cut off instead.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import helper

from edgeconv.errors import CaptureError
from edgeconv.export.proto_graphs import all_nodes
from edgeconv.export.window_pads import Windows


def state_pads(proto: onnx.ModelProto, path: Path) -> None:
    """Change such nodes in place; drop the shapes that a file states behind them.

    Raises:
        CaptureError: The size of the kernel of such a node is not stated.
    """
    weights = {tensor.name: list(tensor.dims[2:]) for tensor in proto.graph.initializer}
    changed = False
    for node in all_nodes(proto.graph):
        given = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        extra, mode = given.get("output_padding", ()), given.get("auto_pad", b"NOTSET").decode()
        if node.op_type != "ConvTranspose" or not mode.startswith("SAME") or not any(extra):
            continue
        if "output_shape" in given:
            continue
        kernel = given.get("kernel_shape", weights.get(node.input[1]))
        if kernel is None:
            raise CaptureError(
                f"{path}: {node.name or node.output[0]} (ConvTranspose) has both auto_pad {mode} "
                "and output_padding, and its kernel_shape is not stated",
                hint="state kernel_shape, or pads in the place of auto_pad",
            )
        windows = Windows.of(kernel, given | {"auto_pad": mode})
        # SAME gives each input a stride of the result, so one input shows what is cut.
        covered = [stride - more for stride, more in zip(windows.strides, extra, strict=True)]
        sides = windows.sides(covered, (1,) * len(kernel))
        pads = [*(before for before, _ in sides), *(behind for _, behind in sides)]
        kept = [item for item in node.attribute if item.name not in ("auto_pad", "pads")]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("pads", pads)])
        changed = True
    if changed:
        del proto.graph.value_info[:]
        for output in proto.graph.output:
            output.type.tensor_type.ClearField("shape")
