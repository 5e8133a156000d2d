"""Channel shuffles dissolve between convolutions, and only there; the results stay."""

from __future__ import annotations

from itertools import count

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeconv.export.passes.channel_shuffle import ChannelShuffle
from edgeconv.models.randomize import structured_input
from support.runtimes import run_onnx

SIDE = 4


class Writer:
    """A graph as ONNX's text, with random weights; values have ``SIDE`` rows and columns."""

    def __init__(self, seed: int = 0) -> None:
        self.lines: list[str] = []
        self.weights: dict[str, np.ndarray] = {}
        self.channels = {"x": 3}
        self._numbers = count()
        self._random = np.random.default_rng(seed)

    def add(self, text: str, *channels: int) -> list[str]:
        """A node; ``text`` is what stands right of the equals sign."""
        names = [f"v{next(self._numbers)}" for _ in channels]
        self.lines.append(f"{', '.join(names)} = {text}")
        self.channels |= dict(zip(names, channels, strict=True))
        return names

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = array
        return name

    def conv(self, x: str, out: int, groups: int = 1, kernel: int = 3) -> str:
        shape = (out, self.channels[x] // groups, kernel, kernel)
        weights = self.constant(self._random.normal(0, 0.3, shape).astype(np.float32))
        bias = self.constant(self._random.normal(0, 0.3, out).astype(np.float32))
        pads = [kernel // 2] * 4
        return self.add(f"Conv<group={groups}, pads={pads}>({x}, {weights}, {bias})", out)[0]

    def depthwise(self, x: str) -> str:
        return self.conv(x, self.channels[x], self.channels[x])

    def relu(self, x: str) -> str:
        return self.add(f"Relu({x})", self.channels[x])[0]

    def concat(self, *parts: str) -> str:
        return self.add(
            f"Concat<axis=1>({', '.join(parts)})", sum(self.channels[part] for part in parts)
        )[0]

    def split(self, x: str, *sizes: int) -> list[str]:
        return self.add(f"Split<axis=1>({x}, {self.constant(np.array(sizes))})", *sizes)

    def shuffle(self, x: str, groups: int) -> str:
        channels = self.channels[x]
        apart = self.constant(np.array([1, groups, channels // groups, SIDE, SIDE]))
        together = self.constant(np.array([1, channels, SIDE, SIDE]))
        (split,) = self.add(f"Reshape({x}, {apart})", channels)
        (moved,) = self.add(f"Transpose<perm=[0, 2, 1, 3, 4]>({split})", channels)
        return self.add(f"Reshape({moved}, {together})", channels)[0]

    def model(self, *results: str) -> ir.Model:
        """The graph that gives these values."""
        outputs = ", ".join(f"float[1, {self.channels[r]}, {SIDE}, {SIDE}] {r}" for r in results)
        body = "\n".join(self.lines)
        model = ir.from_onnx_text(
            f'<ir_version: 10, opset_import: ["" : 20]>\n'
            f"g (float[1, 3, {SIDE}, {SIDE}] x) => ({outputs}) {{ {body} }}"
        )
        for name, array in self.weights.items():
            value = ir.val(name, const_value=ir.tensor(array, name=name))
            model.graph.register_initializer(value)
            for node in model.graph:
                for index, given_value in enumerate(node.inputs):
                    if given_value is not None and given_value.name == name:
                        node.replace_input_with(index, value)
        proto = ir.to_proto(model)
        return ir.passes.common.ShapeInferencePass()(ir.from_proto(proto)).model


def run(model: ir.Model) -> list[np.ndarray]:
    x = structured_input((1, 3, SIDE, SIDE)).numpy()
    return [*run_onnx(model, x, fused=False).values()]


def dissolved(model: ir.Model) -> tuple[bool, list[str]]:
    """Whether the rewrite changed the model, and its operators; the results must be the same."""
    expected = run(model)
    modified = ChannelShuffle()(model).modified
    ir.passes.common.RemoveUnusedNodesPass()(model)
    for result, before in zip(run(model), expected, strict=True):
        # The sums of a convolution run over its inputs in another order.
        np.testing.assert_allclose(result, before, rtol=1e-5, atol=1e-5)
    return modified, [node.op_type for node in model.graph]


def unit(graph: Writer, x: str) -> str:
    """ShuffleNetV2's: one half passes, the other is convolved."""
    half = graph.channels[x] // 2
    passed, convolved = graph.split(x, half, half)
    inner = graph.depthwise(graph.relu(graph.conv(convolved, half, kernel=1)))
    branch = graph.relu(graph.conv(inner, half, kernel=1))
    return graph.shuffle(graph.concat(passed, branch), 2)


def test_shuffle_units_lose_their_shuffles() -> None:
    graph = Writer()
    first = graph.shuffle(graph.concat(graph.conv("x", 6), graph.conv("x", 6)), 2)
    last = unit(graph, unit(graph, first))
    modified, operators = dissolved(graph.model(graph.conv(last, 4)))
    assert modified
    assert not {"Transpose", "Reshape"} & set(operators)
    # Behind each unit the convolution reads what it needs, and so does the last one.
    assert operators.count("Concat") == 3


def test_channels_are_split_where_their_readers_part() -> None:
    graph = Writer()
    shuffled = graph.shuffle(graph.concat(graph.conv("x", 6), graph.conv("x", 6)), 2)
    first, second = graph.split(shuffled, 4, 8)
    model = graph.model(graph.conv(first, 2), graph.conv(second, 2))
    assert dissolved(model)[0]
    splits = [node for node in model.graph if node.op_type == "Split"]
    sizes = [tuple(value.shape[1] for value in node.outputs) for node in splits]  # type: ignore[index]
    assert sizes == [(2, 4), (2, 4)]


def test_the_way_to_a_dense_convolution_goes_along() -> None:
    graph = Writer()
    source = graph.relu(graph.depthwise(graph.conv("x", 8)))
    shuffled = graph.shuffle(source, 4)
    (pooled,) = graph.add(
        f"MaxPool<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>({graph.depthwise(shuffled)})", 8
    )
    modified, operators = dissolved(graph.model(graph.conv(pooled, 4)))
    assert modified
    assert operators == ["Conv", "Conv", "Relu", "Conv", "MaxPool", "Conv"]


def test_two_convolutions_may_share_their_weights() -> None:
    graph = Writer()
    shuffled = graph.shuffle(graph.conv("x", 6), 2)
    first, second = graph.split(shuffled, 3, 3)
    result = graph.conv(first, 2)
    weights, bias = list(graph.weights)[-2:]
    (other,) = graph.add(f"Conv<pads=[1, 1, 1, 1]>({second}, {weights}, {bias})", 2)
    assert dissolved(graph.model(result, other))[0]


def tied(case: str) -> ir.Model:
    """A shuffle whose surroundings need its order as it is."""
    graph = Writer()
    if case == "the input":
        return graph.model(graph.conv(graph.shuffle("x", 3), 4))
    source = graph.conv("x", 6)
    if case == "grouped in front":
        source = graph.conv(source, 6, groups=3)
    if case == "read before":
        other = graph.relu(source)
    shuffled = graph.shuffle(graph.concat(source, source) if case == "twice" else source, 2)
    if case == "grouped behind":
        return graph.model(graph.conv(shuffled, 6, groups=3))
    if case == "a result":
        return graph.model(graph.conv(shuffled, 4), shuffled)
    if case == "a sum":
        (total,) = graph.add(f"Add({shuffled}, {graph.conv('x', 6)})", 6)
        return graph.model(graph.conv(total, 4))
    if case == "read before":
        return graph.model(graph.conv(shuffled, 4), other)
    return graph.model(graph.conv(shuffled, 4))


@pytest.mark.parametrize(
    "case",
    [
        *("grouped in front", "grouped behind", "a result", "a sum", "the input", "twice"),
        "read before",
    ],
)
def test_a_shuffle_stays_where_the_order_is_needed(case: str) -> None:
    model = tied(case)
    before = [node.op_type for node in model.graph]
    modified, operators = dissolved(model)
    assert not modified
    assert operators == before


def test_without_a_shuffle_nothing_moves() -> None:
    graph = Writer()
    first, second = graph.split(graph.concat(graph.conv("x", 4), graph.conv("x", 4)), 3, 5)
    assert not dissolved(graph.model(graph.conv(first, 2), graph.conv(second, 2)))[0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_moves_between_convolutions_give_the_same(data: st.DataObject) -> None:
    graph = Writer(seed=data.draw(st.integers(0, 99)))
    pool = [graph.conv("x", data.draw(st.integers(1, 6)) * 2) for _ in range(2)]
    pool[0] = graph.depthwise(graph.relu(pool[0]))
    for _ in range(data.draw(st.integers(1, 5))):
        x = pool.pop(data.draw(st.integers(0, len(pool) - 1)))
        size = graph.channels[x]
        move = data.draw(st.sampled_from(["shuffle", "split", "concat", "both"]))
        if move == "shuffle":
            divisors = [d for d in range(1, size + 1) if size % d == 0]
            pool.append(graph.shuffle(x, data.draw(st.sampled_from(divisors))))
        elif move == "split" and size > 1:
            start = data.draw(st.integers(1, size - 1))
            pool += graph.split(x, start, size - start)
        elif move == "concat" and pool:
            pool.append(graph.concat(x, pool.pop()))
        else:  # another reader stands in the middle of its way
            pool += [x, graph.conv(x, 4)]
    results = [graph.conv(graph.relu(value), 2, kernel=1) for value in pool]
    modified, operators = dissolved(graph.model(*results))
    if modified:
        assert not {"Transpose", "Reshape"} & set(operators)
