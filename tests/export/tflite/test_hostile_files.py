"""Damaged and hostile .onnx files end in one clear error, soon and in little memory."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.errors import EdgeconvError
from edgeconv.export.capture.onnx_file import capture_file
from edgeconv.export.tflite import lower
from support.lowering import Net

pytestmark = pytest.mark.slow

SECONDS = 5.0  # one mutant; a slow machine included, a hang not
KIBIBYTES = 600_000  # what all of them together may add to this process

Mutation = Callable[[onnx.ModelProto, random.Random], None]


def subject() -> onnx.ModelProto:
    """A small network with attributes, axes, shapes and indices to go wrong."""
    rng = np.random.default_rng(0)
    net = Net(opset=20)
    x = net.input("x", (1, 3, 8, 8))
    weight = net.constant(rng.normal(size=(4, 3, 3, 3)).astype(np.float32))
    y = net.op("Conv", x, weight, pads=(1, 1, 1, 1), strides=(1, 1), dilations=(1, 1))
    y = net.op("MaxPool", net.op("Relu", y), kernel_shape=(2, 2), strides=(2, 2))
    y = net.op("Concat", y, net.op("Sigmoid", y), axis=1)
    y = net.op("Resize", y, "", net.constant(np.array([1, 1, 2, 2], np.float32)), mode="linear")
    y = net.op("Pad", y, net.constant((0, 0, 1, 1, 0, 0, 1, 1)))
    y = net.op("Slice", y, *map(net.constant, ([1], [9], [2])))
    y = net.op("Transpose", net.op("Reshape", y, net.constant((1, 4, 2, -1))), perm=(0, 2, 1, 3))
    y = net.op("Gather", y, net.constant((1, 0)), axis=2)
    y = net.op("ReduceMean", y, net.constant((1, 2)), keepdims=0)
    y = net.op("Softmax", net.op("Expand", y, net.constant((2, 80))), axis=-1)
    return net.output(net.op("Tile", y, net.constant((1, 2)))).proto()


def any_node(model: onnx.ModelProto, rng: random.Random) -> onnx.NodeProto:
    return rng.choice(list(model.graph.node))


def all_names(model: onnx.ModelProto) -> list[str]:
    return [name for node in model.graph.node for name in (*node.input, *node.output)]


def rewired(model: onnx.ModelProto, rng: random.Random) -> None:
    """Another input: cycles, wrong types, wrong shapes."""
    node = any_node(model, rng)
    node.input[rng.randrange(len(node.input))] = rng.choice([*all_names(model), "nowhere", ""])


def renamed(model: onnx.ModelProto, rng: random.Random) -> None:
    any_node(model, rng).output[0] = rng.choice(all_names(model))


def another_operator(model: onnx.ModelProto, rng: random.Random) -> None:
    kinds = ["Conv", "Add", "Reshape", "Gather", "ConstantOfShape", "Loop", "Einsum", "Blob"]
    any_node(model, rng).op_type = rng.choice(
        [*kinds, "TopK", "Range", "OneHot", "LSTM", "Unsqueeze", "Split", "ScatterND", "Trilu"]
    )


def another_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    node = any_node(model, rng)
    values = [-1, 0, 7, 2**31, 2**62, -(2**63), 0.5, float("nan"), "x", (0, 0), (2**40,) * 2, (1,)]
    names = ["axis", "perm", "pads", "strides", "group", "kernel_shape", "mode", "dilations", "to"]
    name = rng.choice([item.name for item in node.attribute] + names)
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, rng.choice(values))])


def another_number(model: onnx.ModelProto, rng: random.Random) -> None:
    """One number of an attribute of a node, of the type that it has."""
    found = [item for node in model.graph.node for item in node.attribute if item.type in (2, 7)]
    item = rng.choice(found)
    number = rng.choice([-2, -1, 0, 1, 2, 3, 5, 2**20, 2**31 - 1, 2**40, 2**62])
    if item.type == onnx.AttributeProto.INT:
        item.i = number
    elif item.ints:
        item.ints[rng.randrange(len(item.ints))] = number


def another_constant(model: onnx.ModelProto, rng: random.Random) -> None:
    """Other elements, as many, mostly of the type that they have."""
    tensor = rng.choice(list(model.graph.initializer))
    array = numpy_helper.to_array(tensor)
    number = rng.choice([-9, -1, 0, 1, 3, 5, 10**6, 2**31, 2**45, 2**62, -(2**63)])
    dtype = rng.choice([array.dtype, array.dtype, "int64", "float32", "int32", "bool"])
    array = array.copy().astype(np.float64)
    flat = array.reshape(-1)
    flat[rng.randrange(flat.size) :] = number
    with np.errstate(all="ignore"):
        changed = array.astype(dtype)
    tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))


def dropped_constant(model: onnx.ModelProto, rng: random.Random) -> None:
    del model.graph.initializer[rng.randrange(len(model.graph.initializer))]


def other_dims(model: onnx.ModelProto, rng: random.Random) -> None:
    """A constant that says another shape than it has elements for, up to gigantic ones."""
    tensor = rng.choice(list(model.graph.initializer))
    del tensor.dims[:]
    tensor.dims.extend(rng.choice([(), (0,), (2**40,), (2**20,) * 3, (-1,), (1, 2, 3), (2**62, 4)]))


def another_input(model: onnx.ModelProto, rng: random.Random) -> None:
    shape = rng.choice([(), (0,), (1, 3, 8, 8, 8), (1, 3, 2**20, 2**20), (2**62,) * 4, (-5, 3)])
    kind = rng.choice([1, 1, 2, 6, 7, 8, 9, 10, 11, 14, 16, 17, 99])
    value = model.graph.input[0]
    value.type.tensor_type.elem_type = kind
    del value.type.tensor_type.shape.dim[:]
    for size in shape:
        value.type.tensor_type.shape.dim.add().dim_value = size


def external(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(list(model.graph.initializer))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    places = ["../../etc/passwd", "/etc/passwd", "missing.bin", "", "."]
    for key, text in (("location", rng.choice(places)), ("length", str(rng.choice([-1, 2**60])))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, text


def dropped_node(model: onnx.ModelProto, rng: random.Random) -> None:
    del model.graph.node[rng.randrange(len(model.graph.node))]


def shuffled(model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = list(model.graph.node)
    rng.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def another_version(model: onnx.ModelProto, rng: random.Random) -> None:
    model.opset_import[0].version = rng.choice([-3, 0, 1, 7, 12, 15, 24, 99, 2**40])


STRUCTURAL: list[Mutation] = [
    *(rewired, renamed, another_operator, another_attribute, another_constant, dropped_constant),
    *(another_number, another_number, another_constant, another_constant, other_dims),
    *(another_input, external, dropped_node, shuffled, another_version),
]


def mutate(model: onnx.ModelProto, rng: random.Random) -> None:
    """One to three mutations; one that does not fit what the others left is none."""
    for _ in range(rng.randrange(1, 4)):
        with suppress(ValueError, onnx.checker.ValidationError):
            rng.choice(STRUCTURAL)(model, rng)


def bytes_changed(data: bytes, rng: random.Random) -> bytes:
    """A few bytes replaced, a piece cut out or doubled, or the end missing."""
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.randrange(1, 60))
    kind = rng.randrange(4)
    if kind == 0:
        return data[:start]
    if kind == 1:
        return data[:start] + data[end:]
    if kind == 2:
        return data[:end] + data[start:]
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def outcome(path: Path) -> EdgeconvError | None:
    """Capture and lower a file; returns its error. Other exceptions are the test's failure."""
    try:
        lower(capture_file(path, None, input_size=None, batch=None).graph)
    except EdgeconvError as error:
        return error
    return None


@pytest.mark.parametrize("seed", range(8))
def test_mutants(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = subject()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(40):
        rng = random.Random(seed * 1000 + number)
        if number % 4 == 0:
            data = bytes_changed(model.SerializeToString(), rng)
        else:
            mutant = onnx.ModelProto()
            mutant.CopyFrom(model)
            mutate(mutant, rng)
            data = mutant.SerializeToString()
        path.write_bytes(data)
        start = time.perf_counter()
        error = outcome(path)
        assert time.perf_counter() - start < SECONDS, number
        assert error is None or "\n" not in error.message + error.hint, number
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < KIBIBYTES


def test_the_subject_itself_is_lowered(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(subject(), path)
    assert outcome(path) is None
