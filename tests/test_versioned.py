"""Records as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import PlainSerializer

from edgeconv.versioned import Record


def interrupted(_path: Path) -> str:
    raise KeyboardInterrupt


class Stored(Record):
    path: Annotated[Path, PlainSerializer(interrupted, return_type=str, when_used="json")]


def test_an_interrupt_while_a_path_is_written_stays_one() -> None:
    with pytest.raises(KeyboardInterrupt):
        Stored(path=Path("a")).model_dump_json()
