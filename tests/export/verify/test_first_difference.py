"""A difference that nothing explains is laid to the operator at which it begins."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from edgeconv.errors import VerificationError
from edgeconv.export import export
from edgeconv.export.tflite import registry
from edgeconv.export.tflite.emit.elementwise import unary
from edgeconv.export.verify.first_difference import first_difference
from support.lowering import Net, as_model, smooth


@pytest.fixture
def _wrong_softplus(monkeypatch: pytest.MonkeyPatch) -> None:
    right = registry._rules["Softplus"]
    wrong = replace(right, lower=partial(unary, name="RELU"))
    monkeypatch.setitem(registry._rules, "Softplus", wrong)


def net() -> Net:
    made = Net()
    x = made.op("Softplus", made.op("Tanh", made.input("x", (1, 4, 6))))
    return made.output(made.op("Softmax", made.op("Abs", x), axis=1))


@pytest.mark.usefixtures("_wrong_softplus")
def test_it_is_found() -> None:
    model = as_model(net().proto())
    found = first_difference(model, [(smooth((1, 4, 6), 0),)])
    assert found is not None
    assert found.op_type == "Softplus"
    assert found.graph is model.graph


def test_right_files_have_none() -> None:
    assert first_difference(as_model(net().proto()), [(smooth((1, 4, 6), 0),)]) is None


class Gate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.softplus(x.tanh()).softmax(-1)


@pytest.mark.slow
@pytest.mark.usefixtures("_wrong_softplus")
def test_the_message_names_it_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"it begins at .*\(Softplus\)") as caught:
        export(Gate(), out=tmp_path / "out", example=np.zeros((1, 6), np.float32), formats="tflite")
    assert "--cut-outputs" in str(caught.value.hint)
    assert "report it" in str(caught.value.hint)
