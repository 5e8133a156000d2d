"""Operators cut out of a TFLite file compute what they compute inside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import OpResolverType
from torch import nn

from edgeconv.bench.profile.profile import OperatorResult
from edgeconv.bench.profile.roofline import Arithmetic, arithmetic, macs
from edgeconv.bench.profile.split_tflite import cut
from edgeconv.bundle import Format, Precision
from edgeconv.device.messages import Operator
from edgeconv.errors import MeasurementError
from edgeconv.export import export
from support.command_line import CommandLine
from support.runtimes import tflite_interpreter
from support.tiny_models import write_tflite

pytestmark = pytest.mark.slow

# On a busy machine each operator would be measured again and again.
ONCE = ("--operators", "--runs", 5, "--warmup", 0, "--repetitions", 1, "--retries", 0)
PLAIN = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # every tensor stays readable


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Format, Precision], Path]:
    """Two equal convolutions, a depthwise one, a mean, two products and a softmax."""
    torch.manual_seed(1)
    layers = [
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
        nn.Softmax(dim=1),
        nn.Linear(5, 8),
    ]
    bundle = export(
        nn.Sequential(*layers).eval(),
        out=tmp_path_factory.mktemp("net") / "bundle",
        input_size=(3, 16, 16),
        formats=[Format.ONNX, Format.TFLITE],
        precisions=[Precision.FLOAT32, Precision.INT8],
        calibration="random",
        calibration_size=8,
    )
    return {(a.format, a.precision): bundle.file(a) for a in bundle.manifest.artifacts}


@pytest.fixture(scope="module")
def network(files: dict[tuple[Format, Precision], Path]) -> Path:
    return files[Format.TFLITE, Precision.FLOAT32]


def test_each_computes_what_it_computes_inside(network: Path) -> None:
    whole = tflite_interpreter(
        network, experimental_op_resolver_type=PLAIN, experimental_preserve_all_tensors=True
    )
    (given,) = whole.get_input_details()
    image = np.random.default_rng(0).normal(size=given["shape"]).astype(np.float32)
    whole.set_tensor(given["index"], image)
    whole.invoke()
    values = {d["name"]: whole.get_tensor(d["index"]) for d in whole.get_tensor_details()}
    cuts = cut(network)
    assert len(cuts) >= 8
    for one in cuts:
        single = tflite_interpreter(one.data, experimental_op_resolver_type=PLAIN)
        for detail in single.get_input_details():
            single.set_tensor(detail["index"], values[detail["name"]])
        single.invoke()
        (made,) = single.get_output_details()
        assert made["name"] == one.name
        assert tuple(made["shape"]) == one.outputs[0].shape
        np.testing.assert_array_equal(single.get_tensor(made["index"]), values[one.name])


def test_equal_operators_are_one(network: Path) -> None:
    convolutions = [one for one in cut(network) if one.operator == "CONV_2D"]
    first, second, third = (one.key for one in convolutions)
    assert second == third
    assert first != second


def test_macs(network: Path) -> None:
    counts = {
        one.operator: macs(
            Operator(name="", operator=one.operator, ns=1, inputs=one.inputs, outputs=one.outputs)
        )
        for one in cut(network)
    }
    assert counts["CONV_2D"] == 8 * 256 * 8 * 9
    assert counts["DEPTHWISE_CONV_2D"] == 8 * 256 * 9
    assert counts["FULLY_CONNECTED"] == 40
    assert counts["TANH"] is None


def test_command(network: Path, tmp_path: Path, edgeconv: CommandLine) -> None:
    out = tmp_path / "r.json"
    done = edgeconv("bench", network, *ONCE, "-o", out)
    assert done.returncode == 0, done.stderr
    (model,) = OperatorResult.model_validate_json(out.read_text()).models
    assert [operator.name for operator in model.operators] == [one.name for one in cut(network)]
    assert "CONV_2D" in done.stdout
    assert {operator.delegated for operator in model.operators} == {True}


@pytest.mark.parametrize("suffix", [Format.ONNX, Format.TFLITE])
def test_int8_beside_float(
    suffix: Format,
    files: dict[tuple[Format, Precision], Path],
    tmp_path: Path,
    edgeconv: CommandLine,
) -> None:
    """The runtime itself reports that no delegate takes an int8 SOFTMAX; the files are compared."""
    out = tmp_path / "r.json"
    float32, int8 = (files[suffix, p] for p in (Precision.FLOAT32, Precision.INT8))
    done = edgeconv(*("bench", float32, int8, *ONCE, "-o", out))
    assert done.returncode == 0, done.stderr
    result = OperatorResult.model_validate_json(out.read_text())
    (compared,) = result.int8_against_float
    assert (compared.int8_file, compared.float_file) == (str(int8), str(float32))
    assert f"as fast in kernels as {float32}" in done.stderr
    convolutions = [o for o in result.models[1].operators if o.macs and "C" in o.operator]
    # ONNX Runtime's profile once had no weights that its kernels had packed, so MACs were wrong.
    assert convolutions[0].macs == 8 * 256 * 27
    assert arithmetic(convolutions[0]) is Arithmetic.INT8
    if suffix is Format.TFLITE:
        delegated = {o.operator: o.delegated for o in result.models[1].operators}
        assert (delegated["CONV_2D"], delegated["SOFTMAX"]) == (True, False)


def test_damaged_files(tmp_path: Path) -> None:
    path = write_tflite(tmp_path / "m.tflite")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(MeasurementError, match="is damaged"):
        cut(path)


@pytest.mark.parametrize("inputs", [1, 2])
def test_int8(tmp_path: Path, inputs: int) -> None:
    (one,) = cut(write_tflite(tmp_path / "m.tflite", dtype="int8", inputs=inputs))
    single = tflite_interpreter(one.data)
    assert len(single.get_input_details()) == inputs
    assert single.get_input_details()[0]["quantization"] == (1 / 64, 0)
