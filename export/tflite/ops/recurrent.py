"""LSTM, GRU and RNN, unrolled into operators for every step.

Gates are stacked as ONNX has them: i, o, f, c of an LSTM, z, r, h of a GRU. The inputs of all
steps meet their weights in one FULLY_CONNECTED; what depends on the step before is one more each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeconv.export.tflite.builder import FLOAT
from edgeconv.export.tflite.emit.arithmetic import Arithmetic
from edgeconv.export.tflite.graph import Array, Tensor
from edgeconv.export.tflite.layout import identity, permuted
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import operator

LONGEST = 512
"""Steps that are unrolled; a file with more has tens of thousands of operators."""

ACTIVATIONS = {"Sigmoid": "LOGISTIC", "Tanh": "TANH", "Relu": "RELU"}
DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
PEEPHOLES = 7


@dataclass(frozen=True)
class Direction:
    """One pass over the sequence: weights of gates x inputs, their biases, and activations."""

    input_weight: Array
    hidden_weight: Array
    input_bias: Array
    hidden_bias: Array
    activations: tuple[str, ...]
    backward: bool
    peepholes: Array | None = None
    """Weights of the memory in the gates i, o and f, 3 x hidden."""


class Cell(Arithmetic):
    """Emits float operators on batch x hidden tensors, with the weights of one direction."""

    def __init__(self, ctx: NodeLowering, direction: Direction, scope: str) -> None:
        super().__init__(ctx, scope)
        self.direction = direction
        self.hidden = direction.hidden_weight.shape[1]
        self._constants: dict[str, tuple[Tensor, Tensor]] = {}

    def activation(self, index: int, x: Tensor) -> Tensor:
        """Emit an activation of the direction, with the node's ``clip`` before it."""
        limit = self.ctx.attributes.get_float("clip", 0.0)
        if limit:
            x = self("MAXIMUM", self("MINIMUM", x, limit), -limit)
        return self(self.direction.activations[index], x)

    def peep(self, gate: int, x: Tensor, memory: Tensor) -> Tensor:
        """Add to ``x`` of a gate what it sees of the memory."""
        if self.direction.peepholes is None:
            return x
        return self("ADD", x, self("MUL", memory, self.direction.peepholes[gate]))

    def dense(self, x: Tensor, weight: Array, bias: Array, name: str) -> Tensor:
        """Emit FULLY_CONNECTED; the weight and bias ``name`` are the same at every step."""
        builder = self.ctx.builder
        if name not in self._constants:
            self._constants[name] = (
                builder.constant(weight, f"{self.scope}{name}/weight"),
                builder.constant(bias, f"{self.scope}{name}/bias"),
            )
        operands = [x, *self._constants[name]]
        return self.emit("FULLY_CONNECTED", operands, (x.shape[0], len(weight)))

    def part(self, x: Tensor, axis: int, start: int, size: int) -> Tensor:
        """Take ``size`` elements of ``x`` along ``axis``, from ``start``."""
        begin = [start if other == axis else 0 for other in range(len(x.shape))]
        sizes = [size if other == axis else extent for other, extent in enumerate(x.shape)]
        numbers = (self.ctx.builder.integers(item, "part") for item in (begin, sizes))
        return self.emit("SLICE", [x, *numbers], tuple(sizes))

    def gates(self, x: Tensor, first: int, last: int) -> list[Tensor]:
        """Split the gates from ``first`` up to ``last`` off their common tensor."""
        size = self.hidden
        return [self.part(x, 1, index * size, size) for index in range(first, last)]


def _lstm(cell: Cell, x: Tensor, state: list[Tensor]) -> list[Tensor]:
    """Input, output and forget gate, and the candidate for the memory."""
    h, c = state
    direction = cell.direction
    total = cell("ADD", x, cell.dense(h, direction.hidden_weight, direction.hidden_bias, "hidden"))
    i, o, f, candidate = cell.gates(total, 0, 4)
    i = cell.activation(0, cell.peep(0, i, c))
    if cell.ctx.attributes.get_int("input_forget", 0):
        f = cell("SUB", 1.0, i)
    else:
        f = cell.activation(0, cell.peep(2, f, c))
    kept, new = cell("MUL", f, c), cell("MUL", i, cell.activation(1, candidate))
    memory = cell("ADD", kept, new)
    o = cell.activation(0, cell.peep(1, o, memory))
    return [cell("MUL", o, cell.activation(2, memory)), memory]


