"""Where the networks that other people trained are installed."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

VARIABLE = "EDGECONV_REALNETS"


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder that the packages are installed in: their own, or that of the extra."""
    folder = Path(os.environ.get(VARIABLE, "build/realnets"))
    if (folder / ".installed").is_file():
        return folder
    extra = importlib.util.find_spec("rapidocr")
    if extra is None or extra.origin is None:
        pytest.skip(f"the networks are not installed; `make test` does it ({VARIABLE})")
    return Path(extra.origin).parents[1]
