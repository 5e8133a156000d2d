"""What a network costs, layer by layer, read from its traced graph.

A multiply-accumulate (MAC) is one multiplication and one addition. Batch normalization that follows
a convolution or linear layer counts as part of it, and so does a ReLU that follows one of these or
an addition: every runtime folds them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import fx, nn

from edgeconv.models import receptive_field
from edgeconv.models.arithmetic import Convolution, describe, geometry, is_weighted, macs
from edgeconv.models.graph import (
    Traced,
    argument,
    module_name,
    operator,
    shape_of,
    trace,
)

_CLIPS = ("relu", "relu6", "hardtanh")
# Operators that only give another view of the same numbers.
_VIEWS = (
    "view",
    "reshape",
    "flatten",
    "squeeze",
    "unsqueeze",
    "expand",
    "select",
    "slice",
    "chunk",
    "split",
    "getitem",
    "dropout",
    "alias",
    "detach",
    "contiguous",
)


@dataclass(frozen=True)
class LayerCost:
    """One operator with what is folded into it.

    ``activation_bytes`` counts what it reads and writes besides its weights. ``receptive_field``
    is in input pixels; None after a global pool.
    """

    name: str
    operator: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    weight_bytes: int
    activation_bytes: int
    receptive_field: int | None
    convolution: Convolution | None

    @property
    def intensity(self) -> float:
        """MACs per byte moved: low means that memory, not arithmetic, sets the pace.

        Williams et al. 2009, "Roofline".
        """
        return self.macs / max(1, self.weight_bytes + self.activation_bytes)


@dataclass(frozen=True)
class Savings:
    """What a network would save with depthwise separable convolutions.

    They replace every standard convolution that has a spatial kernel; the figures are those of the
    whole network, before and after.
    """

    replaced: int
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int


@dataclass(frozen=True)
class NetworkCost:
    """The layers of a network in order of execution, and their sums.

    ``peak_bytes`` is the most that the activations alive at one time need, in this order.
    ``receptive_field`` is the widest field, in input pixels, of the last feature maps: those that
    only global operators read, if any. It can be smaller than the field of an inner layer, where a
    stride after an upsampling keeps only positions that see little. None without such maps.
    """

    layers: tuple[LayerCost, ...]
    parameters: int
    peak_bytes: int
    receptive_field: int | None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return sum(layer.weight_bytes for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Bytes of activations that all layers read and write."""
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def intensity(self) -> float:
        """MACs for each byte moved, over the whole network."""
        return self.macs / max(1, self.weight_bytes + self.activation_bytes)

    def separable_savings(self) -> Savings:
        """What depthwise separable convolutions in place of standard ones would save."""
        parameters, macs, replaced = self.parameters, self.macs, 0
        for layer in self.layers:
            conv = layer.convolution
            if conv is None or not conv.is_replaceable:
                continue
            taps = math.prod(conv.kernel)
            standard = taps * conv.in_channels * conv.out_channels
            separable = taps * conv.in_channels + conv.in_channels * conv.out_channels
            parameters -= standard - separable
            # The depthwise half strides; both halves then work on output positions.
            macs -= (standard - separable) * conv.positions
            replaced += 1
        return Savings(replaced, self.parameters, parameters, self.macs, macs)


def network_cost(
    module: nn.Module, shape: tuple[int, ...], bytes_per_value: int = 4
) -> NetworkCost:
    """Count one inference on one input.

    Args:
        module: The network; it is left as it is.
        shape: Shape of the input, without the batch dimension.
        bytes_per_value: 4 for float32, 1 for int8; for weights and activations alike.
    """
    traced = trace(module, (1, *shape))
    rows = _Rows(traced, bytes_per_value)
    for node in traced.nodes:
        rows.add(node)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return NetworkCost(rows.layers(), parameters, rows.peak_bytes(), rows.receptive_field())


@dataclass
class _Row:
    """A layer under construction. ``reads`` and ``root`` are indices of rows; -1 is the input."""

    node: fx.Node
    reads: tuple[int, ...]
    parameters: int
    reach: receptive_field.Reaches

    @property
    def field(self) -> int | None:
        """The receptive field along the axis where it is widest; None after a global pool."""
        return max((reach.field for reach in self.reach or ()), default=None)


