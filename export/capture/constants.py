"""What a program computes from its weights alone, as constants: for what ONNX cannot express.

A window of an audio front end, the inverse or the exponential of a weight, and a basis of
polynomials may take operators that ONNX does not have. Their values are known, though.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import getitem
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument

_aten = torch.ops.aten
_MOVES = {
    *(_aten.alias.default, _aten.clone.default, _aten.detach.default, _aten.expand.default),
    *(_aten.permute.default, _aten.reshape.default, _aten.select.int, _aten.slice.Tensor),
    *(_aten.squeeze.dim, _aten.t.default, _aten.transpose.int, _aten.unsqueeze.default),
    *(_aten.view.default, _aten.contiguous.default),
}
"""What leaves a weight as it is, but for its shape: exporters read through it."""


def with_constants(program: ExportedProgram) -> ExportedProgram:
    """A functional copy of ``program``, with constants for what depends on no input."""
    functional: ExportedProgram = program.run_decompositions({})  # no value changes any more
    values = _values(functional)
    made = [
        node
        for node, value in values.items()
        if isinstance(value, torch.Tensor)
        and node.op == "call_function"
        and any(user not in values for user in node.users)
        and not _is_moved(node)
    ]
    for index, node in enumerate(made):
        _replace(functional, node, f"computed_{index}", values[node])
    graph = functional.graph_module.graph
    graph.eliminate_dead_code()
    functional.graph_module.recompile()
    return functional


def _values(program: ExportedProgram) -> dict[fx.Node, Any]:
    """The weights, and what is computed from them and from nothing else."""
    found: dict[fx.Node, Any] = {}
    weights = _weights(program)
    for node in program.graph.nodes:
        if node.name in weights:
            found[node] = weights[node.name]
        elif _is_certain(node) and all(each in found for each in node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, node.kwargs), found.__getitem__)
            found[node] = node.target(*args, **kwargs)
    return found


def _is_certain(node: fx.Node) -> bool:
    """Whether ``node`` calls a function that gives the same each time."""
    if node.op != "call_function":
        return False
    operator = node.target
    if isinstance(operator, torch._ops.OpOverload):
        return torch.Tag.nondeterministic_seeded not in operator.tags
    return operator is getitem


def _weights(program: ExportedProgram) -> Mapping[str, torch.Tensor]:
    """Parameters, buffers and constant tensors by the names of their placeholders."""
    tensors = {**program.state_dict, **program.constants}
    return {
        spec.arg.name: tensors[spec.target]
        for spec in program.graph_signature.input_specs
        if isinstance(spec.arg, TensorArgument)
        and spec.target is not None
        and isinstance(tensors.get(spec.target), torch.Tensor)
    }


def _is_moved(node: fx.Node) -> bool:
    """Whether ``node`` is a weight but for its shape."""
    while node.op == "call_function":
        if node.target not in _MOVES:
            return False
        node = node.all_input_nodes[0]
    return True


def _replace(program: ExportedProgram, node: fx.Node, name: str, value: torch.Tensor) -> None:
    """Let a constant take the place of ``node``."""
    graph = program.graph_module.graph
    with graph.inserting_before(next(iter(graph.nodes))):
        constant = graph.placeholder(name)
    constant.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(constant)
    spec = InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(constant.name), name)
    program.graph_signature.input_specs.insert(0, spec)
    program.constants[name] = value.detach().contiguous()
