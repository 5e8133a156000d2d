from hypothesis import given
from hypothesis import strategies as st

from edgeconv.export.activation_memory import Step, Storage, peak_bytes


def test_a_chain_holds_the_input_and_two_neighbors() -> None:
    steps = [Step(("in",), ("a",)), Step(("a",), ("b",)), Step(("b",), ("out",))]
    sizes = {"in": 10, "a": 100, "b": 50, "out": 5}
    # The caller's input (10) stays; a (100) and b (50) live together while the second step runs.
    assert peak_bytes(steps, sizes, ["in"], ["out"]) == 160


def test_a_shortcut_lives_until_it_is_added() -> None:
    steps = [
        Step(("in",), ("a",)),
        Step(("a",), ("b",)),
        Step(("b",), ("c",)),
        Step(("a", "c"), ("out",)),
    ]
    sizes = {"in": 1, "a": 100, "b": 300, "c": 100, "out": 100}
    # Third step: in 1, a 100 (still needed), b 300, c 100.
    assert peak_bytes(steps, sizes, ["in"], ["out"]) == 501


def test_a_reshape_needs_no_memory() -> None:
    steps = [
        Step(("in",), ("a",)),
        Step(("a",), ("flat",), Storage.VIEW),
        Step(("flat",), ("out",)),
    ]
    sizes = {"in": 10, "a": 100, "flat": 100, "out": 1}
    assert peak_bytes(steps, sizes, ["in"], ["out"]) == 111


def test_an_activation_overwrites_what_nobody_else_reads() -> None:
    alone = [Step(("in",), ("a",)), Step(("a",), ("r",), Storage.IN_PLACE), Step(("r",), ("out",))]
    shared = [*alone[:2], Step(("r", "a"), ("out",))]
    sizes = {"in": 10, "a": 100, "r": 100, "out": 1}
    assert peak_bytes(alone, sizes, ["in"], ["out"]) == 111
    assert peak_bytes(shared, sizes, ["in"], ["out"]) == 211


def test_the_callers_buffers_are_never_overwritten() -> None:
    steps = [Step(("in",), ("out",), Storage.IN_PLACE)]
    assert peak_bytes(steps, {"in": 10, "out": 10}, ["in"], ["out"]) == 20


def test_constants_count_nothing() -> None:
    steps = [Step(("in", "weight"), ("out",))]
    assert peak_bytes(steps, {"in": 10, "out": 20}, ["in"], ["out"]) == 30


def test_an_empty_graph_passes_its_input_on() -> None:
    assert peak_bytes([], {"x": 4}, ["x"], ["x"]) == 4


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Step[int]], dict[int, int]]:
    count = draw(st.integers(1, 8))
    steps = [
        Step(
            tuple(draw(st.lists(st.integers(0, index), min_size=1, max_size=3))),
            (index + 1,),
            draw(st.sampled_from(Storage)),
        )
        for index in range(count)
    ]
    sizes = {tensor: draw(st.integers(0, 100)) for tensor in range(count + 1)}
    return steps, sizes


@given(graphs())
def test_peak_lies_between_its_bounds(graph: tuple[list[Step[int]], dict[int, int]]) -> None:
    steps, sizes = graph
    plain = [Step(step.inputs, step.outputs) for step in steps]
    peak = peak_bytes(steps, sizes, [0], [len(steps)])
    largest_step = max(
        sum(sizes[tensor] for tensor in {*step.inputs, *step.outputs}) for step in plain
    )
    assert max(sizes.values()) <= peak <= sum(sizes.values())
    assert largest_step <= peak_bytes(plain, sizes, [0], [len(steps)]) <= sum(sizes.values())
