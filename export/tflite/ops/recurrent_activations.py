"""The activations of LSTM, GRU and RNN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeconv.export.tflite.emit.arithmetic import Arithmetic
from edgeconv.export.tflite.graph import Tensor
from edgeconv.export.tflite.node_lowering import NodeLowering


@dataclass(frozen=True)
class GateActivation:
    """A function of one element, with the numbers that the node states for it."""

    name: str
    alpha: float
    beta: float

    def emit(self, f: Arithmetic, x: Tensor) -> Tensor:
        """Emit the function of ``x``."""
        return _FUNCTIONS[self.name].emit(f, x, self.alpha, self.beta)


@dataclass(frozen=True)
class _Function:
    """How a function is written, and the numbers that it takes where the node states none.

    It takes as many as there are defaults. ONNX states no default where one is None, and runtimes
    have defaults of their own there.
    """

    emit: Callable[[Arithmetic, Tensor, float, float], Tensor]
    alpha: tuple[float | None, ...] = ()
    beta: tuple[float | None, ...] = ()


def _hard_sigmoid(f: Arithmetic, x: Tensor, alpha: float, beta: float) -> Tensor:
    line = f("ADD", f("MUL", x, alpha), beta)
    return f("MAXIMUM", f("MINIMUM", line, 1.0), 0.0)


def _softplus(f: Arithmetic, x: Tensor, alpha: float, beta: float) -> Tensor:
    """log(1 + exp(x)), written so that exp never overflows."""
    tail = f("LOG", f("ADD", f("EXP", f("NEG", f("ABS", x))), 1.0))
    return f("ADD", f("RELU", x), tail)


_FUNCTIONS = {
    "sigmoid": _Function(lambda f, x, alpha, beta: f("LOGISTIC", x)),
    "tanh": _Function(lambda f, x, alpha, beta: f("TANH", x)),
    "relu": _Function(lambda f, x, alpha, beta: f("RELU", x)),
    "affine": _Function(lambda f, x, a, b: f("ADD", f("MUL", x, a), b), (None,), (None,)),
    "elu": _Function(
        lambda f, x, alpha, beta: f("LEAKY_RELU", f("ELU", x), options={"alpha": alpha}), (1.0,)
    ),
    "hardsigmoid": _Function(_hard_sigmoid, (0.2,), (0.5,)),
    "leakyrelu": _Function(
        lambda f, x, alpha, beta: f("LEAKY_RELU", x, options={"alpha": alpha}), (0.01,)
    ),
    "scaledtanh": _Function(
        lambda f, x, a, b: f("MUL", f("TANH", f("MUL", x, b)), a), (None,), (None,)
    ),
    "softplus": _Function(_softplus),
    "softsign": _Function(lambda f, x, alpha, beta: f("DIV", x, f("ADD", f("ABS", x), 1.0))),
    "thresholdedrelu": _Function(
        lambda f, x, a, b: f("MUL", f("MAXIMUM", x, a), f("SIGN", f("RELU", f("SUB", x, a)))),
        (None,),
    ),
}


def gate_activations(ctx: NodeLowering, default: tuple[str, ...]) -> tuple[GateActivation, ...]:
    """The activations of a node, one after another; each takes its numbers off the lists.

    Args:
        ctx: The node.
        default: The names where it states none, as many as it has to state.

    Raises:
        UnsupportedOperator: ONNX has no such activation, or the node states another number of them.
    """
    stated = ctx.attributes.get("activations")
    names = tuple(stated.as_strings()) if stated else default
    unknown = sorted(name for name in set(names) if name.lower() not in _FUNCTIONS)
    if unknown or len(names) != len(default):
        what = unknown[0] if unknown else f"{len(names)} of them, and it has {len(default)}"
        raise ctx.unsupported(
            f"its activations are {what}", "use those of the ONNX standard, such as Sigmoid or Tanh"
        )
    alphas, betas = (
        list(ctx.attributes.get_floats(name, ()))
        for name in ("activation_alpha", "activation_beta")
    )
    found = []
    for name in names:
        function = _FUNCTIONS[name.lower()]
        taken = [
            _next(ctx, f"activation_{what}", numbers, defaults, name)
            for what, numbers, defaults in (
                ("alpha", alphas, function.alpha),
                ("beta", betas, function.beta),
            )
        ]
        found.append(GateActivation(name.lower(), *taken))
    return tuple(found)


def _next(
    ctx: NodeLowering,
    attribute: str,
    stated: list[float],
    defaults: tuple[float | None, ...],
    name: str,
) -> float:
    """The next number that a node states; a function that takes none leaves it to others."""
    if not defaults:
        return 0.0
    if stated:
        return stated.pop(0)
    (default,) = defaults
    if default is None:
        raise ctx.unsupported(
            f"its activation {name} has no {attribute}, for which ONNX has no default",
            f"state {attribute}",
        )
    return default
