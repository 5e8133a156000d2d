"""What is said to a network that fails on its inputs names the option that states them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.errors import UsageError
from edgeconv.export.capture.arguments import Called
from edgeconv.export.capture.bind import bind
from edgeconv.export.capture.input_shape import InputShape, InputSpec
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
    assert isinstance(network, Called)
    sample = [torch.zeros(info.shape).numpy() for info in network.arguments.inputs]
    with pytest.raises(UsageError) as caught:
        module_outputs(network, tuple(sample))
    assert caught.value.hint.startswith(hint)


def test_one_input_that_is_passed_by_name() -> None:
    class ByName(nn.Module):
        def forward(self, *, tokens: torch.Tensor, scale: float = 2.0) -> torch.Tensor:
            return tokens * scale

    options: dict[str, Any] = {"batch": None, "stated": (), "example": None}
    network = bind(Source("by_name", ByName()), size=InputShape((1, 6)), **options).network
    assert isinstance(network, Called)
    assert [info.name for info in network.arguments.inputs] == ["tokens"]
    (output,) = module_outputs(network, (np.ones((1, 6), np.float32),)).values()
    assert (output == 2).all()


def test_operators_of_torchvision_that_do_not_load() -> None:
    """Detectors begin with them; the size of the input has nothing to do with it."""

    class Detector(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            # As torchvision/extension.py raises it.
            raise RuntimeError("Couldn't load custom C++ ops. This can happen if your PyTorch and")

    with pytest.raises(UsageError) as caught:
        module_outputs(Detector(), (np.ones((1, 6), np.float32),))
    assert caught.value.hint.startswith("the installed torchvision was not built for the installed")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    "layer", [nn.Linear(4, 4), nn.Conv1d(1, 2, 1), nn.GRU(4, 4), nn.MultiheadAttention(4, 2)]
)
def test_a_cast_in_forward_to_the_type_that_the_weights_had(
    layer: nn.Module, dtype: torch.dtype
) -> None:
    """The hint was to check the example; the weights are float32 before forward runs."""

    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.to(dtype)
            result = self.layer(x, x, x) if isinstance(layer, nn.MultiheadAttention) else layer(x)
            y: torch.Tensor = result[0] if isinstance(result, tuple) else result
            return y.float()

    with pytest.raises(UsageError) as caught:
        module_outputs(Cast(), (np.ones((1, 4), np.float32),))
    assert caught.value.hint.startswith("its weights are exported in float32: take the cast")
