"""How much gradient reaches each layer, with the shortcuts of a network and without them.

A shortcut is an operand of an addition that passes fewer weighted layers than the other one, or an
operand of a concatenation that another operand is computed from. He et al. 2015 (arXiv:1512.03385)
add, Huang et al. 2016 (arXiv:1608.06993) and U-Net concatenate; either way the gradient finds a
short road back. Deep supervision, a loss on inner outputs as well, builds others (Lee et al. 2014,
arXiv:1409.5185).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from edgeconv.models.arithmetic import is_weighted
from edgeconv.models.graph import TraceError, argument, operator, shape_of


@dataclass(frozen=True)
class LayerGradient:
    """The gradient of one weight: ``depth`` counts the weighted layers up to it, from 1 on."""

    name: str
    depth: int
    norm: float


class FlowGraph:
    """A network as a graph that can be changed; it shares its parameters with the network.

    Args:
        network: The network, in training or eval mode, as its gradients are wanted.
        x: An input; the graph takes inputs of this shape only.

    Raises:
        TraceError: The network fails on ``x``, or its control flow depends on values.
    """

    def __init__(self, network: nn.Module, x: Tensor) -> None:
        self.module = as_graph(network, x)
        self._depth = _depths(self.module.graph)

    def remove_shortcuts(self) -> int:
        """Cut every shortcut and return how many there were.

        An addition becomes its deeper operand; in a concatenation zeros take the shortcut's place,
        so that shapes stay.
        """
        graph, removed = self.module.graph, 0
        ancestors = _ancestors(graph)
        for node in list(graph.nodes):
            if operator(node) == "add":
                removed += self._cut_addition(node)
            elif operator(node) == "cat":
                removed += _cut_concatenation(node, ancestors)
        graph.eliminate_dead_code()
        self.module.recompile()
        return removed

    def _cut_addition(self, node: fx.Node) -> bool:
        left, right = node.args[:2]
        if not (isinstance(left, fx.Node) and isinstance(right, fx.Node)):
            return False
        if left not in self._depth or right not in self._depth:
            return False  # a bias, not a map
        if self._depth[left] == self._depth[right]:
            return False  # parallel branches
        deeper = max(left, right, key=self._depth.__getitem__)
        if shape_of(deeper) != shape_of(node):  # it was added to every position
            with node.graph.inserting_before(node):
                operands = deeper, shape_of(node)
                deeper = node.graph.call_function(torch.broadcast_to, operands)
        node.replace_all_uses_with(deeper)
        return True

    def gradients(
        self, x: Tensor, *, deepest_only: bool = False, seed: int = 0
    ) -> list[LayerGradient]:
        """Send one random direction back from the outputs, and measure what reaches each weight.

        Args:
            x: The input.
            deepest_only: Whether only the output with the most layers before it has a loss.
            seed: The same seed gives the same direction.
        """
        generator = torch.Generator().manual_seed(seed)
        self.module.zero_grad()
        outputs = [y for y in self.module(x) if isinstance(y, Tensor)]
        losses = [(y * torch.randn(y.shape, generator=generator)).mean() for y in outputs]
        if deepest_only:
            losses = [losses[self.deepest_output()]]
        # An index or a mask has no gradient.
        if learned := [loss for loss in losses if loss.requires_grad]:
            torch.autograd.backward(torch.stack(learned).sum())
        return self.measured()

    def measured(self) -> list[LayerGradient]:
        """The norms of the gradients that the last backward pass left, in order of execution."""
        found = []
        for node in self.module.graph.nodes:
            weight = argument(node, "weight") if is_weighted(node) else None
            if not (isinstance(weight, fx.Node) and weight.op == "get_attr"):
                continue
            gradient = self.module.get_parameter(str(weight.target)).grad
            if gradient is not None:
                name = str(weight.target).removesuffix(".weight")
                found.append(LayerGradient(name, self._depth[node], float(gradient.norm())))
        return found

    @property
    def outputs(self) -> Sequence[fx.Node]:
        """What the network returns."""
        (results,) = self.module.graph.output_node().args
        assert isinstance(results, Sequence)
        return [node for node in results if isinstance(node, fx.Node)]

    def deepest_output(self) -> int:
        """The index of the output that has the most weighted layers before it."""
        depths = [self._depth.get(node, 0) for node in self.outputs]
        return depths.index(max(depths))


def as_graph(network: nn.Module, x: Tensor, at: str | None = None) -> fx.GraphModule:
    """Trace ``network`` with its values; the result returns a list, of the node ``at`` if given.

    Raises:
        TraceError: The network fails on ``x``, or its control flow depends on values.
    """
    try:
        program = torch.export.export(network, (x,), strict=False)
    except Exception as error:  # the module's own code: anything can come out of it
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise TraceError(f"{type(network).__name__} cannot be traced: {reason}") from error
    exported = program.module(check_guards=False)
    assert isinstance(exported, fx.GraphModule)
    copies: dict[fx.Node, fx.Node] = {}
    graph = fx.Graph()
    results = graph.graph_copy(exported.graph, copies)
    if at is not None:
        results = [next(copy for node, copy in copies.items() if node.name == at)]
    graph.output(results)
    if at is not None:
        graph.eliminate_dead_code()
    return fx.GraphModule(exported, graph)


def _depths(graph: fx.Graph) -> dict[fx.Node, int]:
    """Weighted layers on the longest way from the input, for all that is computed from it."""
    found: dict[fx.Node, int] = {}
    for node in graph.nodes:
        before = [found[source] for source in node.all_input_nodes if source in found]
        if node.op == "placeholder":
            found[node] = 0
        elif before:
            found[node] = max(before) + is_weighted(node)
    return found


def _ancestors(graph: fx.Graph) -> dict[fx.Node, set[fx.Node]]:
    found: dict[fx.Node, set[fx.Node]] = {}
    for node in graph.nodes:
        found[node] = set(node.all_input_nodes).union(*(found[s] for s in node.all_input_nodes))
    return found


def _cut_concatenation(node: fx.Node, ancestors: dict[fx.Node, set[fx.Node]]) -> int:
    operands = node.args[0]
    assert isinstance(operands, Sequence)
    maps = [operand for operand in operands if isinstance(operand, fx.Node)]
    cut = [a for a in maps if any(a in ancestors[b] for b in maps)]
    with node.graph.inserting_before(node):
        zeros = {a: node.graph.call_function(torch.zeros_like, (a,)) for a in cut}
    node.args = ([zeros.get(a, a) for a in maps], *node.args[1:])
    return len(cut)
