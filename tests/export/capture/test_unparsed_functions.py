"""The functions that PyTorch's exporter lists are parsed only once more of them is read."""

from __future__ import annotations

import pytest
from onnxscript._internal import ast_utils
from onnxscript._internal.values import TracedOnnxFunction
from onnxscript.function_libs.torch_lib import ops, registration
from torch.onnx._internal.exporter._registration import ONNXRegistry

from edgeconv.export.capture.unparsed_functions import unparsed_functions


def _traced() -> list[TracedOnnxFunction]:
    assert ops  # importing it registers them
    every = registration.default_registry.values()
    found = [function for each in every for function in (*each.overloads, *each.complex)]
    return [function for function in found if isinstance(function, TracedOnnxFunction)]


def test_the_exporter_lists_functions_without_a_source_being_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = ONNXRegistry.from_torchlib().functions

    def parse(function: object) -> None:
        raise AssertionError(f"{function} was parsed")

    monkeypatch.setattr(ast_utils, "get_src_and_ast", parse)
    with unparsed_functions():
        found = ONNXRegistry.from_torchlib().functions
    assert found == expected


def test_what_is_read_of_a_function_is_what_its_source_says() -> None:
    functions = _traced()[::50]
    assert len(functions) > 5
    parsed = [function.function_ir for function in functions]
    with unparsed_functions():
        for function, wanted in zip(functions, parsed, strict=True):
            found = function.function_ir
            assert found.domain == wanted.domain
            assert found.name == wanted.name
            assert [each.name for each in found.inputs] == [each.name for each in wanted.inputs]
            with pytest.raises(AttributeError):
                _ = found.anything_else
    assert isinstance(functions[0].function_ir, type(parsed[0]))


def test_another_release_of_onnxscript_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "edgeconv.export.capture.unparsed_functions"
    for other in (None, type("TracedOnnxFunction", (), {"function_ir": 1})):
        monkeypatch.setattr(f"{module}._TRACED", other)
        with unparsed_functions():
            assert other is None or other.function_ir == 1
