"""Values of ``--model-arg``: every type that a factory may want."""

from __future__ import annotations

import pytest

from edgeconv.model_args import ModelArg, parse_model_arg


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("1e-3", 1e-3),
        ("true", True),
        ("False", False),
        ("None", None),
        ("null", None),
        ("none", "none"),  # what many factories call a choice
        ("relu", "relu"),
        ("1,2", "1,2"),
        ("[1,2]", [1, 2]),
        ("[0.5, relu, true, None]", [0.5, "relu", True, None]),
        ("[]", []),
    ],
)
def test_values(text: str, value: ModelArg) -> None:
    parsed = parse_model_arg(text)
    assert parsed == value
    assert type(parsed) is type(value)
