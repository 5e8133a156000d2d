"""How the windows of a convolution or a pool lie over a map, and the padding that they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import onnx_ir as ir

Shape = tuple[int, ...]
Sides = tuple[int, int]


class AutoPad(Enum):
    """Who states the padding: attribute ``auto_pad`` of ONNX."""

    NOTSET = "NOTSET"
    VALID = "VALID"
    SAME_UPPER = "SAME_UPPER"
    SAME_LOWER = "SAME_LOWER"


@dataclass(frozen=True)
class Windows:
    """The windows of a Conv or a pool over its input, or of a ConvTranspose over its result.

    The padding of a ConvTranspose is what is cut off.

    Everything counts the dimensions of space, in their order.

    Attributes:
        kernel: The number of elements of a window.
        strides: How far windows are apart.
        dilations: How far the elements of a window are apart.
        auto_pad: Who states the padding.
        pads: What the node states: in front in each dimension, then behind in each. It counts only
            with ``AutoPad.NOTSET``.
    """

    kernel: Shape
    strides: Shape
    dilations: Shape
    auto_pad: AutoPad
    pads: Shape

    @classmethod
    def of(cls, kernel: Sequence[int], attributes: Mapping[str, Any]) -> Windows:
        """The windows of a node.

        Args:
            kernel: The number of elements of a window.
            attributes: The values of the node's attributes by name; one that is absent or None has
                its default.

        Raises:
            ValueError: ``auto_pad`` is none of the names that ONNX knows.
        """
        ones, zeros = (1,) * len(kernel), (0,) * (2 * len(kernel))
        return cls(
            tuple(kernel),
            tuple(attributes.get("strides") or ones),
            tuple(attributes.get("dilations") or ones),
            AutoPad(attributes.get("auto_pad") or "NOTSET"),
            tuple(attributes.get("pads") or zeros),
        )

    @classmethod
    def of_node(cls, node: ir.Node, kernel: Sequence[int]) -> Windows:
        """The windows of a node whose kernel has these sizes; see :meth:`of`."""
        return cls.of(kernel, {name: each.value for name, each in node.attributes.items()})

    @property
    def reach(self) -> Shape:
        """The size of a window from its first to its last element."""
        return tuple(
            (taps - 1) * dilation + 1
            for taps, dilation in zip(self.kernel, self.dilations, strict=True)
        )

    def same_count(self, size: Sequence[int]) -> Shape:
        """The number of windows over a map of ``size`` that is padded by SAME."""
        return tuple(-(-have // stride) for have, stride in zip(size, self.strides, strict=True))

    def needed(self, size: Sequence[int], count: Sequence[int]) -> Shape:
        """How much ``count`` windows need beside a map of ``size``; below zero, they leave some."""
        return tuple(
            (windows - 1) * stride + reach - have
            for windows, stride, reach, have in zip(
                count, self.strides, self.reach, size, strict=True
            )
        )

    def sides(self, size: Sequence[int], count: Sequence[int]) -> tuple[Sides, ...]:
        """The padding in front and behind in each dimension.

        Args:
            size: The size of the map.
            count: The number of windows in each dimension.
        """
        rank = len(self.kernel)
        if self.auto_pad is AutoPad.NOTSET:
            return tuple(zip(self.pads[:rank], self.pads[rank:], strict=True))
        if self.auto_pad is AutoPad.VALID:
            return ((0, 0),) * rank
        totals = [max(0, total) for total in self.needed(size, count)]
        if self.auto_pad is AutoPad.SAME_UPPER:
            return tuple((total // 2, total - total // 2) for total in totals)
        return tuple((total - total // 2, total // 2) for total in totals)

    def front(self, size: Sequence[int], count: Sequence[int]) -> Shape:
        """The padding in front in each dimension; the arguments are those of :meth:`sides`."""
        return tuple(before for before, _ in self.sides(size, count))


def cut_in_front(
    node: ir.Node, kernel: Sequence[int], size: Sequence[int], result: Sequence[int]
) -> Shape:
    """What a ConvTranspose cuts off in front, in each dimension of space.

    Where it states ``output_shape`` it cuts as by SAME_LOWER, unless it says SAME_UPPER.

    Args:
        node: The ConvTranspose.
        kernel: The size of its kernel.
        size: The size of its input.
        result: The size of its result.
    """
    windows = Windows.of_node(node, kernel)
    if "output_shape" in node.attributes and windows.auto_pad is not AutoPad.SAME_UPPER:
        windows = replace(windows, auto_pad=AutoPad.SAME_LOWER)
    extra = node.attributes.get_ints("output_padding", (0,) * len(windows.kernel))
    covered = [whole - more for whole, more in zip(result, extra, strict=True)]
    return windows.front(covered, size)
