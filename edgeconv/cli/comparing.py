"""What the commands that compare results have in common: options, terms and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeconv.cli.values import NearChoice, Share, stated
from edgeconv.units import seconds_of

if TYPE_CHECKING:
    from edgeconv.bench.compare.comparison import Outcome, Terms
    from edgeconv.store.history import History

Command = TypeVar("Command", bound=Callable[..., Any])

INCONCLUSIVE = 3  # exit code
SETTINGS = ("device", "board", "CPU", "governor", "threads", "cores", "runtime", "seed", "delegate")
OF_A_DEVICE = ("board", "CPU", "governor")  # what differs where the device does


def across_option(command: Command) -> Command:
    """Give a command ``--across``."""
    option = click.option(
        "--across",
        multiple=True,
        type=NearChoice(SETTINGS, case_sensitive=False),
        help="Compare although this differs, because it is what is compared. May be given several "
        "times; device stands for board, CPU and governor, too.",
    )
    return option(command)


def max_regression_option(command: Command) -> Command:
    """Give a command ``--max-regression``."""
    option = click.option(
        "--max-regression",
        type=Share("percent", "3%", sys.float_info.max),
        default="3%",
        show_default=True,
        help="The slow-down that must be found; how much larger a file may become, or how many "
        "more instructions it may take.",
    )
    return option(command)


def max_time_option(of: str) -> Callable[[Command], Command]:
    """Make ``--max-time``; ``of`` names the options that it limits."""
    return click.option(
        "--max-time",
        type=stated(_some_seconds),
        metavar="TIME",
        default="10min",
        show_default=True,
        help=f"About how long {of} may take: what is not decided by then stays open. Every file is "
        "measured twice in any case.",
    )


def _some_seconds(text: str) -> float:
    """Read a duration.

    Raises:
        ValueError: It is something else, or none.
    """
    seconds = seconds_of(text)
    if seconds == 0:
        raise ValueError(f"{text!r} leaves no time")
    return seconds


def terms_of(across: tuple[str, ...], history: History) -> Terms:
    """The terms that the options state, with what the history knows of the devices."""
    from edgeconv.bench.compare.comparison import Terms

    more = OF_A_DEVICE if "device" in across else ()
    return Terms(frozenset((*across, *more)), history.between_sessions)


def exit_with(outcome: Outcome) -> None:
    """End with the exit code of a gate, unless it passed."""
    from edgeconv.bench.compare.comparison import Outcome

    codes = {Outcome.FAIL: 1, Outcome.INCONCLUSIVE: INCONCLUSIVE}
    if outcome in codes:
        sys.exit(codes[outcome])
