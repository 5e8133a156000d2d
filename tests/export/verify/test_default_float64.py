"""What is float32 only by default is float64 in one thread, as if that were PyTorch's default."""

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


def test_what_is_stated_stays() -> None:
    weight = torch.ones(4, 3)
    with DefaultFloat64():
        made = [
            torch.zeros(2, dtype=torch.float32), torch.arange(3).float(), torch.zeros_like(weight),
            torch.arange(3).to(torch.float32), torch.arange(3).to(weight.dtype), weight * 0.1,
            torch.nn.functional.embedding(torch.arange(3), weight), torch.arange(3).to(weight),
        ]  # fmt: skip
        assert [each.dtype for each in made] == [torch.float32] * len(made)
        assert torch.where(torch.ones(3) > 0, 0.5, 0.25).dtype is torch.float64
    assert torch.zeros(1).dtype is torch.float32


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
