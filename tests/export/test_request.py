"""What a request refuses before anything slow, and what the network decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeconv.errors import UsageError
from edgeconv.export import (
    Format,
    InputShape,
    IoType,
    Precision,
    QuantizeOptions,
    RangeMethod,
)
from edgeconv.export.file_stem import file_stem
from edgeconv.export.request import ExportRequest
from edgeconv.export.target import resolve_request

FLOAT, INT8, INT16 = Precision.FLOAT32, Precision.INT8, Precision.INT16X8


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"formats": []}, "nothing to write", "at least one format"),
        ({"precisions": []}, "nothing to write", "and one precision"),
        ({"batch": 0}, "batch must be at least 1, not 0", ""),
        ({"calibration_size": 0}, "calibration size must be at least 1, not 0", ""),
        ({"input_size": (3, 0)}, "input size must be at least 1, not 0", ""),
        ({"input_size": ()}, "at least one number", "InputShape((1, 12, 8))"),
        ({"input_size": (1, 3, 8, 8), "batch": 3}, "--batch 3 contradicts", "leave --batch"),
        ({"input_size": InputShape((2, 8)), "batch": 3}, "--batch 3 contradicts", "leave --batch"),
        ({"opset": 24}, "opset must be from 18 to 23, not 24", ""),
        ({"precisions": [INT8]}, "int8 needs calibration data", "pass --calibration"),
        ({"calibration": "nowhere"}, "nowhere: no such file or folder", "say 'random'"),
        ({"runtime": "tflite-runtime"}, "is not a release", "write it as in"),
        ({"io": IoType.INT8}, "--io int8 applies to int8 files", "add --precision int8"),
        (
            {"io": IoType.FLOAT16, "precisions": [Precision.FLOAT16]},
            "TFLite files take float32 inputs",
            "add --format onnx",
        ),
        (
            {"precisions": [INT16], "calibration": "random", "opset": 20},
            "int16 activations since opset 21, not in 20",
            "leave --opset out",
        ),
        (
            {"formats": [Format.ONNX], "runtime": "tflite-runtime==2.14"},
            "--runtime tflite-runtime==2.14 applies to TFLite",
            "add --format tflite",
        ),
    ],
)
def test_what_is_refused_whatever_the_network_is(
    options: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as refused:
        resolve_request(ExportRequest("network", **options))
    assert message in refused.value.message
    assert hint in refused.value.hint


def test_what_is_open_is_decided() -> None:
    resolved = resolve_request(ExportRequest("folder/net.py:make", calibration="random"))
    assert resolved.out == Path("net")
    assert resolved.formats == tuple(Format)
    assert resolved.precisions == (FLOAT, INT8)
    assert resolved.quantization == QuantizeOptions()
    assert resolved.note is None
    assert resolve_request(ExportRequest("network")).precisions == (FLOAT,)


def test_a_precision_is_written_once() -> None:
    asked = ExportRequest("network", precisions=[INT8, FLOAT, INT8], calibration="random")
    assert resolve_request(asked).precisions == (INT8, FLOAT)


def test_a_prequantized_network_has_its_own_precision() -> None:
    resolved = resolve_request(ExportRequest("network.onnx"))
    assert resolved.precisions == (FLOAT,)
    known = resolved.for_network(INT8)
    assert (known.precisions, known.existing, known.calibrates) == ((INT8,), INT8, False)
    # The element type goes with the precision that only the network shows.
    integers = resolve_request(ExportRequest("network.onnx", io=IoType.INT8))
    assert integers.for_network(INT8).precisions == (INT8,)
    with pytest.raises(UsageError, match=r"io=.int8. applies to int8 files"):
        integers.for_network(None)


@pytest.mark.parametrize(
    ("options", "existing", "message"),
    [
        (
            {"quantization": QuantizeOptions(range_method=RangeMethod.MSE)},
            INT8,
            "quantized already, to int8, .*\nhint: leave out quantization=Qu.*range_method",
        ),
        ({"precisions": [FLOAT]}, INT8, "cannot be written as float32\nhint: pass the float"),
        ({"precisions": [INT8]}, None, "int8 needs calibration data"),
    ],
)
def test_what_does_not_go_with_the_network(
    options: dict[str, Any], existing: Precision | None, message: str
) -> None:
    resolved = resolve_request(ExportRequest(Path("network.onnx"), **options))
    with pytest.raises(UsageError, match=message):
        resolved.for_network(existing)


def test_a_request_does_not_change() -> None:
    asked = ExportRequest("network")
    with pytest.raises(AttributeError):
        asked.opset = 20  # type: ignore[misc]
    assert replace(asked, opset=20).opset == 20


def test_names_of_files() -> None:
    assert file_stem("mobilenet_v2") == "mobilenet_v2"
    assert file_stem("folder/net.py:make") == "net"
    assert file_stem("folder/nets.py:get_model") == "nets"
    assert file_stem("folder/nets.py:resnet18") == "resnet18"
    assert file_stem("package.networks:build") == "networks"
    assert file_stem("timm:mobilenetv3_small_100.lamb_in1k") == "mobilenetv3_small_100.lamb_in1k"
    assert file_stem("folder/net.onnx") == "net"
    assert file_stem("../..") == "model"
    assert file_stem("Netze/ü 网络.onnx") == "ü_网络"
    assert file_stem("u\u0308.onnx") == "ü"  # as macOS writes it
    assert file_stem("nets/-v.onnx") == "v"
