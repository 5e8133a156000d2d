"""What is said to a network that fails on its inputs names the option that states them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from edgeconv.errors import UsageError
from edgeconv.export.capture.bind import bind
from edgeconv.export.capture.input_shape import InputSpec
from edgeconv.export.capture.source import Source
from edgeconv.export.verify.reference import module_outputs


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(8, 4), nn.Linear(4, 4)

    def forward(self, left: torch.Tensor, *, right: torch.Tensor) -> torch.Tensor:
        return self.left(left) + self.right(right)


@pytest.mark.parametrize(
    ("stated", "hint"),
    [
        ({"size": (8,)}, "give every input with --input NAME:SHAPE"),
        (
            {"stated": [InputSpec("left", (1, 8)), InputSpec("right", (1, 5))]},
            "check --input, by which the inputs are left:1,8:float32, right:1,5:float32; "
            "forward takes left, right",
        ),
        (
            {"example": {"left": torch.zeros(1, 9), "right": torch.zeros(1, 4)}},
            "check the example, by which the inputs are left:1,9:float32, right:1,4:float32; "
            "forward takes left, right",
        ),
    ],
)
def test_the_option_that_states_the_inputs(stated: dict[str, Any], hint: str) -> None:
    options: dict[str, Any] = {"size": None, "batch": None, "stated": (), "example": None}
    network = bind(Source("two", Two().eval()), **options | stated).network
    assert isinstance(network, nn.Module)
    sample = [torch.zeros(info.shape).numpy() for info in network.arguments.inputs]  # type: ignore[union-attr]
    with pytest.raises(UsageError) as caught:
        module_outputs(network, tuple(sample))
    assert caught.value.hint.startswith(hint)
