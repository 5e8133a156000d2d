"""LSTM, GRU and RNN, unrolled into operators for every step.

Gates are stacked as ONNX has them: i, o, f, c of an LSTM, z, r, h of a GRU. The inputs of all
steps meet their weights in one FULLY_CONNECTED; what depends on the step before is one more each.
The weights are constants, or the network computes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeconv.export.tflite.builder import FLOAT
from edgeconv.export.tflite.emit.arithmetic import Arithmetic
from edgeconv.export.tflite.graph import Tensor
from edgeconv.export.tflite.layout import identity, permuted
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.ops.recurrent_activations import GateActivation, gate_activations
from edgeconv.export.tflite.registry import operator

LONGEST = 512
"""Steps that are unrolled; a file with more has tens of thousands of operators."""

DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
LENGTHS, PEEPHOLES = 4, 7


@dataclass(frozen=True)
class Dense:
    """A weight of outputs x inputs and a bias of the outputs."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Direction:
    """One pass over the sequence: what the inputs and the hidden state meet, and activations."""

    inputs: Dense
    hidden: Dense
    activations: tuple[GateActivation, ...]
    backward: bool
    peepholes: Tensor | None = None
    """Weights of the memory in the gates i, o and f, each of the hidden size, one after another."""


class Cell(Arithmetic):
    """Emits float operators on batch x hidden tensors, with the weights of one direction."""

    def __init__(
        self, ctx: NodeLowering, direction: Direction, scope: str, lengths: Tensor | None
    ) -> None:
        super().__init__(ctx, scope)
        self.direction = direction
        self.hidden = direction.hidden.weight.shape[1]
        self._lengths = lengths
        self._has_step: dict[int, Tensor] = {}
        self._rows: dict[tuple[int, int], Dense] = {}

    def kept(self, step: int, new: Tensor, before: Tensor) -> Tensor:
        """Take ``new`` where the sequence has the step, and what was ``before`` elsewhere."""
        if self._lengths is None:
            return new
        if step not in self._has_step:
            there = self("GREATER", self._lengths, step, dtype=np.dtype(bool))
            self._has_step[step] = there
        operands = [self._has_step[step], new, before]
        return self.emit("SELECT_V2", operands, new.shape, dtype=FLOAT)

    def activation(self, index: int, x: Tensor) -> Tensor:
        """Emit an activation of the direction, with the node's ``clip`` before it."""
        limit = self.ctx.attributes.get_float("clip", 0.0)
        if limit:
            x = self("MAXIMUM", self("MINIMUM", x, limit), -limit)
        return self.direction.activations[index].emit(self, x)

    def peep(self, gate: int, x: Tensor, memory: Tensor) -> Tensor:
        """Add to ``x`` of a gate what it sees of the memory."""
        if self.direction.peepholes is None:
            return x
        seen = _part(self.ctx, self.direction.peepholes, 0, gate * self.hidden, self.hidden)
        return self("ADD", x, self("MUL", memory, seen))

    def dense(self, x: Tensor, by: Dense) -> Tensor:
        """Emit FULLY_CONNECTED. A bias that is no constant is added behind it."""
        size = by.weight.shape[0]
        bias, computed = by.bias, by.bias.data is None
        if computed:
            bias = self.ctx.builder.constant(np.zeros(size, FLOAT), f"{self.scope}bias")
        result = self.emit("FULLY_CONNECTED", [x, by.weight, bias], (x.shape[0], size))
        return self("ADD", result, by.bias) if computed else result

    def rows(self, start: int, size: int) -> Dense:
        """Some of the outputs of what the hidden state meets, the same at every step."""
        if (start, size) not in self._rows:
            whole = self.direction.hidden
            parts = (_part(self.ctx, x, 0, start, size) for x in (whole.weight, whole.bias))
            self._rows[start, size] = Dense(*parts)
        return self._rows[start, size]

    def gates(self, x: Tensor, first: int, last: int) -> list[Tensor]:
        """Split the gates from ``first`` up to ``last`` off their common tensor."""
        size = self.hidden
        return [_part(self.ctx, x, 1, index * size, size) for index in range(first, last)]


def _lstm(cell: Cell, x: Tensor, state: list[Tensor]) -> list[Tensor]:
    """Input, output and forget gate, and the candidate for the memory."""
    h, c = state
    total = cell("ADD", x, cell.dense(h, cell.direction.hidden))
    i, o, f, candidate = cell.gates(total, 0, 4)
    i = cell.activation(0, cell.peep(0, i, c))
    if cell.ctx.attributes.get_int("input_forget", 0):
        f = cell("SUB", 1.0, i)
    else:
        f = cell.activation(0, cell.peep(2, f, c))
    kept, new = cell("MUL", f, c), cell("MUL", i, cell.activation(1, candidate))
    memory = cell("ADD", kept, new)
    o = cell.activation(0, cell.peep(1, o, memory))
    # ONNX Runtime clips the gates and the candidate, not the memory on its way to the output.
    return [cell("MUL", o, cell.direction.activations[2].emit(cell, memory)), memory]


