"""An argument that a factory does not take is answered with near ones."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from edgeconv.errors import UsageError
from edgeconv.export.capture.resolve import resolve
from edgeconv.export.capture.unknown_argument import argument_hint
from support.libraries import library


class Net:
    def __init__(self, num_classes: int = 10, *, width: int = 8) -> None:
        self.size = num_classes * width


def net(pretrained: bool = False, **options: Any) -> Net:
    """A factory as libraries have them: it passes on what it does not know."""
    return Net(**options) if not pretrained else Net()


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("num_clases", "did you mean 'num_classes'?"),
        ("groups", "its arguments are pretrained, num_classes, width"),
    ],
)
def test_the_arguments_of_the_class_behind_a_factory(option: str, hint: str) -> None:
    with pytest.raises(TypeError) as caught:
        net(**{option: 3})
    assert argument_hint(caught.value, net) == hint


@pytest.mark.parametrize(
    ("spec", "option", "near"),
    [
        ("timm:resnet10t", "in_channels", "in_chans"),
        ("torchvision:squeezenet1_1", "num_class", "num_classes"),
    ],
)
def test_libraries(spec: str, option: str, near: str) -> None:
    library(spec.partition(":")[0])
    with pytest.raises(UsageError, match=f"hint: did you mean '{near}'"):
        resolve(spec, args={option: 3}, input_size=None, weights=None)


def test_a_factory_in_a_module() -> None:
    with pytest.raises(UsageError, match=r'hint: pass model_args={"out_features": VALUE}'):
        resolve(
            f"{nn.Linear.__module__}:Linear",
            args={"in_features": 2, "out_feature": 2},
            input_size=None,
            weights=None,
        )
