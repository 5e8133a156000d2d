"""The result of a run of the command line."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    returncode: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The error line; only one line with a hint may follow it."""
        line, *hints = self.stderr.strip().splitlines()
        assert line.startswith("error: "), self.stderr
        assert len(hints) < 2, self.stderr
        assert all(hint.startswith("hint: ") for hint in hints), self.stderr
        return line


CommandLine = Callable[..., Ran]
