"""Files that ONNX Runtime or onnx's converter refuse, although they say plainly what they mean."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from edgeconv.bundle import Layout
from edgeconv.cli import cli
from edgeconv.errors import CaptureError, DataError, EdgeconvError
from edgeconv.export import export
from edgeconv.export.runtimes import open_runner
from edgeconv.limits import LimitExceeded

pytestmark = pytest.mark.slow

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)


def reals(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def value(name: str, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def sparse(name: str, values: Array, places: Sequence[int], *dims: int) -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.array(places, np.int64))
    return helper.make_sparse_tensor(numpy_helper.from_array(values, name), indices, dims)


def results(path: Path, out: Path, *inputs: Array) -> list[tuple[list[str], list[Array]]]:
    """The names and values of the outputs of each file that an export writes."""
    bundle = export(path, out=out, layout=Layout.NCHW)
    return [
        (
            [info.name for info in a.outputs],
            open_runner(bundle.file(a), a.format, a.inputs, a.outputs).run(inputs),
        )
        for a in bundle.manifest.artifacts
    ]


@pytest.mark.parametrize("opset", [17, 20])
def test_names_outputs_and_weights(opset: int, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "same"),
        helper.make_node("Relu", ["h"], ["y"], "same"),
    ]
    graph = helper.make_graph(
        nodes, "g", [value("x", 2, 4)], [value("y", 2, 3), value("x", 2, 4), value("y", 2, 3)],
        sparse_initializer=[sparse("w", np.float32([2, -3]), [0, 5], 4, 3)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    x = reals(2, 4)
    w = np.zeros(12, np.float32)
    w[[0, 5]] = 2, -3
    y = np.maximum(x @ w.reshape(4, 3), 0)
    for names, (first, same, second) in results(tmp_path / "net.onnx", tmp_path / "b", x):
        assert names == ["y", "x_1", "y_1"]
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(same, x)
        np.testing.assert_allclose(first, y, rtol=1e-6)


@pytest.mark.parametrize("opset", [17, 20])
def test_functions_of_the_file(opset: int, tmp_path: Path) -> None:
    """One calls another, and each has an opset of its own."""
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}, "own" : 1]>'
        """net (float[2, 3] x) => (float[2, 3] y) { y = own.twice <slope = 0.25> (x) }
        <domain: "own", opset_import: ["" : 17, "own" : 1]>
        twice <slope> (a) => (b) { c = Add (a, a) b = own.leak <slope: float = @slope> (c) }
        <domain: "own", opset_import: ["" : 17]>
        leak <slope> (a) => (b) { b = LeakyRelu <alpha: float = @slope> (a) }"""
    )
    onnx.save(model, tmp_path / "net.onnx")
    x = reals(2, 3)
    for _, (got,) in results(tmp_path / "net.onnx", tmp_path / "b", x):
        np.testing.assert_allclose(got, np.where(x > 0, 2 * x, x / 2), rtol=1e-6)


def test_sizes_outside_the_file(tmp_path: Path) -> None:
    nodes = [helper.make_node("Resize", ["x", "", "s"], ["r"], mode="nearest")]
    nodes += [helper.make_node("Reshape", ["r", "d"], ["y"])]
    constants = {"s": np.float32([1, 1, 2, 2]), "d": np.int64([1, -1])}
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", [value("x", 1, 1, 2, 2)], [value("y", 1, 16)], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    x = reals(1, 1, 2, 2)
    for _, (got,) in results(path, tmp_path / "b", x):
        np.testing.assert_array_equal(got, x.repeat(2, 2).repeat(2, 3).reshape(1, 16))
    (tmp_path / "w.bin").unlink()
    with pytest.raises(CaptureError, match="hint: copy the files of its weights, too"):
        export(path, out=tmp_path / "c")


def test_an_opset_from_before_the_runtime(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w", "c"], ["y"], broadcast=1)]
    constants = [numpy_helper.from_array(reals(*s), n) for n, s in {"w": (3, 4), "c": (4,)}.items()]
    graph = helper.make_graph(nodes, "g", [value("x", 2, 3)], [value("y", 2, 4)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=4)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(EdgeconvError, match=r"Gemm\(6\).*\nhint: .*with opset 7 or later"):
        export(tmp_path / "net.onnx", out=tmp_path / "b")


@pytest.mark.parametrize(
    ("places", "dims", "error"),
    [
        ([0, 99], (4, 3), CaptureError),
        ([-1, 5], (4, 3), CaptureError),
        ([0], (4, 3), CaptureError),
        ([0, 5], (4, -3), CaptureError),
        ([0, 5], (2**40, 2**40), LimitExceeded),
    ],
)
def test_sparse_weights_that_make_no_sense(
    places: list[int], dims: tuple[int, ...], error: type[Exception], tmp_path: Path
) -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [value("x", 2, 4)],
        [value("y", 2, 3)], sparse_initializer=[sparse("w", reals(2), places, *dims)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(error):
        export(tmp_path / "net.onnx", out=tmp_path / "b")


@pytest.mark.parametrize(
    ("opsets", "said"),
    [
        ([17, 11], "it states opset 17 and opset 11"),
        ([0], "states opset 0, and onnx"),
        ([-1], "states opset -1, and onnx"),
        ([9999], "states opset 9999, and onnx"),
    ],
)
def test_opsets_that_make_no_sense(opsets: list[int], said: str, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "g", [value("x", 1, 4)], [value("y", 1, 4)]
    )
    model = helper.make_model(graph, ir_version=8)
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid("", each) for each in opsets)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(CaptureError, match=said) as caught:
        export(tmp_path / "m.onnx", out=tmp_path / "out")
    assert caught.value.hint


def test_a_file_without_outputs(tmp_path: Path) -> None:
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value("x", 1, 4)], [])
    onnx.save(helper.make_model(graph, ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(CaptureError, match=r"m\.onnx has no outputs"):
        export(tmp_path / "m.onnx", out=tmp_path / "out")


@pytest.mark.parametrize("location", ["pipe", "folder"])
def test_weights_in_what_is_no_file(location: str, tmp_path: Path) -> None:
    """Whoever opens a pipe waits until something is written into it."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    weights = numpy_helper.from_array(reals(4, 3), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [value("x", 2, 4)],
        [value("y", 2, 3)],
        [weights],
    )
    set_external_data(graph.initializer[0], location)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CaptureError, match=f"weights in '{location}', which is not a file"):
        export(tmp_path / "m.onnx", out=tmp_path / "out")


@pytest.mark.parametrize("name", ["a\0b", "a" * 5000])
def test_weights_in_a_file_of_an_impossible_name(name: str, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["w"], ["y"])],
        "g",
        [],
        [value("y", 4)],
        [numpy_helper.from_array(reals(4), "w")],
    )
    set_external_data(graph.initializer[0], name)
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph, ir_version=9).SerializeToString())
    shown = CliRunner().invoke(cli, ["inspect", str(tmp_path / "m.onnx")])
    assert isinstance(shown.exception, DataError)
    with pytest.raises(CaptureError):
        export(tmp_path / "m.onnx", out=tmp_path / "out")


@pytest.mark.parametrize("axis", [0, 9])
def test_scales_that_do_not_fit_their_weights(axis: int, tmp_path: Path) -> None:
    numbers = {
        "c": np.ones((4, 3), np.int8),
        "s": np.ones(2, np.float32),
        "z": np.zeros(2, np.int8),
    }
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["c", "s", "z"], ["w"], name="d", axis=axis),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        "g",
        [value("x", 2, 4)],
        [value("y", 2, 3)],
        [numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(CaptureError, match=r"d \(DequantizeLinear\) has scales"):
        export(tmp_path / "m.onnx", out=tmp_path / "out")
