"""ONNX files whose inputs are not a plain batch of images: several, integers, regions, strings."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.bundle import Bundle, Format, Precision, TensorInfo
from edgeconv.errors import CaptureError, EdgeconvError, MismatchedData, UnsupportedOperator
from edgeconv.export import export
from edgeconv.export.data.integer_ranges import IntegerRange, integer_ranges
from edgeconv.export.data.open import open_samples
from edgeconv.export.data.samples import batch_size, choose, inputs_of_samples
from edgeconv.export.data.synthetic import SyntheticSamples
from edgeconv.export.tasks.evaluate import evaluate
from edgeconv.export.verify.bundle import verify_bundle

pytestmark = pytest.mark.slow

FLOAT, INT64, UINT8, BOOL = (
    *(TensorProto.FLOAT, TensorProto.INT64),
    *(TensorProto.UINT8, TensorProto.BOOL),
)
RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((11, 6)).astype(np.float32)
SQUARE = RNG.standard_normal((6, 6)).astype(np.float32)
Border = tuple[str, int, Sequence[int]]


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Border],
    outputs: Sequence[Border],
    constants: Mapping[str, np.ndarray] | None = None,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*border) for border in inputs],
        [helper.make_tensor_value_info(*border) for border in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, path)
    return path


def node(operator: str, inputs: str, output: str = "y", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def two_sizes(path: Path) -> Path:
    """x [1, 6] and r [2, 6]."""
    return save(
        path,
        [node("MatMul", "x w", "a"), node("Add", "a r")],
        [("x", FLOAT, [1, 6]), ("r", FLOAT, [2, 6])],
        [("y", FLOAT, [2, 6])],
        {"w": SQUARE},
    )


def regions(path: Path) -> Path:
    """An image's features, five regions of them, and the image that each is of."""
    return save(
        path,
        [node("RoiAlign", "x r i", output_height=2, output_width=2, sampling_ratio=2)],
        [("x", FLOAT, [1, 3, 8, 8]), ("r", FLOAT, [5, 4]), ("i", INT64, [5])],
        [("y", FLOAT, [5, 3, 2, 2])],
    )


def words(path: Path) -> Path:
    return save(
        path,
        [node("Gather", "e x", "a"), node("MatMul", "a w")],
        [("x", INT64, [1, 7])],
        [("y", FLOAT, [1, 7, 6])],
        {"e": TABLE, "w": SQUARE},
    )


def passed(bundle: Bundle) -> bool:
    report = verify_bundle(bundle)
    return all(figures.passed for figures in report.artifacts.values())


def shapes_of(bundle: Bundle) -> list[tuple[int, ...]]:
    with np.load(bundle.path / "reference.npz") as arrays:
        names = sorted(name for name in arrays if name.startswith("input_"))
        return [arrays[name].shape[1:] for name in names]


def test_inputs_without_a_batch_in_common(tmp_path: Path) -> None:
    samples = tmp_path / "d.npz"
    np.savez(samples, x=RNG.standard_normal((9, 6)), r=RNG.standard_normal((9, 2, 6)))
    bundle = export(two_sizes(tmp_path / "net.onnx"), out=tmp_path / "b", calibration=samples)
    assert len(bundle.manifest.artifacts) == 4
    assert shapes_of(bundle) == [(1, 6), (2, 6)]
    assert passed(bundle)
    np.savez(tmp_path / "wrong.npz", x=np.zeros((9, 6)), r=np.zeros((9, 6)))
    with pytest.raises(MismatchedData, match=r"of shape \[6\], the input 'r' wants \[2, 6\]"):
        export(tmp_path / "net.onnx", out=tmp_path / "c", calibration=tmp_path / "wrong.npz")


def test_regions_of_an_image(tmp_path: Path) -> None:
    bundle = export(regions(tmp_path / "net.onnx"), out=tmp_path / "b")
    assert {artifact.format for artifact in bundle.manifest.artifacts} == set(Format)
    assert shapes_of(bundle) == [(1, 3, 8, 8), (5, 4), (5,)]
    assert passed(bundle)


def info(*shape: int) -> TensorInfo:
    return TensorInfo(name="x", shape=shape, dtype="float32")


