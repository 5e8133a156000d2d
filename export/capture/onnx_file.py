"""Capture: an ``nn.Module`` or an ``.onnx`` file becomes a float ONNX graph with static shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import onnx
import onnx_ir as ir

from edgeconv.errors import CaptureError, EdgeconvError, UsageError, first_line
from edgeconv.export.capture.cut import cut
from edgeconv.export.capture.example_batch import warn_of_batch, warn_of_open_batch
from edgeconv.export.capture.float32 import write_in_float32
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.capture.loop_shapes import state_loop_shapes
from edgeconv.export.capture.old_opsets import convert_opset, opset_of
from edgeconv.export.capture.read_onnx import MAX_PROTO_BYTES, cause_of, read_onnx_file
from edgeconv.export.capture.resize_sizes import state_sizes
from edgeconv.export.capture.runtime_operators import DOMAIN, WRITTEN, write_as_standard
from edgeconv.export.capture.sizes import refuse_huge_values
from edgeconv.export.capture.stated_types import misfit
from edgeconv.export.capture.transposed_pads import state_pads
from edgeconv.export.capture.wide_sums import narrow_sums
from edgeconv.export.fatal_inference import refuse_fatal_inference
from edgeconv.export.opset import MAX_OPSET, MIN_OPSET
from edgeconv.export.proto_graphs import all_nodes
from edgeconv.export.shape_inference import with_shapes
from edgeconv.export.traits import Trait, operators
from edgeconv.export.written_functions import without_functions
from edgeconv.near_names import did_you_mean

_SHAPED_BY_SECOND = operators(Trait.SHAPED_BY_SECOND)


@dataclass(frozen=True)
class CapturedFile:
    """What an ``.onnx`` file became.

    Attributes:
        graph: The graph that the passes start from.
        itself: What the files are held against: the file, or where float32 files cannot compute
            what it does, the network in float32 as an ONNX file of its own.
    """

    graph: ir.Model
    itself: Path | bytes


def capture_file(
    path: Path,
    opset: int | None,
    *,
    highest_opset: int = MAX_OPSET,
    liked_opset: int = MIN_OPSET,
    input_size: tuple[int, ...] | None,
    batch: int | None,
    stated: Mapping[str, tuple[int, ...]] | None = None,
    cut_outputs: Sequence[str] = (),
    traced: int | None = None,
    from_example: bool = False,
) -> CapturedFile:
    """Load an ``.onnx`` file of any producer: check it, raise its opset, fix its shapes.

    It may be a float graph or a QDQ one.

    Args:
        path: the file; its external weights have to lie in its own folder.
        highest_opset: the highest opset that the graph may have.
        opset: the opset to convert to; None keeps the file's own where it is 18 to
            ``highest_opset``.
        liked_opset: what a lower opset of the file is raised to if it can be, where ``opset`` is
            None.
        input_size: (height, width) or (channels, height, width) for the dimensions that the file
            leaves open, or the whole shape of an input; a stated dimension that differs is an
            error.
        batch: the batch size where the file leaves it open, default 1.
        stated: the whole shapes of inputs by their names.
        cut_outputs: names of tensors or nodes that become the outputs; none for the file's own.
        traced: the batch that stands for every other one, which no other size may be.
        from_example: whether ``stated`` are the shapes of an example, whose batch becomes that of
            the files where they leave it open.

    Raises:
        UsageError: an open dimension was not given, or a stated one contradicts the request.
        CaptureError: the file is damaged or invalid, or its opset cannot be converted.
    """
    with _damage_named(path):
        proto, changed = read_onnx_file(path)
        itself: Path | bytes = path
        if changed and proto.ByteSize() < MAX_PROTO_BYTES:
            itself = proto.SerializeToString()
        if cut_outputs:
            proto = _cut(proto, cut_outputs, path)
            itself = proto.SerializeToString()
        _refuse_input_shapes(proto, path)
        _refuse_lost_statistics(proto, path)
        state_pads(proto, path)
        opened = _fix_shapes(proto, path, input_size, batch, stated or {}, traced, from_example)
        refuse_fatal_inference(proto, path, _inferred)
        proto = without_functions(proto, path)
        if opset is None:
            proto = _raised(proto, min(liked_opset, highest_opset))
        proto = _convert_opset(proto, path, opset, highest_opset)
        kinds = {node.op_type for node in all_nodes(proto.graph)}
        proto = _in_the_standard(proto, path)
        narrow_sums(proto)
        state_sizes(proto, path)
        in_float32 = write_in_float32(proto, path, kinds)
        proto = in_float32 or proto
        for node in proto.graph.node:
            # Later passes would number what has no name; its result is found in the file.
            node.name = node.name or next(filter(None, node.output), "")
        try:
            state_loop_shapes(proto)
            proto = _inferred(proto)
        except Exception as error:
            raise misfit(path, error, proto, opened) from error
        refuse_huge_values(proto, path)
        if in_float32 is not None:
            itself = in_float32.SerializeToString()
        return CapturedFile(ir.from_proto(proto), itself)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Name the file that cannot be read as a whole.

    Protobuf decodes a text when it is first read, which may be late, and gives bytes that are not
    UTF-8 as they are in some places. onnx-ir makes errors of its own of what it meets.
    """
    try:
        yield
    except EdgeconvError:
        raise
    except Exception as error:
        met = cause_of(error)
        if met is error and not isinstance(met, UnicodeDecodeError):
            raise
        of_text = isinstance(met, (UnicodeDecodeError, TypeError))  # the latter of bytes
        what = "one of its names or texts is not UTF-8" if of_text else first_line(met)
        raise CaptureError(
            f"{path} is not a valid ONNX file: {what}", hint="make or copy it again"
        ) from error


