"""Files for every batch size, on the runtimes at several, against the network itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from edgeconv.bundle import OPEN, Bundle, Format, Precision
from edgeconv.errors import UnsupportedOperator, UsageError
from edgeconv.export import export
from edgeconv.export.dynamic_batch import TRACED, with_open_batch
from edgeconv.export.runtimes import open_runner
from edgeconv.export.tasks.evaluate import evaluate
from edgeconv.export.tflite.graph import Graph, Operator, Tensor
from edgeconv.export.tflite.open_batch import open_batch as open_tflite
from edgeconv.export.verify.bundle import verify_bundle
from support.open_batches import OPSET, opened
from support.runtimes import run_onnx

Array = NDArray[Any]
OldRuntime = Callable[[bytes, dict[str, Array]], dict[str, Array]]


class Recurrent(nn.Module):
    """A learned first state for each sample, and a second layer that begins with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.GRU(6, 5), nn.LSTM(5, 4, batch_first=True, bidirectional=True)
        self.head = nn.Linear(8, 3)
        self.state = nn.Parameter(torch.randn(1, 1, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.state.expand(-1, x.shape[0], -1).contiguous()
        y, _ = self.first(x.transpose(0, 1), state)
        return self.head(self.second(y.transpose(0, 1))[0])


class ClassToken(nn.Module):
    """What a vision transformer does with its token."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.position = nn.Parameter(torch.randn(1, 5, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.encoder(x)[:, 0]


class SequenceFirst(nn.Module):
    """The batch is merged into other dimensions, behind the sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.transpose(0, 1)
        return self.attention(x, x, x)[0].transpose(0, 1)


class Detector(nn.Module):
    """Heads that become boxes, behind a transposed convolution and a resize."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 8, 2, 2)
        self.head = nn.Conv2d(8, 12, 3, 2, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        wide = self.up(torch.relu(self.down(x)))
        boxes = self.head(wide).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4)
        return {"boxes": boxes, "map": nn.functional.interpolate(wide, size=(5, 7))}


class Pair(nn.Module):
    """Two inputs with a batch, and one without."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, y: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return self.layer(x * y) * gain


NETWORKS: dict[str, tuple[type[nn.Module], Sequence[str]]] = {
    "recurrent": (Recurrent, ["x:1,4,6"]),
    "class token": (ClassToken, ["x:1,4,8"]),
    "sequence first": (SequenceFirst, ["x:1,4,8"]),
    "detector": (Detector, ["x:1,3,12,12"]),
    "pair": (Pair, ["x:1,4", "y:1,4", "gain:3"]),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _exported(tmp_path: Path, name: str, **options: Any) -> tuple[nn.Module, Bundle]:
    make, inputs = NETWORKS[name]
    network = make().eval()
    bundle = export(network, out=tmp_path / "b", inputs=inputs, dynamic_batch=True, **options)
    return network, bundle


def _inputs(bundle: Bundle, batch: int) -> list[Array]:
    shapes = [[batch if n == OPEN else n for n in info.shape] for info in bundle.manifest.inputs]
    return [
        np.sin(np.arange(np.prod(shape)) * 0.7).reshape(shape).astype(np.float32)
        for shape in shapes
    ]


def _expected(network: nn.Module, inputs: Sequence[Array]) -> list[Array]:
    with torch.inference_mode():
        found = network(*map(torch.from_numpy, inputs))
    return [item.numpy() for item in (found.values() if isinstance(found, dict) else [found])]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_float_files_run_at_every_batch(name: str, tmp_path: Path) -> None:
    network, bundle = _exported(tmp_path, name)
    for artifact in bundle.manifest.artifacts:
        runner = open_runner(
            bundle.file(artifact),
            artifact.format,
            artifact.inputs,
            artifact.outputs,
            bundle.manifest,
        )
        for batch in (1, 4, 7, 3):  # one runner, resized again and again
            inputs = _inputs(bundle, batch)
            for expected, got in zip(_expected(network, inputs), runner.run(inputs), strict=True):
                # A few hundred products, in another order.
                np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_tflite_runtime_214_resizes_them(name: str, tmp_path: Path, tflite214: OldRuntime) -> None:
    network, bundle = _exported(tmp_path, name, formats="tflite")
    (artifact,) = bundle.manifest.artifacts
    for batch in (1, 2, 5):
        inputs = _inputs(bundle, batch)
        feeds = {
            info.name: np.moveaxis(array, 1, -1) if array.ndim == 4 else array
            for info, array in zip(artifact.inputs, inputs, strict=True)
        }
        got = tflite214(bundle.file(artifact).read_bytes(), feeds)
        for info, expected in zip(artifact.outputs, _expected(network, inputs), strict=True):
            array = got[info.name]
            array = np.moveaxis(array, -1, 1) if array.ndim == 4 else array
            np.testing.assert_allclose(array, expected, rtol=0, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["recurrent", "class token", "detector"])
def test_every_precision_keeps_the_samples_apart(name: str, tmp_path: Path) -> None:
    _, bundle = _exported(
        tmp_path,
        name,
        calibration="random",
        calibration_size=8,
        # TFLite's int16 resize is off, whatever the batch.
        precisions=[p for p in Precision if (name, p) != ("detector", Precision.INT16X8)],
    )
    for artifact in bundle.manifest.artifacts:
        runner = open_runner(
            bundle.file(artifact),
            artifact.format,
            artifact.inputs,
            artifact.outputs,
            bundle.manifest,
        )
        inputs = _inputs(bundle, 5)
        whole = runner.run(inputs)
        alone = [runner.run([array[[index]] for array in inputs]) for index in range(5)]
        for index, output in enumerate(whole):
            rows = np.concatenate([row[index] for row in alone])
            # int8-dynamic scales of ONNX files are those of a whole batch: a step or two.
            step = np.ptp(rows) / 255
            assert np.abs(output - rows).max() <= (
                4 * step if artifact.precision is Precision.INT8_DYNAMIC else step
            ), artifact.path


@pytest.mark.slow
def test_the_manifest_says_so_and_the_commands_take_it(tmp_path: Path) -> None:
    _, bundle = _exported(tmp_path, "pair")
    assert [info.shape for info in bundle.manifest.inputs] == [(OPEN, 4), (OPEN, 4), (3,)]
    assert [info.shape for info in bundle.manifest.outputs] == [(OPEN, 3)]
    for artifact in bundle.manifest.artifacts:
        assert [info.shape for info in artifact.inputs] == [(OPEN, 4), (OPEN, 4), (3,)]
        if artifact.format is Format.ONNX:
            graph = onnx.load(bundle.file(artifact)).graph
            (x, y, gain) = (each.type.tensor_type.shape.dim for each in graph.input)
            assert [x[0].dim_param, y[0].dim_param, gain[0].dim_value] == ["batch", "batch", 3]
            assert graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    report = verify_bundle(bundle)
    assert all(figures.passed for figures in report.artifacts.values())


@pytest.mark.slow
def test_evaluate_runs_samples_one_by_one(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()
    bundle = export(network, input_size=(3, 2, 2), out=tmp_path / "b", dynamic_batch=True)
    x = np.sin(np.arange(7 * 12.0)).reshape(7, 3, 2, 2).astype(np.float32)
    y = network(torch.from_numpy(x)).argmax(1).numpy()
    np.savez(tmp_path / "data.npz", x=x, y=y)
    evaluation = evaluate(bundle, tmp_path / "data.npz")
    assert evaluation.samples == 7
    assert [result.figures[0].value for result in evaluation.results] == [1.0, 1.0]


@pytest.mark.slow
def test_an_onnx_file_with_an_open_batch(tmp_path: Path) -> None:
    graph = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        g (float[n, 6] x) => (float[n, 2] y)
        <int64[3] to = {-1, 2, 3}, float[3] w = {1, -2, 0.5}, int64[1] last = {-1}>
        { a = Reshape(x, to) b = Mul(a, w) y = ReduceSum <keepdims=0> (b, last) }"""
    )
    onnx.save(graph, tmp_path / "open.onnx")
    bundle = export(tmp_path / "open.onnx", out=tmp_path / "b", dynamic_batch=True)
    x = np.arange(18, dtype=np.float32).reshape(3, 6)
    expected = run_onnx(tmp_path / "open.onnx", x)["y"]
    for artifact in bundle.manifest.artifacts:
        runner = open_runner(
            bundle.file(artifact), artifact.format, artifact.inputs, artifact.outputs
        )
        np.testing.assert_array_equal(runner.run([x])[0], expected)


@pytest.mark.slow
@pytest.mark.parametrize("joined", ["Add (xd, token)", "Concat <axis = 1> (xd, token)"])
@pytest.mark.parametrize("scales", [1, 8])
def test_a_quantized_file_expands_a_constant_to_the_batch(
    joined: str, scales: int, tmp_path: Path
) -> None:
    graph = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : {OPSET}]>
        net (float[N, 3, 8] x) => (float[N, M, 8] y)
        <float s = {{0.02}}, int8 z = {{0}}, int64[2] rest = {{3, 8}}>
        {{
            xq = QuantizeLinear (x, s, z)
            xd = DequantizeLinear (xq, s, z)
            row = DequantizeLinear <axis = 2> (codes, each, zeros)
            size = Shape <start = 0, end = 1> (x)
            target = Concat <axis = 0> (size, rest)
            token = Expand (row, target)
            sum = {joined}
            q = QuantizeLinear (sum, s, z)
            y = DequantizeLinear (q, s, z)
        }}"""
    )
    codes = np.arange(-12, 12, dtype=np.int8).reshape(1, 3, 8)
    each = np.float32(0.05) if scales == 1 else np.linspace(0.01, 0.08, 8, dtype=np.float32)
    for name, array in {
        "codes": codes,
        "each": each,
        "zeros": np.zeros_like(each, np.int8),
    }.items():
        graph.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(graph, tmp_path / "quantized.onnx")
    bundle = export(tmp_path / "quantized.onnx", out=tmp_path / "b", dynamic_batch=True)
    for batch in (1, 5):
        x = np.sin(np.arange(batch * 24, dtype=np.float32)).reshape(batch, 3, 8)
        expected = run_onnx(tmp_path / "quantized.onnx", x)["y"]
        for artifact in bundle.manifest.artifacts:
            file = bundle.file(artifact)
            runner = open_runner(file, artifact.format, artifact.inputs, artifact.outputs)
            # Sums in the middle between two integers may fall to either side.
            assert np.abs(runner.run([x])[0] - expected).max() <= 0.02 * 1.001, artifact.path


def _with_rows(path: Path, rows: int) -> Path:
    """A file of an input with a batch, and one with so many rows and none."""
    graph = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]>
        g (float[n, 3] x, float[{rows}, 3] table) => (float[n, {rows}] y)
        {{ t = Transpose <perm=[1, 0]> (table) y = MatMul(x, t) }}"""
    )
    onnx.save(graph, path)
    return path


@pytest.mark.slow
def test_an_input_of_a_file_with_another_fixed_first_dimension(tmp_path: Path) -> None:
    file = _with_rows(tmp_path / "rows.onnx", 5)
    bundle = export(file, out=tmp_path / "b", dynamic_batch=True)
    table = np.sin(np.arange(15, dtype=np.float32)).reshape(5, 3)
    for batch in (1, 4):
        x = np.cos(np.arange(3 * batch, dtype=np.float32)).reshape(batch, 3)
        for artifact in bundle.manifest.artifacts:
            runner = open_runner(
                bundle.file(artifact), artifact.format, artifact.inputs, artifact.outputs
            )
            # Sums of three products of numbers below 1.
            np.testing.assert_allclose(runner.run([x, table])[0], x @ table.T, atol=1e-6)


def test_a_fixed_first_dimension_that_looks_like_the_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'table', which has no batch, has that size first"):
        export(_with_rows(tmp_path / "rows.onnx", 2), out=tmp_path / "b", dynamic_batch=True)


def test_an_onnx_file_with_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    graph = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        g (float[1, 6] x) => (float[1, 6] y) { y = Relu(x) }"""
    )
    onnx.save(graph, tmp_path / "fixed.onnx")
    with pytest.raises(
        UsageError, match=r"needs an open batch, and the input 'x' has a fixed one of 1"
    ):
        export(tmp_path / "fixed.onnx", out=tmp_path / "b", dynamic_batch=True)
    assert not (tmp_path / "b").exists()


def test_batch_and_dynamic_batch_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        export(nn.ReLU(), input_size=(3,), out=tmp_path / "b", dynamic_batch=True, batch=4)


def test_an_input_without_a_batch_that_looks_like_one_is_refused(tmp_path: Path) -> None:
    class Sum(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x + y

    with pytest.raises(UsageError, match="'y', which has no batch"):
        export(Sum(), inputs=["x:1,2", "y:2"], out=tmp_path / "b", dynamic_batch=True)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(*[st.sampled_from([1, 2, 3, 4])] * 3),
    perm=st.permutations(range(4)),
    back=st.permutations(range(4)),
    merged=st.integers(0, 2),
)
def test_the_batch_is_found_in_merged_dimensions(
    sizes: tuple[int, ...], perm: list[int], back: list[int], merged: int
) -> None:
    """Wherever a Transpose puts the batch, two Reshapes merge it with a neighbor and part them."""

    def shapes(batch: int) -> tuple[list[int], list[int]]:
        moved = [(batch, *sizes)[axis] for axis in perm]
        return moved, [*moved[:merged], moved[merged] * moved[merged + 1], *moved[merged + 2 :]]

    moved, joined = shapes(TRACED)
    numbers = [", ".join(map(str, each)) for each in (moved, joined, perm, back)]
    model = opened(
        f"""g (float[{TRACED}, {", ".join(map(str, sizes))}] x) => (y)
        <int64[4] to = {{{numbers[0]}}}, int64[3] both = {{{numbers[1]}}}>
        {{ a = Transpose <perm=[{numbers[2]}]> (x) b = Reshape(a, both) c = Relu(b)
           d = Reshape(c, to) y = Transpose <perm=[{numbers[3]}]> (d) }}"""
    )
    x = np.arange(5 * np.prod(sizes), dtype=np.float32).reshape(5, *sizes)
    got = run_onnx(with_open_batch(model), x)["y"]
    np.testing.assert_array_equal(got, x.transpose(perm).transpose(back))


@pytest.mark.slow
def test_with_split_and_cut_outputs_and_an_example(tmp_path: Path) -> None:
    class Joined(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.relu(x[:, :2]), torch.sigmoid(x[:, 2:])], 1)

    x = np.linspace(-3, 3, 20, dtype=np.float32).reshape(4, 5)
    bundle = export(
        Joined(), example=x[:1], out=tmp_path / "split", dynamic_batch=True, split_outputs=True
    )
    expected = Joined()(torch.from_numpy(x)).numpy()
    for artifact in bundle.manifest.artifacts:
        assert [info.shape for info in artifact.outputs] == [(OPEN, 2), (OPEN, 3)]
        runner = open_runner(
            bundle.file(artifact), artifact.format, artifact.inputs, artifact.outputs
        )
        # Both sigmoids are accurate to a few units in the last place.
        np.testing.assert_allclose(np.concatenate(runner.run([x]), 1), expected, atol=1e-6)

    (cut, *_) = (
        node.output[0]
        for node in onnx.load(next((tmp_path / "split").glob("*.onnx"))).graph.node
        if node.op_type == "Slice"
    )
    bundle = export(
        Joined(), example=x[:1], out=tmp_path / "cut", dynamic_batch=True, cut_outputs=[cut]
    )
    assert [info.shape for info in bundle.manifest.outputs] == [(OPEN, 2)]