@pytest.mark.parametrize(
    ("shapes", "batch", "sampled"),
    [
        ([(4, 3), (4,)], 4, [(4, 3), (4,)]),
        ([(1, 3), (5, 4), (5,)], None, [(1, 3), (1, 5, 4), (1, 5)]),
        ([()], None, [(1,)]),
        ([(), (2, 3)], None, [(1,), (1, 2, 3)]),
        ([(0, 3)], None, [(1, 0, 3)]),
        ([], None, []),
    ],
)
def test_what_a_sample_is(
    shapes: list[tuple[int, ...]], batch: int | None, sampled: list[tuple[int, ...]]
) -> None:
    inputs = [info(*shape) for shape in shapes]
    assert batch_size(inputs) == batch
    assert [each.shape for each in inputs_of_samples(inputs)] == sampled


def test_a_scalar_beside_a_vector(tmp_path: Path) -> None:
    path = save(
        tmp_path / "net.onnx",
        [node("Mul", "x s")],
        [("x", FLOAT, [1, 6]), ("s", FLOAT, [])],
        [("y", FLOAT, [1, 6])],
    )
    assert shapes_of(export(path, out=tmp_path / "b")) == [(1, 6), ()]


def test_evaluate_wants_a_batch(tmp_path: Path) -> None:
    bundle = export(two_sizes(tmp_path / "net.onnx"), out=tmp_path / "b", formats=[Format.ONNX])
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 6)), y=np.zeros(2, int))
    with pytest.raises(EdgeconvError, match="have no first dimension in common"):
        evaluate(bundle, tmp_path / "d.npz")