class _Rows:
    """Folds the nodes of a graph into rows."""

    def __init__(self, traced: Traced, bytes_per_value: int) -> None:
        self.rows: list[_Row] = []
        self._names = traced.parameters
        self._bytes = bytes_per_value
        self._counted: set[str] = set()
        # The row whose numbers a node holds, and what the node sees.
        self._row_of: dict[fx.Node, int] = {}
        self._reach: dict[fx.Node, receptive_field.Reaches] = {}
        self._input: fx.Node | None = None

    def add(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            if node.target not in self._names and not str(node.target).startswith("b_"):
                self._input = node
                self._row_of[node] = -1
                self._reach[node] = receptive_field.of_input(shape_of(node))
            return
        sources = [source for source in node.all_input_nodes if source in self._row_of]
        reach = receptive_field.after(node, [self._reach[source] for source in sources])
        self._reach[node] = reach
        if not sources:
            return  # computed from weights alone: every runtime does that once, before it starts
        name = operator(node)
        if name in _VIEWS or self._folds(name, sources[0]):
            index = self._row_of[node] = self._row_of[sources[0]]
            if index >= 0:
                self.rows[index].parameters += self._parameters(node)
            return
        self._row_of[node] = len(self.rows)
        reads = tuple(dict.fromkeys(self._row_of[source] for source in sources))
        self.rows.append(_Row(node, reads, self._parameters(node), reach))

    def _folds(self, name: str, source: fx.Node) -> bool:
        """Return whether ``name``, the only operator after ``source``, is part of its layer."""
        index = self._row_of[source]
        if index < 0 or len(source.users) > 1:
            return False
        maker = self.rows[index].node
        if name == "batch_norm":
            return is_weighted(maker)
        return name in _CLIPS and (is_weighted(maker) or operator(maker) == "add")

    def _parameters(self, node: fx.Node) -> int:
        """Count the weights that ``node`` reads, as they are or through other operators."""
        total = 0
        for source in node.all_input_nodes:
            name = self._names.get(str(source.target))
            if name is not None and name not in self._counted:
                self._counted.add(name)
                total += math.prod(shape_of(source))
            elif name is None and source not in self._row_of:
                total += self._parameters(source)
        return total

    def _constants(self, node: fx.Node) -> int:
        """Count the values of a kernel that is not learned."""
        kernel = argument(node, "weight") if is_weighted(node) else None
        fixed = isinstance(kernel, fx.Node) and str(kernel.target).startswith("b_")
        return math.prod(shape_of(kernel)) if fixed else 0

    def layers(self) -> tuple[LayerCost, ...]:
        return tuple(self._layer(row) for row in self.rows)

    def _layer(self, row: _Row) -> LayerCost:
        reads = sum(self._size(index) for index in row.reads)
        return LayerCost(
            name=module_name(row.node),
            operator=describe(row.node),
            output_shape=shape_of(row.node),
            parameters=row.parameters,
            macs=macs(row.node),
            weight_bytes=(row.parameters + self._constants(row.node)) * self._bytes,
            activation_bytes=reads + math.prod(shape_of(row.node)) * self._bytes,
            receptive_field=row.field,
            convolution=geometry(row.node),
        )

    def _size(self, index: int) -> int:
        node = self._input if index < 0 else self.rows[index].node
        return math.prod(shape_of(node)) * self._bytes

    def receptive_field(self) -> int | None:
        """The widest field of the feature maps that no other feature map is computed from."""
        maps = [row for row in self.rows if row.field is not None]
        read = {source for row in maps for source in row.reads}
        last = [row.field for index, row in enumerate(self.rows) if index not in read and row.field]
        return max(last, default=None)

    def peak_bytes(self) -> int:
        last_read = {source: index for index, row in enumerate(self.rows) for source in row.reads}
        alive, peak = {-1}, 0
        for index in range(len(self.rows)):
            alive.add(index)
            peak = max(peak, sum(self._size(row) for row in alive))
            alive = {row for row in alive if last_read.get(row, -1) > index}
        return peak
