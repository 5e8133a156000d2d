"""What fails with the lowest versions of dependencies, as far as newer ones can show it.

`make dependencies` runs edgeconv with those versions themselves.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click
import pytest

from edgeconv.cli import values
from edgeconv.versioned import Record


def test_values_load_where_a_type_of_click_is_not_generic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click, "ParamType", type("ParamType", (), {}))  # as before click 8.4
    spec = importlib.util.spec_from_file_location("old_values", Path(values.__file__))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.Share("share", "3%", 1.0).convert("3%", None, None) == pytest.approx(0.03)


def test_records_may_have_fields_that_begin_with_model() -> None:
    # Before pydantic 2.10 the whole of model_ is protected, and each such field gives a warning.
    assert Record.model_config["protected_namespaces"] == ()