def _gru(cell: Cell, x: Tensor, state: list[Tensor]) -> list[Tensor]:
    """Update gate z, reset gate r and candidate: h becomes candidate + z (h - candidate)."""
    (h,) = state
    direction, size = cell.direction, cell.hidden
    weight, bias = direction.hidden_weight, direction.hidden_bias
    z, r, from_x = cell.gates(x, 0, 3)
    both = cell.dense(h, weight[: 2 * size], bias[: 2 * size], "gates")
    from_z, from_r = cell.gates(both, 0, 2)
    z = cell.activation(0, cell("ADD", z, from_z))
    r = cell.activation(0, cell("ADD", r, from_r))
    if cell.ctx.attributes.get_int("linear_before_reset", 0):
        from_h = cell("MUL", r, cell.dense(h, weight[2 * size :], bias[2 * size :], "candidate"))
    else:
        from_h = cell.dense(cell("MUL", r, h), weight[2 * size :], bias[2 * size :], "candidate")
    candidate = cell.activation(1, cell("ADD", from_x, from_h))
    return [cell("ADD", candidate, cell("MUL", z, cell("SUB", h, candidate)))]


def _rnn(cell: Cell, x: Tensor, state: list[Tensor]) -> list[Tensor]:
    direction = cell.direction
    from_h = cell.dense(state[0], direction.hidden_weight, direction.hidden_bias, "hidden")
    return [cell.activation(0, cell("ADD", x, from_h))]


STEPS = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}


@operator("LSTM", "GRU", "RNN")
def recurrent(ctx: NodeLowering) -> None:
    """FULLY_CONNECTED and elementwise operators for every step of the sequence, up to 512 steps."""
    batch_first = ctx.attributes.get_int("layout", 0) == 1
    order = (1, 0, 2) if batch_first else (0, 1, 2)
    steps, batch, features = permuted(ctx.shape(0), order)
    if steps > LONGEST:
        raise ctx.unsupported(
            f"its sequence has {steps} steps, more than the {LONGEST} that are unrolled",
            "feed the network a window at a time",
        )
    x = ctx.builder.reshape(ctx.tensor(0, order), (steps * batch, features))
    directions = _directions(ctx)
    outputs: list[list[Tensor]] = []
    finals: list[list[Tensor]] = []
    for index, direction in enumerate(directions):
        cell = Cell(ctx, direction, f"direction{index}/")
        state = _initial(ctx, index, batch, cell.hidden, batch_first=batch_first)
        every = cell.dense(x, direction.input_weight, direction.input_bias, "inputs")
        given = _steps_of(cell, every, steps, batch)
        made: list[Tensor] = []
        for step in reversed(range(steps)) if direction.backward else range(steps):
            state = STEPS[ctx.node.op_type](cell, given[step], state)
            made.append(state[0])
        outputs.append(made[::-1] if direction.backward else made)
        finals.append(state)
    _bind(ctx, outputs, finals, batch_first=batch_first)


def _steps_of(cell: Cell, every: Tensor, steps: int, batch: int) -> list[Tensor]:
    """The rows of each step.

    Several samples are taken by one SPLIT, which does not say how many there are, so that the file
    may be for every batch.
    """
    if steps == 1:
        return [every]
    if batch == 1:
        return [cell.part(every, 0, step, 1) for step in range(steps)]
    parts = [
        Tensor(f"{every.name}/step{step}", (batch, every.shape[1]), FLOAT) for step in range(steps)
    ]
    axis = cell.ctx.builder.constant(np.array(0, np.int32), "axis")
    cell.ctx.builder.emit("SPLIT", [axis, every], parts, {"numSplits": steps})
    return parts


