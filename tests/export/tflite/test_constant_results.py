"""Results that are known before the network runs: their values, and their sizes beforehand."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.reference import ReferenceEvaluator

from edgeconv.export.tflite.constant_folding import GROWN
from support.lowering import Net, check, smooth


def test_a_table_of_positions_that_a_resize_enlarges() -> None:
    """Its elements times the result's sizes would be above 2 GiB."""
    net = Net()
    x = net.input("x", (1, 8, 96, 96))
    table = net.constant(smooth((1, 8, 24, 24)))
    how = {"mode": "cubic", "coordinate_transformation_mode": "half_pixel"}
    sizes = net.constant([1, 8, 96, 96])
    check(
        net.output(net.op("Add", x, net.op("Resize", table, "", "", sizes, **how))),
        {"x": smooth((1, 8, 96, 96), seed=1)},
    )


def test_a_constant_that_is_padded_much_along_one_axis() -> None:
    """The sum of all pads along each axis would be above 2 GiB."""
    net = Net()
    x = net.input("x", (1, 2, 20, 2020))
    padded = net.op("Pad", net.constant(smooth((1, 2, 20, 20))), net.constant([0] * 7 + [2000]))
    check(net.output(net.op("Add", x, padded)), {"x": smooth((1, 2, 20, 2020), seed=1)})


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_a_constant_that_is_cropped_by_a_pad(mode: str) -> None:
    """ONNX's reference implementation cannot pad by negative amounts; ONNX Runtime can."""
    net = Net()
    x = net.input("x", (1, 2, 6, 6))
    pads = net.constant(np.array([0, 0, -1, 2, 0, 0, 1, -2], np.int64))
    cropped = net.op("Pad", net.constant(smooth((1, 2, 6, 6))), pads, mode=mode)
    check(net.output(net.op("Add", x, cropped)), {"x": smooth((1, 2, 6, 6), seed=1)})


def result_and_bound(node: Any, inputs: list[np.ndarray | None]) -> tuple[np.ndarray, int]:
    """What ONNX's reference computes, and the elements that are foreseen for it."""
    feeds = {name: item for name, item in zip(node.input, inputs, strict=True) if name}
    (result,) = ReferenceEvaluator(node, opsets={"": 20}).run(None, feeds)
    own = ir.Node("", node.op_type, [], ir.serde.deserialize_node(node).attributes.values())
    numbers = GROWN[node.op_type](own, inputs)
    return result, prod(int(number) for number in np.ravel(np.asarray(numbers)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=6, max_size=6), st.permutations([0, 1, 2]))
def test_the_size_of_a_pad(pads: list[int], axes: list[int]) -> None:
    node = helper.make_node("Pad", ["x", "pads", "", "axes"], ["y"])
    x = np.zeros((5, 6, 7), np.float32)
    for taken in (axes, axes[:2], [axes[0] - 3]):
        own = np.array(pads[: 2 * len(taken)])
        result, bound = result_and_bound(node, [x, own, None, np.array(taken)])
        assert result.size == bound


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=2),
    st.sampled_from(["stretch", "not_larger", "not_smaller"]),
    st.sampled_from([(2, 3), (3, 2), (0, 2)]),
)
def test_the_size_of_a_resize_to_sizes(
    sizes: list[int], policy: str, axes: tuple[int, int]
) -> None:
    node = helper.make_node(
        "Resize", ["x", "", "", "sizes"], ["y"], axes=axes, keep_aspect_ratio_policy=policy
    )
    x = np.zeros((2, 3, 4, 5), np.float32)
    result, bound = result_and_bound(node, [x, None, None, np.array(sizes)])
    assert result.size == bound if policy == "stretch" else result.size <= bound


@pytest.mark.parametrize("scales", [(1.0, 1.0, 0.5, 3.0), (1.0, 1.0, 2.0, 2.5)])
def test_the_size_of_a_resize_by_scales(scales: tuple[float, ...]) -> None:
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"])
    x = np.zeros((2, 3, 4, 6), np.float32)
    result, bound = result_and_bound(node, [x, None, np.array(scales, np.float32)])
    assert result.size == bound


@pytest.mark.parametrize("scale", [1e9, 1e38])
def test_a_resize_whose_size_is_not_stated_is_foreseen(scale: float) -> None:
    node = ir.Node("", "Resize", [])
    inputs = [np.zeros((4, 4), np.float32), None, np.array([0.5, scale], np.float32)]
    numbers = np.ravel(np.asarray(GROWN["Resize"](node, inputs)))
    assert prod(int(number) for number in numbers) >= 4 * scale
