"""Settings that a training saved beside the weights are the arguments of the factory."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from edgeconv.errors import EdgeconvError
from edgeconv.export.capture.resolve import resolve

SOURCE = """
from torch import nn

def head(num_classes, width=4, act="relu", dims=(1, 2)):
    return nn.Sequential(nn.Linear(3, width), nn.Linear(width, num_classes))

def make(num_classes=10, width=4, act="relu", dims=(1, 2)):
    return head(num_classes, width)
"""


def saved(tmp_path: Path, content: Callable[[dict[str, torch.Tensor]], dict[str, Any]]) -> Path:
    (tmp_path / "settings_net.py").write_text(SOURCE)
    trained = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Linear(8, 35))
    torch.save(content(trained.state_dict()), tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def hint_of(factory: str, weights: Path) -> EdgeconvError:
    spec = f"{weights.parent / 'settings_net.py'}:{factory}"
    with pytest.raises(EdgeconvError) as raised:
        resolve(spec, args={}, input_size=None, weights=weights)
    return raised.value


@pytest.mark.parametrize("factory", ["make", "head"])
@pytest.mark.parametrize(
    "beside",
    [
        {"hyper_parameters": {"num_classes": 35, "width": 8, "lr": 0.1, "act": "relu"}},
        {"hparams": {"model": {"num_classes": 35, "width": 8}}},
        {"args": argparse.Namespace(num_classes=35, width=8)},
        {"config": {"model": {"init_args": {"num_classes": 35, "width": 8}}}},
    ],
)
def test_they_are_shown_where_they_differ(
    factory: str, beside: dict[str, Any], tmp_path: Path
) -> None:
    error = hint_of(factory, saved(tmp_path, lambda state: {"state_dict": state, **beside}))
    assert "pass --model-arg num_classes=35 --model-arg width=8" in error.hint
    assert "--model-arg act" not in error.hint or factory == "head"
    assert 'model_args={"num_classes": 35, "width": 8}' in str(error)


def test_what_no_shell_passes_on_is_left_out(tmp_path: Path) -> None:
    settings = {"num_classes": 35, "act": "$(touch x)", "dims": [3, [4]], "width": 8}
    content = saved(tmp_path, lambda state: {"state_dict": state, "hyper_parameters": settings})
    assert hint_of("make", content).hint.endswith(
        "pass --model-arg num_classes=35 --model-arg width=8"
    )


def test_lists_and_words_are_written_as_options(tmp_path: Path) -> None:
    settings = {"dims": (3, 4), "act": "silu"}
    content = saved(tmp_path, lambda state: {"state_dict": state, "hyper_parameters": settings})
    error = hint_of("make", content)
    assert error.hint.endswith("pass --model-arg act=silu --model-arg dims=[3,4]")
    assert str(error).endswith('pass model_args={"act": "silu", "dims": [3, 4]}')


def test_settings_that_the_factory_does_not_take_say_nothing(tmp_path: Path) -> None:
    settings = {"n_classes": 35, "lr": 0.1}
    content = saved(tmp_path, lambda state: {"state_dict": state, "hyper_parameters": settings})
    assert "of another width or variant" in hint_of("make", content).hint