def _inferred(proto: onnx.ModelProto) -> onnx.ModelProto:
    """``proto`` with the shapes that follow from its inputs.

    ONNX does not infer those of GroupNormalization, whose result is like its input.
    """
    nodes = proto.graph.node
    own = {at: node for at, node in enumerate(nodes) if node.op_type == "GroupNormalization"}
    changed = proto
    if own:
        changed = onnx.ModelProto()
        changed.CopyFrom(proto)
    for at, node in own.items():
        identity = onnx.helper.make_node("Identity", node.input[:1], node.output)
        changed.graph.node[at].CopyFrom(identity)
    inferred = with_shapes(changed, strict=True)
    for at, node in own.items():
        inferred.graph.node[at].CopyFrom(node)
    return inferred


def _cut(proto: onnx.ModelProto, names: Sequence[str], path: Path) -> onnx.ModelProto:
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    for node in model.graph:
        node.name = node.name or next((each.name for each in node.outputs if each.name), "")
    cut(model, names, str(path))
    return ir.to_proto(model)


def _refuse_input_shapes(proto: onnx.ModelProto, path: Path) -> None:
    """An input that is a shape leaves nothing static, whatever shape the file states."""
    inputs = {value.name for value in proto.graph.input}
    for node in proto.graph.node:
        second = "".join(node.input[1:2])  # before opset 5 Reshape has the shape as an attribute
        if node.op_type in _SHAPED_BY_SECOND and second in inputs:
            raise CaptureError(
                f"{path}: the shape that {node.name or node.output[0]} ({node.op_type}) gives is "
                f"the input {second!r}, and files have fixed shapes",
                hint=f"make {second!r} a constant",
            )


def _refuse_lost_statistics(proto: onnx.ModelProto, path: Path) -> None:
    """ONNX Runtime dies of a BatchNormalization that trains and does not return its statistics."""
    for node in all_nodes(proto.graph):
        trains = any(item.name == "training_mode" and item.i for item in node.attribute)
        if (
            node.op_type == "BatchNormalization"
            and trains
            and len([*filter(None, node.output)]) < 3
        ):
            raise CaptureError(
                f"{path}: {node.name or node.output[0]} (BatchNormalization) is in training mode, "
                "and does not return its statistics",
                hint="export the network in eval mode",
            )


