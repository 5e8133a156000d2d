"""The result of a run of the command line."""

from collections.abc import Callable
from dataclasses import dataclass

from edgeconv.errors import EdgeconvError


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


def as_printed(error: BaseException | None) -> str:
    """An error as the command line prints it; ``str()`` has the names of Python's arguments."""
    if isinstance(error, EdgeconvError):
        return f"{error.message}\nhint: {error.hint}" if error.hint else error.message
    return str(error)
