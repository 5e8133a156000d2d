import json
import os
import subprocess
from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgeconv.export.inspect import runtimes
from edgeconv.export.inspect.runtimes import (
    lowest_onnxruntime,
    lowest_tflite_runtime,
    newest_before,
)
from support.runtimes import onnx_session, tflite_interpreter
from support.tflite_files import operator_only

pytestmark = pytest.mark.slow

HIGHEST = next(reversed(runtimes._tflite_releases().values()))


def test_the_highest_operator_version_decides() -> None:
    assert lowest_tflite_runtime({"CONV_2D": [1, 3], "ADD": [2]}) == "tflite-runtime 2.5.0"
    assert lowest_tflite_runtime({"CONV_2D": [3], "GELU": [2]}) == "tflite-runtime 2.9.1"
    assert lowest_tflite_runtime({"CONV_2D": [3], "GELU": [1, 2, 1]}) == "tflite-runtime 2.9.1"
    assert lowest_tflite_runtime({}) == "tflite-runtime 2.5.0"


def test_per_channel_fully_connected_needs_litert() -> None:
    assert lowest_tflite_runtime({"FULLY_CONNECTED": [10]}) == "tflite-runtime 2.13.0"
    assert lowest_tflite_runtime({"FULLY_CONNECTED": [12]}) == "ai-edge-litert 1.0.1"


@pytest.mark.parametrize("operators", [{"CONV_2D": [99]}, {"NO_SUCH": [1]}, {"ADD": [0]}])
def test_what_the_table_lacks_is_said(operators: dict[str, list[int]]) -> None:
    name, versions = next(iter(operators.items()))
    expected = f"newer than ai-edge-litert 2.3.0 ({name} version {versions[0]})"
    assert lowest_tflite_runtime(operators) == expected


@pytest.mark.parametrize(
    ("requirement", "newest"),
    [
        ("tflite-runtime==2.14", None),
        ("tflite-runtime==2.14.1", "tflite-runtime 2.14.0"),
        ("tflite-runtime==21.4", "tflite-runtime 2.14.0"),
        ("ai-edge-litert==2.3.0", None),
        ("ai-edge-litert==2.4", "ai-edge-litert 2.3.0"),
    ],
)
def test_a_release_that_is_newer_than_all_known(requirement: str, newest: str | None) -> None:
    assert newest_before(requirement) == newest


def test_litert_takes_every_version_of_the_table() -> None:
    for name, version in HIGHEST.items():
        tflite_interpreter(operator_only(name, version))


def test_litert_refuses_the_version_after_the_last() -> None:
    # Of the installed release only: a later one may take more, and the table is then due.
    for name in ("FULLY_CONNECTED", "CONV_2D", "ADD", "SQRT", "GATHER"):
        with pytest.raises(ValueError, match="Didn't find op"):
            tflite_interpreter(operator_only(name, HIGHEST[name] + 1))


@pytest.mark.skipif("EDGECONV_TFLITE214" not in os.environ, reason="no tflite-runtime 2.14")
def test_tflite_runtime_takes_what_the_table_says_and_no_more(tmp_path: Path) -> None:
    files, expected = [], []
    for name, newest in HIGHEST.items():
        for version in range(newest if name == "BROADCAST_TO" else 1, newest + 1):
            path = tmp_path / f"{name}.{version}"
            path.write_bytes(operator_only(name, version))
            files.append(str(path))
            expected.append(lowest_tflite_runtime({name: [version]}).startswith("tflite-runtime"))
    program = (
        "import json, sys\n"
        "from tflite_runtime.interpreter import Interpreter\n"
        "def loads(path):\n"
        "    try:\n        Interpreter(model_path=path)\n"
        "    except ValueError:\n        return False\n"
        "    return True\n"
        "print(json.dumps([loads(path) for path in sys.argv[1:]]))\n"
    )
    command = [os.environ["EDGECONV_TFLITE214"], "-c", program, *files]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(result.stdout) == expected


@pytest.mark.parametrize(
    ("opset", "ir_version", "release"),
    [
        (7, 3, "1.0"),
        (18, 8, "1.14"),
        (18, 10, "1.18"),
        (19, 9, "1.16"),
        (20, 10, "1.18"),
        (22, 10, "1.21"),
        (24, 10, "1.24"),
        (26, 13, "1.25"),
    ],
)
def test_onnxruntime_releases(opset: int, ir_version: int, release: str) -> None:
    assert lowest_onnxruntime(opset, ir_version) == f"onnxruntime {release}"


def test_onnx_newer_than_the_table_is_said() -> None:
    assert lowest_onnxruntime(99, 8) == "newer than onnxruntime 1.31 (opset 99)"
    assert lowest_onnxruntime(18, 99) == "newer than onnxruntime 1.31 (IR version 99)"


def test_onnxruntime_agrees_with_its_line() -> None:
    installed = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
    for opset, ir_version in [(22, 10), (23, 11), (25, 13), (26, 13)]:
        release = lowest_onnxruntime(opset, ir_version).removeprefix("onnxruntime ")
        promised = installed >= tuple(int(part) for part in release.split("."))
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
        result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
        node = helper.make_node("Identity", ["x"], ["y"])
        graph = helper.make_graph([node], "g", [value], [result])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = ir_version
        assert _loads(model) == promised


def _loads(model: onnx.ModelProto) -> bool:
    try:
        onnx_session(model)
    except Exception:
        return False
    return True
