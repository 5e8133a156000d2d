"""A target of SQNR is reached on samples that nothing was fitted to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import onnx_ir as ir
from torch import nn

from edgeconv.export.capture.module import capture_module
from edgeconv.export.data.samples import Batch
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import HeldBack, quantize
from edgeconv.export.quantize.accuracy.judge import Judge
from edgeconv.models.randomize import randomize_, structured_input
from support.plain_options import PLAIN

SHAPE = (2, 12, 12)
X = [[x[None].numpy()] for x in structured_input((14, *SHAPE))]
# Ranges that are fitted to so few samples flatter the network.
FITTED, HELD_BACK = X[:6], X[6:]


class Counted:
    """Batches that count how often they are read."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches, self.passes = batches, 0

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        self.passes += 1
        return iter(self._batches)


def network() -> ir.Model:
    """Layers that each lose about as much in int8."""
    middle = [layer for _ in range(6) for layer in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())]
    first = (nn.Conv2d(2, 8, 3, padding=1), nn.ReLU())
    module = nn.Sequential(*first, *middle, nn.Conv2d(8, 3, 1)).eval()
    randomize_(module, shape=SHAPE)
    return optimize(capture_module(module, (X[0][0],), ["y"], 20))


def held_back(graph: ir.Model) -> HeldBack:
    return HeldBack(lambda: HELD_BACK, graph, lambda qdq: qdq)


def test_more_leaves_where_samples_held_back_have_less() -> None:
    graph, data = network(), Counted(FITTED)
    fitted, held = Judge.on(graph, FITTED), Judge.on(graph, HELD_BACK)
    target = fitted.sqnr_db(quantize(graph, FITTED, PLAIN).model) + 1
    options = replace(PLAIN, repair=True, repair_to=target)
    once = quantize(graph, FITTED, options)
    assert fitted.sqnr_db(once.model) >= target
    assert held.sqnr_db(once.model) < target
    again = quantize(graph, data, options, held_back=held_back(graph))
    assert held.sqnr_db(again.model) >= target
    assert len(again.in_float) > len(once.in_float)
    assert data.passes == 1  # no search needs another calibration


def test_nothing_is_searched_where_both_reach_the_target() -> None:
    graph = network()
    plain = quantize(graph, FITTED, PLAIN).model
    least = min(Judge.on(graph, each).sqnr_db(plain) for each in (FITTED, HELD_BACK))
    options = replace(PLAIN, repair=True, repair_to=least - 0.5)
    found = quantize(graph, FITTED, options, held_back=held_back(graph))
    assert found.improvements == ()
    assert not found.in_float


def test_samples_held_back_are_asked_where_those_of_the_search_have_enough() -> None:
    graph = network()
    plain = quantize(graph, FITTED, PLAIN).model
    held = Judge.on(graph, HELD_BACK)
    target = Judge.on(graph, FITTED).sqnr_db(plain) - 0.5
    assert held.sqnr_db(plain) < target
    options = replace(PLAIN, repair=True, repair_to=target)
    assert not quantize(graph, FITTED, options).in_float
    found = quantize(graph, FITTED, options, held_back=held_back(graph))
    assert held.sqnr_db(found.model) >= target


def test_a_target_may_take_more_than_half_of_the_operators() -> None:
    graph = network()
    target = Judge.on(graph, FITTED).sqnr_db(quantize(graph, FITTED, PLAIN).model) + 8
    found = quantize(graph, FITTED, replace(PLAIN, repair=True, repair_to=target))
    assert Judge.on(graph, FITTED).sqnr_db(found.model) >= target
    nodes = [node for node in graph.graph if node.op_type in ("Conv", "Relu")]
    assert len(nodes) / 2 < len(found.in_float) < len(nodes)


def test_no_target_leaves_nothing_in_int8() -> None:
    """That would be the float32 network."""
    graph = network()
    found = quantize(graph, FITTED, replace(PLAIN, repair=True, repair_to=140))
    assert any(node.op_type == "QuantizeLinear" for node in found.model.graph)