def test_indices_reach_as_far_as_their_table(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        bundle = export(words(tmp_path / "net.onnx"), out=tmp_path / "b", calibration="random")
    assert "integer inputs are random: 'x' from 0 to 10" in caplog.text
    with np.load(bundle.path / "reference.npz") as arrays:
        assert set(arrays["input_0"].ravel()) == set(range(11))
    caplog.clear()
    np.save(tmp_path / "d.npy", RNG.integers(0, 11, (4, 7)))
    with caplog.at_level(logging.WARNING):
        export(tmp_path / "net.onnx", out=tmp_path / "c", calibration=tmp_path / "d.npy")
    assert "integer inputs" not in caplog.text


@pytest.mark.parametrize(
    ("dtype", "nodes", "span"),
    [
        (INT64, [node("Gather", "e x")], range(11)),
        (INT64, [node("Gather", "e x", axis=1)], range(6)),
        (INT64, [node("Cast", "x", "a", to=TensorProto.INT32), node("Gather", "e a")], range(11)),
        (INT64, [node("Reshape", "x s", "a"), node("Gather", "e a")], range(11)),
        (INT64, [node("Gather", "e x", "a"), node("Gather", "w x")], range(6)),
        (INT64, [node("OneHot", "x d v")], range(5)),
        (INT64, [node("Div", "x x")], range(1, 10)),
        (INT64, [node("Cast", "x", to=FLOAT)], range(-127, 128)),
        (UINT8, [node("Cast", "x", to=FLOAT)], range(256)),
        (UINT8, [node("Cast", "x", "a", to=FLOAT), node("Div", "a v")], range(256)),
        (UINT8, [node("Cast", "x", to=BOOL)], range(2)),
        (TensorProto.INT8, [node("Cast", "x", "a", to=INT64), node("Gather", "t a")], range(128)),
    ],
)
def test_what_integers_are_drawn_from(
    tmp_path: Path, dtype: int, nodes: list[onnx.NodeProto], span: range
) -> None:
    constants = {
        **{"e": TABLE, "w": SQUARE, "s": np.array([7]), "t": np.zeros((300, 2), np.float32)},
        **{"d": np.array(5), "v": np.array([0.0, 1.0], np.float32)},
    }
    path = save(tmp_path / "n.onnx", nodes, [("x", dtype, [1, 7])], [("y", FLOAT, [1])], constants)
    ranges = integer_ranges(ir.from_proto(onnx.shape_inference.infer_shapes(onnx.load(path))))
    assert ranges == {"x": IntegerRange(span)}
    inputs = [TensorInfo(name="x", shape=(1, 7), dtype=np.dtype(np.int64).name)]
    drawn = [sample[0] for _, sample in choose(SyntheticSamples(inputs, ranges), 200)]
    assert set(np.ravel(drawn)) <= set(span)
    assert {span[0], span[-1]} <= set(np.ravel(drawn))


def test_codes_are_no_integers(tmp_path: Path) -> None:
    constants = {"scale": np.array(0.1, np.float32), "zero": np.array(3, np.uint8)}
    border = [("x", UINT8, [1, 7])], [("y", FLOAT, [1, 7])]
    nodes = [node("DequantizeLinear", "x scale zero")]
    assert integer_ranges(ir.load(save(tmp_path / "n.onnx", nodes, *border, constants))) == {}


def test_synthetic_integers_without_a_graph_are_flags() -> None:
    inputs = [TensorInfo(name="x", shape=(1, 50), dtype="int32")]
    ((_, (array,)),) = choose(open_samples("random", inputs, None), 1)
    assert set(array.ravel()) == {0, 1}


def test_what_tflite_refuses_is_refused_before_it_is_run(tmp_path: Path) -> None:
    det = save(
        tmp_path / "det.onnx", [node("Det", "x", "z")], [("x", FLOAT, [5, 5])], [("z", FLOAT, [])]
    )
    with pytest.raises(UnsupportedOperator, match=r"^z \(Det\): "):
        export(det, out=tmp_path / "b")
    assert passed(export(det, out=tmp_path / "c", formats=[Format.ONNX]))
    reshape = save(
        tmp_path / "reshape.onnx",
        [node("Reshape", "x s")],
        [("x", FLOAT, [1, 6]), ("s", INT64, [2])],
        [("y", FLOAT, [2, 3])],
    )
    with pytest.raises(CaptureError, match=r"y \(Reshape\) gives is the input 's'"):
        export(reshape, out=tmp_path / "b")


def test_inputs_that_the_network_does_not_bear(tmp_path: Path) -> None:
    path = words(tmp_path / "net.onnx")
    np.save(tmp_path / "d.npy", np.full((2, 7), 99))
    for precision in (Precision.FLOAT32, Precision.INT8):
        with pytest.raises(EdgeconvError, match=r"sample \d of .*d\.npy: .* holds 99"):
            export(
                path,
                out=tmp_path / "b",
                calibration=tmp_path / "d.npy",
                formats=[Format.ONNX],
                precisions=[precision],
            )


def test_strings(tmp_path: Path) -> None:
    border = [("x", TensorProto.STRING, [1, 4])], [("y", TensorProto.STRING, [1, 4])]
    path = save(tmp_path / "net.onnx", [node("Identity", "x")], *border)
    with pytest.raises(CaptureError, match=r"holds strings\nhint: .*turn text into numbers outs"):
        export(path, out=tmp_path / "b")


@pytest.mark.parametrize("formats", [[Format.ONNX], [Format.TFLITE]])
def test_a_network_in_float64(tmp_path: Path, formats: list[Format]) -> None:
    path = save(
        tmp_path / "net.onnx",
        [node("Conv", "x w")],
        [("x", TensorProto.DOUBLE, [1, 3, 8, 8])],
        [("y", TensorProto.DOUBLE, [1, 4, 6, 6])],
        {"w": RNG.standard_normal((4, 3, 3, 3))},
    )
    bundle = export(path, out=tmp_path / "b", formats=formats)
    assert {info.dtype for info in bundle.manifest.inputs} == {"float32"}


def test_float_files_are_written_first_and_listed_as_asked_for(tmp_path: Path) -> None:
    bundle = export(
        two_sizes(tmp_path / "net.onnx"),
        out=tmp_path / "b",
        precisions=[Precision.INT8, Precision.FLOAT32],
        calibration="random",
        calibration_size=4,
        formats=[Format.ONNX],
    )
    listed = [artifact.precision for artifact in bundle.manifest.artifacts]
    assert listed == [Precision.INT8, Precision.FLOAT32]


def test_a_size_of_zero(tmp_path: Path) -> None:
    border = [("x", FLOAT, [0, 4])], [("y", FLOAT, [0, 4])]
    path = save(tmp_path / "net.onnx", [node("Relu", "x")], *border)
    with pytest.raises(EdgeconvError, match=r"'x' has a size of 0 in dimension 0.*\n.*open"):
        export(path, out=tmp_path / "b")
