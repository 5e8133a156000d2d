"""A wrong count of Python's is no failure of what was done."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeconv.export.capture.module import capture_module
from edgeconv.miscounted import tried_again
from support.lowering import smooth

MISCOUNTED = "AST constructor recursion depth mismatch (before=118, after=97)"


def failing(times: int, error: Exception) -> tuple[list[int], object]:
    calls: list[int] = []

    def work() -> int:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return len(calls)

    return calls, work


def test_it_is_tried_again() -> None:
    calls, work = failing(2, SystemError(MISCOUNTED))
    assert tried_again(work) == 3  # type: ignore[arg-type]
    assert len(calls) == 3


def test_it_is_not_tried_for_ever() -> None:
    calls, work = failing(99, SystemError(MISCOUNTED))
    with pytest.raises(SystemError):
        tried_again(work)  # type: ignore[arg-type]
    assert len(calls) == 5


def test_other_errors_are_raised_at_once() -> None:
    calls, work = failing(1, ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        tried_again(work)  # type: ignore[arg-type]
    assert len(calls) == 1


@pytest.mark.slow
def test_an_export_survives_a_miscount(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = torch.onnx.export, []

    def export(*args: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("failed") from SystemError(MISCOUNTED)
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.onnx, "export", export)
    model = capture_module(nn.ReLU(), [smooth((1, 4))], ["y"], 20)
    assert [node.op_type for node in model.graph] == ["Relu"]
    assert len(calls) == 2
