"""What a call makes float32 is float64 in one thread, by default or because the call says so."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeconv.export.verify.default_float64 import DefaultFloat64
from edgeconv.export.verify.float64 import module_in_float64

BY_DEFAULT: dict[str, Callable[[], Tensor]] = {
    "quotient of integers": lambda: torch.arange(3) / 7,
    "number and integers": lambda: 1 / torch.arange(1, 4) + torch.arange(3) * 0.1,
    "constant": lambda: torch.tensor([0.1, 0.2]),
    "number": lambda: torch.as_tensor(0.1),
    "full": lambda: torch.full((3,), 0.1),
    "linspace": lambda: torch.linspace(0, 1, 7),
    "frequencies": lambda: torch.exp(torch.arange(0, 6, 2) * -(math.log(10000.0) / 6)),
    "function of integers": lambda: torch.sigmoid(torch.arange(3)),
    "power": lambda: torch.pow(1.1, torch.arange(3)),
    "window": lambda: torch.hann_window(5),
    "joined": lambda: torch.cat([torch.arange(3) / 3, torch.ones(2) / 3]),
    "filled": lambda: torch.empty(3).fill_(0.1),
    "complex": lambda: torch.polar(torch.ones(2), torch.ones(2)).real,
}


@pytest.mark.parametrize("name", BY_DEFAULT)
def test_it_is_as_with_another_default(name: str) -> None:
    with DefaultFloat64():
        made = BY_DEFAULT[name]()
    torch.set_default_dtype(torch.float64)
    try:
        expected = BY_DEFAULT[name]()
    finally:
        torch.set_default_dtype(torch.float32)
    assert (made.dtype, made.tolist()) == (torch.float64, expected.tolist())


def test_what_is_stated_is_float64_too() -> None:
    """As positions that a network computes: raft_small ran in float64 up to the first of them."""
    with DefaultFloat64():
        made = [
            torch.zeros(2, dtype=torch.float32), torch.arange(3).float(),
            torch.arange(3).to(torch.float32), torch.arange(3).type(torch.float32),
            torch.ones(2).to("cpu", torch.float32), torch.arange(3).to(dtype=torch.float32),
            torch.ones(2, dtype=torch.complex64).real, torch.ones(2).cfloat().imag,
        ]  # fmt: skip
        assert [each.dtype for each in made] == [torch.float64] * len(made)
        assert torch.ones(2).half().float().dtype is torch.float64
        assert torch.zeros(2, dtype=torch.float16).dtype is torch.float16


def test_what_is_taken_from_arguments_stays() -> None:
    weight, bits = torch.ones(4, 3), torch.ones(2, dtype=torch.int32)
    with DefaultFloat64():
        made = [
            torch.zeros_like(weight), weight * 0.1,
            torch.nn.functional.embedding(torch.arange(3), weight), torch.arange(3).to(weight),
            bits.view(torch.float32),
        ]  # fmt: skip
        assert [each.dtype for each in made] == [torch.float32] * len(made)
        assert torch.where(torch.ones(3) > 0, 0.5, 0.25).dtype is torch.float64
    assert torch.zeros(1).dtype is torch.float32


class Positions(nn.Module):
    """Adds positions that it makes float32 by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv1d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[-1]).float() + torch.ones(1, dtype=torch.float32)
        y: Tensor = self.layer(x * 0 + places)
        return y


def test_networks_that_name_float32_run_in_float64() -> None:
    outputs = module_in_float64(Positions().eval(), [(np.ones((1, 2, 4), np.float32),)])
    assert outputs is not None
    assert outputs[0][0].dtype == np.float64


def test_weights_are_copied_outside_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Within it every copied weight would be looked for in the list of those copied before.
    seen = []
    mode = DefaultFloat64.__torch_function__

    def watched(self: DefaultFloat64, func: object, *args: object, **kwargs: object) -> object:
        seen.append(getattr(func, "__name__", ""))
        return mode(self, func, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(DefaultFloat64, "__torch_function__", watched)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    assert module_in_float64(network, [(np.ones((1, 3), np.float32),)]) is not None
    assert "linear" in seen
    assert "__deepcopy__" not in seen
