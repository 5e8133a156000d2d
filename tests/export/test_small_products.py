"""Networks that ONNX Runtime runs slower in int8 are pointed out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.bundle import Artifact, Format, Precision, Target
from edgeconv.export.inspect.macs import node_macs
from edgeconv.export.small_products import slow_small_products
from edgeconv.export.warnings import warn_of_small_products


def network(sizes: Sequence[int], rows: int = 1) -> ir.Model:
    """Fully connected layers from one size to the next."""
    nodes, weights, values = [], [], []
    for index, (before, after) in enumerate(pairwise(sizes)):
        weight = numpy_helper.from_array(np.ones((before, after), np.float32), f"w{index}")
        weights.append(weight)
        nodes.append(helper.make_node("Gemm", [f"x{index}", f"w{index}"], [f"x{index + 1}"]))
        values.append(_value(f"x{index + 1}", (rows, after)))
    last = values.pop()
    first = _value("x0", (rows, sizes[0]))
    graph = helper.make_graph(nodes, "g", [first], [last], weights, value_info=values)
    return ir.serde.deserialize_model(helper.make_model(graph))


def convolutions(channels: int, kernel: int, size: tuple[int, ...]) -> ir.Model:
    """One convolution, 1-D or 2-D."""
    weight = np.ones((channels, channels, *[kernel] * len(size)), np.float32)
    shape = (1, channels, *size)
    pads = [kernel // 2] * 2 * len(size)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=pads)],
        "g",
        [_value("x", shape)],
        [_value("y", shape)],
        [numpy_helper.from_array(weight, "w")],
    )
    return ir.serde.deserialize_model(helper.make_model(graph))


@pytest.mark.parametrize(
    ("channels", "kernel", "size", "slower"),
    [
        (32, 1, (184,), True),  # 1.67 times the instructions
        (32, 3, (184,), True),  # 1.12
        (128, 3, (184,), False),
        (32, 3, (14, 14), False),  # 0.69
    ],
)
def test_convolutions_over_few_channels(
    channels: int, kernel: int, size: tuple[int, ...], slower: bool
) -> None:
    found = slow_small_products(convolutions(channels, kernel, size))
    assert (found is not None) is slower
    if found is not None:
        assert "10.5 M instructions in int8 and 7.88 M in float32" in found.message


def _value(name: str, shape: tuple[int, ...]) -> object:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


@pytest.mark.parametrize(
    ("sizes", "rows", "slower"),
    [
        ((640, 128, 128, 8, 128, 640), 1, True),  # an autoencoder: 1.78 times the instructions
        ((128, 128, 128), 1, True),  # 1.49
        ((1024, 1024), 1, False),  # 0.88
        ((1024, 1024, 64), 1, False),  # the large layer decides
        ((128, 128, 128), 8, False),  # each weight is read for eight rows
    ],
)
def test_small_layers_of_one_row(sizes: Sequence[int], rows: int, slower: bool) -> None:
    found = slow_small_products(network(sizes, rows))
    assert (found is not None) is slower
    if found is not None:
        assert "0.321 M instructions in int8 and 0.180 M in float32" in found.message


@pytest.mark.parametrize(
    ("architecture", "format", "precision", "warned"),
    [
        (None, Format.ONNX, Precision.INT8, True),
        ("aarch64", Format.ONNX, Precision.INT8, True),
        ("x86_64", Format.ONNX, Precision.INT8, False),
        (None, Format.TFLITE, Precision.INT8, False),
        (None, Format.ONNX, Precision.FLOAT32, False),
    ],
)
def test_who_is_warned(
    architecture: str | None,
    format: Format,
    precision: Precision,
    warned: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    artifact = Artifact.model_construct(format=format, precision=precision)
    there = architecture and Target(
        device="ssh://pi", architecture=architecture, bits=64, python="3.11.2", runtimes={}
    )
    with caplog.at_level(logging.WARNING, "edgeconv"):
        warn_of_small_products(network((64, 64)), [artifact], there or None)
    assert bool(caplog.records) is warned


def test_an_einsum_counts() -> None:
    graph = helper.make_graph(
        [helper.make_node("Einsum", ["x", "w"], ["y"], equation="bf,fk->bk")],
        "g",
        [_value("x", (1, 64))],
        [_value("y", (1, 32))],
        [numpy_helper.from_array(np.ones((64, 32), np.float32), "w")],
    )
    model = ir.serde.deserialize_model(helper.make_model(graph))
    assert [node_macs(node) for node in model.graph] == [64 * 32]
    assert slow_small_products(model) is None
