"""Forms of operators that ONNX Runtime or onnx's checker refuses, against forms that they take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgeconv.errors import CaptureError
from edgeconv.export.capture.read_onnx import read_onnx_file
from support.runtimes import run_onnx

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, BATCH, FEATURES, HIDDEN = 4, 2, 3, 5


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(0, 0.6, shape).astype(np.float32)


def saved(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
    constants: dict[str, np.ndarray],
    opset: int,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
            for name, dims in inputs.items()
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
            for name, dims in outputs.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def recurrent(path: Path, kind: str, layout: int) -> Path:
    """A bidirectional layer with states, in the layout."""
    gates, states = GATES[kind], ["h", "c"][: 2 if kind == "LSTM" else 1]
    results = ["y", "y_h", "y_c"][: 1 + len(states)]

    def order(*steps_first: int) -> tuple[int, ...]:
        return (steps_first[1], steps_first[0], *steps_first[2:]) if layout else steps_first

    all_steps = (STEPS, 2, BATCH, HIDDEN)
    shapes = {"y": (BATCH, STEPS, 2, HIDDEN) if layout else all_steps}
    shapes |= {name: order(2, BATCH, HIDDEN) for name in results[1:]}
    node = helper.make_node(
        kind,
        ["x", "w", "r", "", "", *states],
        results,
        direction="bidirectional",
        hidden_size=HIDDEN,
        layout=layout,
    )
    constants = {"w": draw(2, gates * HIDDEN, FEATURES), "r": draw(2, gates * HIDDEN, HIDDEN)}
    inputs = {"x": order(STEPS, BATCH, FEATURES)}
    inputs |= {name: order(2, BATCH, HIDDEN) for name in states}
    return saved(path, [node], inputs, shapes, constants, 17)


@pytest.mark.parametrize("kind", GATES)
def test_recurrent_layers_with_the_batch_first(tmp_path: Path, kind: str) -> None:
    feeds = {"x": draw(STEPS, BATCH, FEATURES), "h": draw(2, BATCH, HIDDEN)}
    if kind == "LSTM":
        feeds["c"] = feeds["h"][::-1].copy()
    expected = run_onnx(recurrent(tmp_path / "steps.onnx", kind, 0).read_bytes(), feeds)
    proto, changed = read_onnx_file(recurrent(tmp_path / "batch.onnx", kind, 1))
    assert changed
    swapped = {name: array.swapaxes(0, 1).copy() for name, array in feeds.items()}
    got = run_onnx(proto.SerializeToString(), swapped)
    np.testing.assert_array_equal(got["y"], expected["y"].transpose(2, 0, 1, 3))
    for name in list(expected)[1:]:
        np.testing.assert_array_equal(got[name], expected[name].swapaxes(0, 1))


def test_group_norms_with_a_scale_for_each_group(tmp_path: Path) -> None:
    """The form of opset 18, which the standard withdrew."""
    scale, bias, x = np.float32([0.5, 2]), np.float32([1, -3]), draw(2, 6, 3, 3)
    node = helper.make_node(
        "GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2, epsilon=0.01
    )
    shape = {"x": x.shape}
    path = saved(tmp_path / "n.onnx", [node], shape, {"y": x.shape}, {"s": scale, "b": bias}, 18)
    proto, changed = read_onnx_file(path)
    assert changed
    expected = torch.nn.functional.group_norm(
        torch.from_numpy(x),
        2,
        torch.from_numpy(scale.repeat(3)),
        torch.from_numpy(bias.repeat(3)),
        eps=0.01,
    )
    got = run_onnx(proto.SerializeToString(), x)["y"]
    np.testing.assert_allclose(got, expected.numpy(), 1e-5, 1e-5)  # both sum 27 float32 numbers


def test_a_scan_of_opset_8(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Abs", ["a"], ["b"])],
        "body",
        [value("a", TensorProto.FLOAT, (3,))],
        [value("b", TensorProto.FLOAT, (3,))],
    )
    scan = helper.make_node("Scan", ["", "x"], ["y"], "over", body=body, num_scan_inputs=1)
    path = saved(tmp_path / "n.onnx", [scan], {"x": (1, 4, 3)}, {"y": (1, 4, 3)}, {}, 8)
    with pytest.raises(CaptureError, match=r"over \(Scan\) is of opset 8.*\n.*opset 9 or later"):
        read_onnx_file(path)


def test_a_result_that_two_nodes_compute(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Abs", ["x"], ["y"], "first"),
        helper.make_node("Neg", ["x"], ["y"], "second"),
    ]
    path = saved(tmp_path / "n.onnx", nodes, {"x": (3,)}, {"y": (3,)}, {}, 17)
    with pytest.raises(CaptureError, match=r"two nodes compute 'y', .* second \(Neg\)"):
        read_onnx_file(path)
