"""What a run of the command line leaves behind."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    returncode: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The line of a failure, which nothing but one line with a hint may follow."""
        line, *hints = self.stderr.strip().splitlines()
        assert line.startswith("error: "), self.stderr
        assert len(hints) < 2, self.stderr
        assert all(hint.startswith("hint: ") for hint in hints), self.stderr
        return line


CommandLine = Callable[..., Ran]
