"""Put right what ONNX Runtime and onnx's converter refuse in files that say plainly what they mean.

Files of other tools have nodes of one name, outputs that are inputs, sparse weights, and shapes and
scales outside the file.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeconv.errors import CaptureError
from edgeconv.export.proto_graphs import all_graphs
from edgeconv.limits import TENSOR_BYTES

_SMALL_BYTES = 1024  # what onnx and PyTorch leave inside the file


def has_small_outside(proto: onnx.ModelProto) -> bool:
    """Whether a file keeps tensors outside that are small, as shapes and scales are.

    ONNX Runtime infers shapes without what is outside, and refuses a graph that needs it.

    Args:
        proto: The file without its external data.
    """
    outside = (
        {entry.key: entry.value for entry in tensor.external_data}
        for tensor in proto.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    )
    return any(int(entries.get("length", 0)) < _SMALL_BYTES for entries in outside)


def make_well_formed(proto: onnx.ModelProto) -> bool:
    """Change ``proto`` into what it means, in a form that runs.

    Returns:
        Whether anything had to be changed.

    Raises:
        CaptureError: The places of a sparse weight are not within it.
        LimitExceeded: A sparse weight has too many elements.
    """
    changes = [
        _fill_sparse(proto.graph),
        _part_outputs(proto.graph),
        _part_metadata(proto),
        *[_open_negative(graph) for graph in all_graphs(proto.graph)],
        *[_part_names(graph) for graph in all_graphs(proto.graph)],
    ]
    return any(changes)


def _fill_sparse(graph: onnx.GraphProto) -> bool:
    """Write sparse weights with their zeros."""
    for sparse in graph.sparse_initializer:
        values = numpy_helper.to_array(sparse.values)
        places = numpy_helper.to_array(sparse.indices)
        size = int(np.prod([int(dim) for dim in sparse.dims], dtype=object))
        TENSOR_BYTES.check(size * values.itemsize, f"the sparse weight {sparse.values.name!r} has")
        if places.ndim == 2 and places.shape[1] == len(sparse.dims):
            sides = np.array(sparse.dims)
            fits = bool(((places >= 0) & (places < sides)).all())
            places = np.ravel_multi_index(tuple(places.T), tuple(sparse.dims)) if fits else places
        else:
            fits = places.ndim == 1 and bool(((places >= 0) & (places < size)).all())
        if not fits or places.shape != values.shape:
            raise CaptureError(
                f"the places of the sparse weight {sparse.values.name!r} are not one for each "
                f"value within {list(sparse.dims)}",
                hint="make the file again",
            )
        whole = np.zeros(size, values.dtype)
        whole[places] = values
        whole = whole.reshape(tuple(sparse.dims))
        graph.initializer.append(numpy_helper.from_array(whole, sparse.values.name))
    changed = bool(graph.sparse_initializer)
    del graph.sparse_initializer[:]
    return changed


def _open_negative(graph: onnx.GraphProto) -> bool:
    """Leave sizes below zero open, which is what they mean in files of older tools."""
    stated = [
        dim
        for value in (*graph.input, *graph.value_info, *graph.output)
        for dim in value.type.tensor_type.shape.dim
        if dim.dim_value < 0
    ]
    for dim in stated:
        dim.ClearField("dim_value")
    return bool(stated)


def _part_outputs(graph: onnx.GraphProto) -> bool:
    """Give an output that is an input or another output as well a name and value of its own."""
    taken = {value.name for value in graph.input}
    used = {name for node in graph.node for name in (*node.input, *node.output)}
    changed = False
    for output in graph.output:
        if output.name in taken:
            own = _free(output.name, taken | used)
            graph.node.append(helper.make_node("Identity", [output.name], [own]))
            output.name = own
            changed = True
        taken.add(output.name)
    return changed


def _part_metadata(proto: onnx.ModelProto) -> bool:
    """Keep the last entry of each key that a file states several times; onnx refuses such files."""
    entries = {entry.key: entry.value for entry in proto.metadata_props}
    if len(entries) == len(proto.metadata_props):
        return False
    helper.set_model_props(proto, entries)
    return True


def _part_names(graph: onnx.GraphProto) -> bool:
    """Number the nodes that have the name of one before."""
    everywhere = {node.name for node in graph.node}
    seen: set[str] = set()
    changed = False
    for node in graph.node:
        if node.name in seen:
            node.name = _free(node.name, everywhere)
            everywhere.add(node.name)
            changed = True
        seen |= {node.name} - {""}
    return changed


def _free(name: str, taken: set[str]) -> str:
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"
