"""The receptive field of a unit, as the layers allow it and as the gradient shows it.

Luo et al. 2016, "Understanding the Effective Receptive Field in Deep Convolutional Neural
Networks" (arXiv:1701.04128): what a unit really reads is a bell in the middle of the theoretical
field, and grows with the root of the depth only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from edgeconv.models import receptive_field
from edgeconv.models.gradient_flow import as_graph
from edgeconv.models.graph import module_name, shape_of
from edgeconv.models.receptive_field import Reach

_SAMPLES = 8
_NEGLIGIBLE = 1 - 0.9545  # of the largest contribution: two standard deviations of a Gaussian


@dataclass(frozen=True)
class MeasuredField:
    """What one unit of the last feature map sees.

    Attributes:
        layer: The module that computes the map.
        unit: Its position in the map: the center.
        theoretical: First and last pixel along each axis; they may lie outside of the image.
        contributions: How much each pixel of the image moves the unit; the largest is 1.
    """

    layer: str
    unit: tuple[int, ...]
    theoretical: tuple[tuple[int, int], ...]
    contributions: Tensor

    @property
    def theoretical_sides(self) -> tuple[int, ...]:
        """Pixels along each axis that the layers allow."""
        return tuple(last - first + 1 for first, last in self.theoretical)

    @property
    def measured_side(self) -> float:
        """The side of a square with as many pixels as contribute more than 4.55 % of the most."""
        count = int((self.contributions > _NEGLIGIBLE).sum())
        return float(count ** (1 / self.contributions.ndim))

    @property
    def is_cut_off(self) -> bool:
        """Whether the image ends before the measured field does, which is larger then."""
        edges = (
            self.contributions.select(axis, end).max()
            for axis in range(self.contributions.ndim)
            for end in (0, -1)
        )
        return any(float(edge) > _NEGLIGIBLE for edge in edges)


def measure_field(network: nn.Module, shape: tuple[int, ...], seed: int = 0) -> MeasuredField:
    """Measure the field of the center unit of the last feature map.

    Args:
        network: The network; it runs in eval mode, with the weights that it has.
        shape: Shape of one input, without the batch dimension.
        seed: The same seed gives the same inputs.

    Raises:
        TraceError: The network cannot be traced.
        ValueError: It has no feature map with positions, or the unit sees nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    was_training = network.training
    network.eval()
    try:
        node, reaches = _last_map(as_graph(network, torch.zeros(1, *shape)))
        reader = as_graph(network, torch.zeros(1, *shape), at=node.name)
    finally:
        network.train(was_training)
    unit = tuple(size // 2 for size in shape_of(node)[2:])
    at_unit = (slice(None), *unit)
    total = torch.zeros(shape[1:])
    for _ in range(_SAMPLES):
        x = torch.randn(1, *shape, generator=generator, requires_grad=True)
        (maps,) = reader(x)
        answers = maps[0][at_unit]
        # A random sum of the channels: none of them is special.
        answer = (answers * torch.randn(answers.shape, generator=generator)).sum()
        (gradient,) = torch.autograd.grad(answer, x)
        total += gradient[0].abs().sum(dim=0)
    most = float(total.max())
    if not (math.isfinite(most) and most > 0):
        raise ValueError("no gradient reaches the input: the unit is silent with these weights")
    theoretical = tuple(reach.span(position) for reach, position in zip(reaches, unit, strict=True))
    return MeasuredField(module_name(node) or "the network", unit, theoretical, total / most)


def _last_map(graph: fx.GraphModule) -> tuple[fx.Node, tuple[Reach, ...]]:
    """The feature map with the widest field of those that no other map is computed from."""
    found: dict[fx.Node, receptive_field.Reaches] = {}
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            found[node] = receptive_field.of_input(shape_of(node))
        elif node.op == "call_function":
            sources = [found[source] for source in node.all_input_nodes if source in found]
            if sources:
                found[node] = receptive_field.after(node, sources)
    computed = ((node, reaches) for node, reaches in found.items() if node.op != "placeholder")
    maps = {
        node: reaches
        for node, reaches in computed
        if reaches and len(shape_of(node)) == 2 + len(reaches)  # flattened, it has no positions
    }
    read = {source for node in maps for source in node.all_input_nodes}
    last = {node: reaches for node, reaches in maps.items() if node not in read}
    if not last:
        raise ValueError("the network has no feature map with positions")
    return max(last.items(), key=lambda item: max(reach.field for reach in item[1]))
