"""Where the files of a bundle are run instead of here, such as a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt


class Place(Protocol):
    """Where files are run.

    Attributes:
        name: What people call it.
    """

    name: str

    def reads(self, file: Path) -> bool:
        """Whether a runtime is there that reads such files."""

    def run(
        self, file: Path, batches: Sequence[Mapping[str, npt.NDArray[Any]]]
    ) -> tuple[str, list[dict[str, Any]]]:
        """Compute; returns the runtime and the outputs of each batch by their names."""