def _fix_shapes(
    proto: onnx.ModelProto,
    path: Path,
    input_size: tuple[int, ...] | None,
    batch: int | None,
    stated: Mapping[str, tuple[int, ...]],
    traced: int | None = None,
    from_example: bool = False,
) -> bool:
    """Make the graph's inputs static, and say whether any was open.

    The batch is that of the inputs that leave it open, if there are any; others keep their size.
    Where an input was open, the stated shapes of other values are dropped: shape inference makes
    them anew.
    """
    inputs = list(proto.graph.input)
    ranks = {len(value.type.tensor_type.shape.dim) for value in inputs}
    if input_size is not None and not any(_fits(input_size, rank) for rank in ranks):
        text = ("," if isinstance(input_size, InputShape) else "x").join(map(str, input_size))
        raise UsageError(
            f"{path}: --input-size {text} fits none of its inputs, which have "
            f"{' and '.join(map(str, sorted(ranks))) or 'no'} dimensions",
            hint="give each input its own, with --input NAME:SHAPE",
        )
    _refuse_unknown(path, stated, [value.name for value in inputs])
    opened = False
    ones = []
    if from_example and traced is None:
        warn_of_batch(
            [
                stated[each.name]
                for each in inputs
                if each.name in stated and _leaves_batch_open(each)
            ]
        )
    any_open = any(map(_leaves_batch_open, inputs))
    for graph_input in inputs:
        dims = graph_input.type.tensor_type.shape.dim
        has_batch = _leaves_batch_open(graph_input) or not any_open
        if not has_batch and graph_input.name not in stated and traced is not None:
            _refuse_size(path, graph_input, traced)
        wanted = _wanted_shape(len(dims), input_size, batch if has_batch else None)
        if graph_input.name in stated:
            wanted = _stated_shape(path, graph_input.name, stated[graph_input.name], len(dims))
        for axis, dim in enumerate(dims):
            asked = wanted[axis]
            if dim.HasField("dim_value") and dim.dim_value >= 0:
                if dim.dim_value == 0 or asked not in (None, dim.dim_value):
                    _refuse_fixed(path, graph_input, axis, asked, dynamic=traced is not None)
                continue
            if asked is None and axis == 0:
                asked = 1
                ones.append(graph_input.name)
            if asked is None:
                _refuse_open(path, graph_input)
            opened = True
            dim.Clear()
            dim.dim_value = asked
    if ones:
        warn_of_open_batch(path.name, ones)
    if opened:
        del proto.graph.value_info[:]
        for output in proto.graph.output:
            output.type.tensor_type.ClearField("shape")
    return opened


def _refuse_fixed(
    path: Path, value: onnx.ValueInfoProto, axis: int, asked: int | None, *, dynamic: bool
) -> NoReturn:
    """Say why a size that the file states cannot be."""
    size = value.type.tensor_type.shape.dim[axis].dim_value
    if size == 0:
        raise UsageError(
            f"{path}: input {value.name!r} has a size of 0 in dimension {axis}, so there is "
            "nothing to compute",
            hint="make the file anew with another size, or with an open one",
        )
    if axis == 0 and dynamic:
        raise UsageError(
            f"{path}: --dynamic-batch needs an open batch, and the input {value.name!r} has a "
            f"fixed one of {size}",
            hint="leave --dynamic-batch out, or make the file anew with an open batch",
        )
    raise UsageError(
        f"{path}: input {value.name!r} has a fixed size of {size} in dimension {axis}, not {asked}",
        hint="" if axis else "leave --batch out, or make the file anew with an open batch",
    )


def _refuse_open(path: Path, value: onnx.ValueInfoProto) -> NoReturn:
    """Say which dimensions but the first nothing states, with the whole shape as it is."""
    dims = value.type.tensor_type.shape.dim
    axes = [axis for axis, dim in enumerate(dims) if axis and dim.dim_value <= 0]
    several = "s" if len(axes) > 1 else ""
    sides = ",".join(str(dim.dim_value) if dim.dim_value > 0 else "?" for dim in dims)
    names = "" if axes == [*range(1, len(dims))] else f" of ({sides})"
    raise UsageError(
        f"{path}: input {value.name!r} leaves dimension{several} "
        f"{' and '.join(map(str, axes))}{names} open",
        hint=f"give {'them' if several else 'it'} with --input-size, or the whole shape with "
        f"--input {value.name}:SHAPE",
    )