def _bind(
    ctx: NodeLowering,
    outputs: list[list[Tensor]],
    finals: list[list[Tensor]],
    *,
    batch_first: bool,
) -> None:
    """The results: steps x directions x batch x hidden, and the last state of each direction."""
    builder = ctx.builder
    every = [outputs[side][step] for step in range(len(outputs[0])) for side in range(len(outputs))]
    last = [[state[index] for state in finals] for index in range(len(finals[0]))]
    for index, (value, parts) in enumerate(zip(ctx.node.outputs, [every, *last], strict=False)):
        if not value.name or not (value.is_graph_output() or value.consumers()):
            continue
        rank = 4 if index == 0 else 3
        perm = identity(rank)
        if batch_first:
            # The value is batch first; the tensor is stored with the batch behind the directions.
            perm = (1, 2, 0, 3) if rank == 4 else (1, 0, 2)
        result = ctx.output(index, perm)
        size = (len(parts) * parts[0].shape[0], parts[0].shape[1])
        joined = Tensor(f"{result.name}/joined", size, FLOAT)
        builder.emit("CONCATENATION", parts, [joined], {"axis": 0})
        shape = builder.integers(result.shape, f"{result.name}/shape")
        builder.emit("RESHAPE", [joined, shape], [result], {"newShape": result.shape})


def _initial(
    ctx: NodeLowering, index: int, batch: int, hidden: int, *, batch_first: bool
) -> list[Tensor]:
    """The state before the first step: given, or zeros."""
    states: list[Tensor] = []
    for position in (5, 6)[: 2 if ctx.node.op_type == "LSTM" else 1]:
        if not ctx.has(position):
            states.append(ctx.builder.constant(np.zeros((batch, hidden), FLOAT), "zeros"))
            continue
        whole = ctx.tensor(position, (1, 0, 2) if batch_first else (0, 1, 2))
        begin = ctx.builder.integers((index, 0, 0), f"{ctx.name}/begin")
        size = ctx.builder.integers((1, batch, hidden), f"{ctx.name}/size")
        taken = ctx.fresh(f"initial{position}{index}", (1, batch, hidden))
        ctx.builder.emit("SLICE", [whole, begin, size], [taken])
        states.append(ctx.builder.reshape(taken, (batch, hidden)))
    return states


def _directions(ctx: NodeLowering) -> list[Direction]:
    """The weights of each direction; refuses what the unrolled form does not compute."""
    kind = ctx.node.op_type
    if ctx.has(4) and np.any(ctx.demand_constant(4, "sequence_lens") != _steps(ctx)):
        raise ctx.unsupported("its sequences differ in length", "pad them and drop sequence_lens")
    peepholes = None
    if kind == "LSTM" and ctx.has(PEEPHOLES):
        peepholes = ctx.demand_constant(PEEPHOLES, "P").reshape(-1, 3, ctx.shape(2)[2])
    weights, hidden = ctx.demand_constant(1, "W"), ctx.demand_constant(2, "R")
    count, gates = weights.shape[:2]
    biases = np.zeros((count, 2 * gates), FLOAT)
    if ctx.has(3):
        biases = ctx.demand_constant(3, "B")
    names = _activations(ctx, count * len(DEFAULTS[kind]))
    each = len(DEFAULTS[kind])
    way = ctx.attributes.get_string("direction", "forward")
    return [
        Direction(
            weights[index],
            hidden[index],
            biases[index, :gates],
            biases[index, gates:],
            names[index * each : (index + 1) * each],
            backward=way == "reverse" or index == 1,
            peepholes=None if peepholes is None else peepholes[index],
        )
        for index in range(count)
    ]


def _activations(ctx: NodeLowering, count: int) -> tuple[str, ...]:
    stated = ctx.attributes.get("activations")
    default = DEFAULTS[ctx.node.op_type]
    names = tuple(stated.as_strings()) if stated else default * (count // len(default))
    unknown = sorted(set(names) - set(ACTIVATIONS))
    if unknown or len(names) != count:
        what = unknown[0] if unknown else f"{len(names)} of them"
        raise ctx.unsupported(f"its activations are {what}", "use Sigmoid, Tanh and Relu")
    return tuple(ACTIVATIONS[name] for name in names)


def _steps(ctx: NodeLowering) -> int:
    return ctx.shape(0)[1 if ctx.attributes.get_int("layout", 0) else 0]
