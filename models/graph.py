"""A module as a graph of ATen operators, without computing or allocating anything."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn


class TraceError(RuntimeError):
    """A module cannot be turned into a graph."""


@dataclass(frozen=True)
class Traced:
    """The nodes of a module in order of execution, and the qualified name of each parameter."""

    nodes: tuple[fx.Node, ...]
    parameters: Mapping[str, str]


def trace(module: nn.Module, shape: tuple[int, ...]) -> Traced:
    """Trace ``module`` in eval mode on one input of ``shape``, batch dimension included.

    It happens on the meta device: shapes flow, values do not. The module is left as it is.

    Raises:
        TraceError: the module fails on that shape, or its control flow depends on values.
    """
    shell = _on_meta(module)
    try:
        with _unlogged():
            program = torch.export.export(shell, (torch.zeros(shape, device="meta"),), strict=False)
    except Exception as error:  # the module's own code: anything can come out of it
        size = "x".join(map(str, shape))
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise TraceError(
            f"{type(module).__name__} cannot be traced on an input of {size}: {reason}"
        ) from error
    nodes = tuple(
        node for node in program.graph.nodes if node.op in ("placeholder", "call_function")
    )
    return Traced(nodes, program.graph_signature.inputs_to_parameters)


@contextmanager
def _unlogged() -> Iterator[None]:
    # The tracer logs a traceback of what it also raises.
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _on_meta(module: nn.Module) -> nn.Module:
    memo: dict[int, object] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        empty: Tensor = torch.empty_like(tensor, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
    return copy.deepcopy(module, memo).eval()


def operator(node: fx.Node) -> str:
    """The operator's plain name: ``conv2d`` for ``aten.conv2d.default``, ``relu`` for ``relu_``."""
    if node.op == "placeholder":
        return "input"
    schema = getattr(node.target, "_schema", None)
    name = getattr(node.target, "__name__", "") if schema is None else schema.name.split("::")[-1]
    return str(name).rstrip("_")


def argument(node: fx.Node, name: str) -> object:
    """An argument of the operator by its name in the schema, or its default."""
    schema = getattr(node.target, "_schema", None)
    for index, declared in enumerate(schema.arguments if schema else ()):
        if declared.name == name:
            given = node.args[index] if index < len(node.args) else node.kwargs.get(name)
            return declared.default_value if given is None else given
    raise KeyError(f"{node.target} has no argument {name!r}")


def shape_of(node: object) -> tuple[int, ...]:
    """The shape of a node's tensor; () where it is not one tensor."""
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def module_name(node: fx.Node) -> str:
    """Qualified name of the innermost module that the node comes from; "" for the network."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]) if stack else ""