def _tflite(batch: int, constant: Array) -> Graph:
    x = Tensor("x", (batch, 2), np.dtype("float32"))
    held = Tensor("k", constant.shape, constant.dtype, constant)
    y = Tensor("y", (batch, 2), np.dtype("float32"))
    return Graph([x], [y], [Operator("ADD", [x, held], [y], source="sum (Add)")])


def test_two_tflite_graphs_may_differ_in_sizes_only() -> None:
    graph = _tflite(2, np.full((2, 2), 7, np.float32))
    open_tflite(graph, _tflite(3, np.full((3, 2), 7, np.float32)))
    assert [tensor.signature for tensor in (*graph.inputs, *graph.outputs)] == [(-1, 2)] * 2
    assert [tensor.shape for tensor in (*graph.inputs, *graph.outputs)] == [(1, 2)] * 2
    names = [operator.name for operator in graph.operators]
    assert names == ["SHAPE", "STRIDED_SLICE", "PACK", "BROADCAST_TO", "ADD"]


@pytest.mark.parametrize("first", [7.0, 8.0])
def test_a_tflite_constant_with_other_values_is_refused(first: float) -> None:
    graph = _tflite(2, np.float32([[first, 7], [7, 7]]))
    with pytest.raises(UnsupportedOperator, match=r"sum \(Add\) cannot follow the batch"):
        open_tflite(graph, _tflite(3, np.full((3, 2), 8, np.float32)))