def _gru(cell: Cell, x: Tensor, state: list[Tensor]) -> list[Tensor]:
    """Update gate z, reset gate r and candidate: h becomes candidate + z (h - candidate)."""
    (h,) = state
    size = cell.hidden
    gates, candidate = cell.rows(0, 2 * size), cell.rows(2 * size, size)
    z, r, from_x = cell.gates(x, 0, 3)
    both = cell.dense(h, gates)
    from_z, from_r = cell.gates(both, 0, 2)
    z = cell.activation(0, cell("ADD", z, from_z))
    r = cell.activation(0, cell("ADD", r, from_r))
    if cell.ctx.attributes.get_int("linear_before_reset", 0):
        from_h = cell("MUL", r, cell.dense(h, candidate))
    else:
        from_h = cell.dense(cell("MUL", r, h), candidate)
    new = cell.activation(1, cell("ADD", from_x, from_h))
    return [cell("ADD", new, cell("MUL", z, cell("SUB", h, new)))]


def _rnn(cell: Cell, x: Tensor, state: list[Tensor]) -> list[Tensor]:
    from_h = cell.dense(state[0], cell.direction.hidden)
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
    lengths = _lengths(ctx, steps, batch)
    outputs: list[list[Tensor]] = []
    finals: list[list[Tensor]] = []
    for index, direction in enumerate(directions):
        cell = Cell(ctx, direction, f"direction{index}/", lengths)
        state = _initial(ctx, index, batch, cell.hidden, batch_first=batch_first)
        every = cell.dense(x, direction.inputs)
        given = _steps_of(cell, every, steps, batch)
        zeros = ctx.builder.constant(np.zeros((batch, cell.hidden), FLOAT), "zeros")
        made: list[Tensor] = []
        for step in reversed(range(steps)) if direction.backward else range(steps):
            after = STEPS[ctx.node.op_type](cell, given[step], state)
            made.append(cell.kept(step, after[0], zeros))
            state = [cell.kept(step, *each) for each in zip(after, state, strict=True)]
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
        return [_part(cell.ctx, every, 0, step, 1) for step in range(steps)]
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
        states.append(_of_direction(ctx, whole, index))
    return states


def _of_direction(ctx: NodeLowering, whole: Tensor, index: int) -> Tensor:
    """What a tensor holds for one direction."""
    return ctx.builder.reshape(_part(ctx, whole, 0, index, 1), whole.shape[1:])


def _part(ctx: NodeLowering, x: Tensor, axis: int, start: int, size: int) -> Tensor:
    """Take ``size`` elements of ``x`` along ``axis``, from ``start``; of a constant, at export."""
    if size == x.shape[axis]:
        return x
    name = f"{x.name}/{start}"
    if x.elements is not None:
        return ctx.builder.constant(x.elements.take(range(start, start + size), axis), name)
    begin = [start if other == axis else 0 for other in range(len(x.shape))]
    sizes = [size if other == axis else extent for other, extent in enumerate(x.shape)]
    taken = Tensor(name, tuple(sizes), x.dtype)
    numbers = (ctx.builder.integers(item, f"{name}/part") for item in (begin, sizes))
    ctx.builder.emit("SLICE", [x, *numbers], [taken])
    return taken


def _directions(ctx: NodeLowering) -> list[Direction]:
    """The weights of each direction."""
    kind = ctx.node.op_type
    count, gates, _ = ctx.shape(1)
    each = len(DEFAULTS[kind])
    names = gate_activations(ctx, DEFAULTS[kind] * count)
    way = ctx.attributes.get_string("direction", "forward")
    return [
        _direction(
            ctx,
            index,
            gates,
            names[index * each : (index + 1) * each],
            backward=way == "reverse" or index == 1,
        )
        for index in range(count)
    ]


def _direction(
    ctx: NodeLowering,
    index: int,
    gates: int,
    activations: tuple[GateActivation, ...],
    *,
    backward: bool,
) -> Direction:
    weight, hidden = (_of_direction(ctx, ctx.tensor(position), index) for position in (1, 2))
    scope = f"direction{index}/"
    if ctx.has(3):
        both = _of_direction(ctx, ctx.tensor(3), index)
    else:
        both = ctx.builder.constant(np.zeros(2 * gates, FLOAT), f"{scope}bias")
    peepholes = None
    if ctx.node.op_type == "LSTM" and ctx.has(PEEPHOLES):
        peepholes = _of_direction(ctx, ctx.tensor(PEEPHOLES), index)
    biases = [_part(ctx, both, 0, start, gates) for start in (0, gates)]
    inputs, state = (Dense(*pair) for pair in zip((weight, hidden), biases, strict=True))
    return Direction(inputs, state, activations, backward, peepholes)


def _lengths(ctx: NodeLowering, steps: int, batch: int) -> Tensor | None:
    """How many steps each sequence has, batch x 1; None where all have all of them."""
    if not ctx.has(LENGTHS):
        return None
    known = ctx.constant(LENGTHS)
    if known is not None and np.all(known == steps):
        return None
    return ctx.builder.reshape(ctx.tensor(LENGTHS), (batch, 1))
