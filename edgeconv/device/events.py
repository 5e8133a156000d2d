"""Turns the lines that a runner writes into validated events, and its death into one error."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from edgeconv.device.messages import (
    EVENT,
    Computed,
    Done,
    Event,
    Failed,
    First,
    Instructions,
    Load,
    Operators,
    Outputs,
    Reading,
    Samples,
    Start,
    Steps,
    Warmup,
)
from edgeconv.device.process import LineProcess
from edgeconv.errors import LostConnection, MeasurementError, UsageError
from edgeconv.printable import printable
from edgeconv.versioned import first_problem

logger = logging.getLogger(__name__)

# Kinds of the runner's errors that the request is to blame for, not the device.
WRONG_REQUESTS = ("affinity", "input")
# What the runner is doing after each event, for the message when it dies there.
STAGES = {
    "": "before it started",
    "start": "while loading the model",
    "load": "in the first inference",
    "first": "in the first inference",
    "outputs": "in the warm-up",
    "values": "in a later inference",
    "warmup": "in the measurement",
    "samples": "in the measurement",
    "reading": "in the measurement",
    "operators": "after the measurement",
    "steps": "after the measurement",
}
SHELL_SIGNAL = 128
_ONCE = (Start, Load, First, Warmup, Operators, Steps)
# Times are of one clock and processor times of another, which may go on in steps.
_CLOCKS, _CLOCKS_SECONDS = 1.1, 1.0
_MESSAGE = 1000  # characters of what a runner says
NOISE = ("INFO:", "WARNING:", "W0000", "I0000")


@dataclass(frozen=True)
class Explanation:
    """Why a process of a device ended: the message and the hint of the error.

    Attributes:
        message: What happened.
        hint: What to do about it.
        lost: Whether the connection is to blame, which may work again later.
    """

    message: str
    hint: str = ""
    lost: bool = False

    def error(self, device: str) -> MeasurementError:
        """Return the error, which names the device."""
        kind = LostConnection if self.lost else MeasurementError
        return kind(f"{device}: {self.message}", hint=self.hint)


# From an exit status and the standard error; None where they say nothing about the device.
Explain = Callable[[int, str], "Explanation | None"]


def nothing_special(status: int, stderr: str) -> Explanation | None:
    """Explain nothing: without a connection in between, only the runner has something to say."""
    return None


def events_of(
    process: LineProcess, device: str, explain: Explain = nothing_special
) -> Iterator[Event]:
    """Yield the events up to and with "done", "instructions" or "computed".

    Args:
        process: Runs the runner.
        device: Its name, for messages.
        explain: Says what an exit status and the standard error mean on this kind of device, if it
            is not the runner that ended so.

    Raises:
        UsageError: The inputs do not fit the model, or the device lacks the CPUs asked.
        MeasurementError: The runner reported a failure, sent something else than events, or ended
            without "done". The message says what it was doing and its last words.
    """
    stage, consistency = "", _Consistency(device)
    for line in process:
        try:
            event = EVENT.validate_json(line)
        except ValidationError as error:
            raise MeasurementError(
                f"{device}: the runner sent an invalid event ({first_problem(error)})"
            ) from error
        if isinstance(event, Failed):
            logger.debug("%s", process.stderr)
            kind = UsageError if event.kind in WRONG_REQUESTS else MeasurementError
            raise kind(f"{device}: {event.message[:_MESSAGE]}", hint=event.hint[:_MESSAGE])
        consistency.check(event)
        yield event
        if isinstance(event, Done | Instructions | Computed):
            return
        stage = event.event
    logger.debug("%s", process.stderr)
    words = last_words(process.stderr)
    ended = Explanation(f"the runner {_end(process.returncode)} {STAGES[stage]}{words}")
    raise (explain(process.returncode, process.stderr) or ended).error(device)


class _Consistency:
    """What a runner has said, to hold what it says next against."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._runs = self._ns = self._last = 0
        self._said = set[str]()
        self._cores = 1
        self._cpu_seconds = 0.0

    def check(self, event: Event) -> None:
        """Refuse what cannot follow what was said.

        That is an event of which there is one, a second time; samples that do not fit the total;
        readings that go back in time; and more processor time than all cores have.
        """
        timed = isinstance(event, Outputs) and "first" in self._said  # others have many outputs
        if (timed or isinstance(event, _ONCE)) and event.event in self._said:
            raise self._contradiction(f"{event.event!r} comes twice")
        self._said.add(event.event)
        if isinstance(event, Start):
            self._cores = max(event.machine.cores or 1, event.machine.cores_allowed)
        elif isinstance(event, Warmup):
            self._cpu_seconds = event.conditions.own_cpu_seconds
        elif isinstance(event, Samples):
            self._runs += len(event.ns)
            self._ns += sum(event.ns)
        elif isinstance(event, Reading | Done):
            self._check_totals(event)

    def _check_totals(self, event: Reading | Done) -> None:
        counted = self._runs if isinstance(event, Reading) else event.runs
        if event.ns < max(self._ns, self._last) or counted != self._runs:
            raise self._contradiction(
                f"{self._runs} samples of {self._ns} ns in all, for {counted} runs in {event.ns} ns"
            )
        self._last = event.ns
        used = event.conditions.own_cpu_seconds - self._cpu_seconds
        if not 0 <= used <= self._cores * event.ns / 1e9 * _CLOCKS + _CLOCKS_SECONDS:
            raise self._contradiction(
                f"{used:.3g} s of processor time in {event.ns} ns on {self._cores} cores"
            )

    def _contradiction(self, what: str) -> MeasurementError:
        return MeasurementError(
            f"{self._device}: the runner's answer contradicts itself: {what}",
            hint="measure again; if it stays so, look at the device",
        )


def _end(status: int) -> str:
    """Put a status into words; a signal is negative from our process, above 128 from a shell."""
    number = -status if status < 0 else status - SHELL_SIGNAL
    if number == signal.SIGKILL:
        return "was killed (SIGKILL, often for lack of memory)"
    if number == signal.SIGALRM:
        return "ran past its deadline and ended itself"
    if number > 0:
        return f"crashed ({_signal_name(number)})"
    return f"ended with status {status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def last_words(stderr: str) -> str:
    """Return the last line of standard error that is not a library's chatter, to end a message."""
    lines = [line.strip() for line in stderr.splitlines()]
    words = [line for line in lines if line and not line.startswith(NOISE)]
    return f"; its last words: {printable(words[-1])[:300]}" if words else ""
