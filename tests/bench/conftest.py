"""Shared by the benchmark's tests."""

from pathlib import Path

import pytest

from edgeconv.bench.check import Checked
from support.history_fixtures import edgeconv, history_path, repository
from support.tiny_models import write_tflite

__all__ = ["edgeconv", "history_path", "repository"]  # fixtures


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scripted device computes nothing, so there is nothing to compare."""
    nothing = Checked(None, None, None)

    def check(models: list[Path], *_: object) -> list[Checked]:
        return [nothing] * len(models)

    monkeypatch.setattr("edgeconv.bench.protocol.check_models", check)


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    return [write_tflite(tmp_path / "a.tflite"), write_tflite(tmp_path / "b.tflite")]