def _leaves_batch_open(value: onnx.ValueInfoProto) -> bool:
    dims = value.type.tensor_type.shape.dim
    return bool(dims) and dims[0].dim_value <= 0


def _refuse_size(path: Path, value: onnx.ValueInfoProto, traced: int) -> None:
    """A first dimension of the traced size would be taken for the batch."""
    if [dim.dim_value for dim in value.type.tensor_type.shape.dim[:1]] == [traced]:
        raise UsageError(
            f"{path}: --dynamic-batch traces a batch of {traced}, and the input {value.name!r}, "
            "which has no batch, has that size first",
            hint="make the file anew with that dimension open too, or leave --dynamic-batch out",
        )


def _refuse_unknown(path: Path, stated: Iterable[str], inputs: Sequence[str]) -> None:
    for name in stated:
        if name not in inputs:
            raise UsageError(
                f"{path} has no input {name!r}: it has {', '.join(map(repr, inputs)) or 'none'}",
                hint=did_you_mean(name, inputs, "name one of them"),
            )


def _stated_shape(path: Path, name: str, shape: tuple[int, ...], rank: int) -> list[int | None]:
    if len(shape) != rank:
        raise UsageError(
            f"{path}: input {name!r} has {rank} dimensions, and {len(shape)} are stated",
            hint="give its whole shape, batch first",
        )
    return list(shape)


def _wanted_shape(
    rank: int, input_size: tuple[int, ...] | None, batch: int | None
) -> list[int | None]:
    wanted: list[int | None] = [None] * rank
    if rank:
        wanted[0] = batch
    if input_size and _fits(input_size, rank):
        wanted[rank - len(input_size) :] = input_size
    return wanted


def _fits(input_size: tuple[int, ...], rank: int) -> bool:
    """Whether an input of so many dimensions takes the size: in whole, or after the batch."""
    return rank == len(input_size) if isinstance(input_size, InputShape) else rank > len(input_size)


def _raised(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """``proto`` in ``opset`` if its own is lower and can be converted, else as it is."""
    if opset_of(proto) >= opset:
        return proto
    try:
        return convert_opset(proto, opset)
    except Exception:  # the converter raises RuntimeError and its own kinds
        return proto


def _convert_opset(
    proto: onnx.ModelProto, path: Path, opset: int | None, highest: int
) -> onnx.ModelProto:
    current = opset_of(proto)
    target = opset or min(max(current, MIN_OPSET), highest)
    if current == target:
        return proto
    try:
        return convert_opset(proto, target)
    except CaptureError:
        raise
    except Exception as error:  # the converter raises RuntimeError and its own kinds
        words = first_line(error).rpartition(" failed: ")[2]  # without the converter's own source
        remedy = f"export it anew with opset {target}"
        if opset is None and target == highest < MAX_OPSET:
            remedy += (
                ", install a later onnxruntime on the device, or write TFLite files only "
                "(--format tflite)"
            )
        raise CaptureError(
            f"{path} has opset {current}, which cannot be converted to {target}: {words}",
            hint=remedy,
        ) from error


def _without_domain(domain: str) -> str:
    remedy = "export the network with standard operators only"
    if domain == DOMAIN:
        remedy += ", pass it as it was before ONNX Runtime optimized it"
    elif domain == "ai.onnx.ml":
        remedy = "compute what scikit-learn made of it outside"
    else:
        remedy += ", write the operator as a function of the file"
    return f"{remedy}, or export the part before with --cut-outputs"


def _in_the_standard(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """``proto`` with the operators of ONNX Runtime's own written as those of the standard.

    Raises:
        CaptureError: It has other operators that are not in the standard.
    """
    if any(node.op_type in WRITTEN or node.domain == DOMAIN for node in all_nodes(proto.graph)):
        model = ir.from_proto(proto)
        write_as_standard(model)
        proto = ir.to_proto(model)
    own = {function.domain for function in proto.functions}
    for node in all_nodes(proto.graph):
        if node.domain not in {"", "ai.onnx", *own}:
            raise CaptureError(
                f"{path}: {node.name or node.output[0]} ({node.op_type}) is an operator of the "
                f"domain {node.domain!r}",
                hint=_without_domain(node.domain),
            )
    return proto
