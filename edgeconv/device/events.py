"""From the lines that a runner writes to validated events, and from its death to one line."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator

from pydantic import ValidationError

from edgeconv.device.messages import EVENT, Done, Event, Failed, Instructions, Operators, printable
from edgeconv.device.process import LineProcess
from edgeconv.errors import MeasurementError, UsageError
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
    "warmup": "in the measurement",
    "samples": "in the measurement",
    "reading": "in the measurement",
}
SHELL_SIGNAL = 128
NOISE = ("INFO:", "WARNING:", "W0000", "I0000")


Explain = Callable[[int, str], "str | None"]


def nothing_special(status: int, stderr: str) -> str | None:
    """A runner without a connection in between has no more to say."""
    return None


def events_of(
    process: LineProcess, device: str, explain: Explain = nothing_special
) -> Iterator[Event]:
    """Yield the events up to and with "done", "instructions" or "operators".

    Args:
        process: runs the runner.
        device: its name, for messages.
        explain: what an exit status and the standard error mean on this kind of device, if it is
            not the runner that ended so.

    Raises:
        UsageError: the inputs do not fit the model, or the device lacks the CPUs asked.
        MeasurementError: the runner reported a failure, sent something else than events, or ended
            without "done". The message says what it was doing and its last words.
    """
    stage = ""
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
            raise kind(f"{device}: {event.message}", hint=event.hint)
        yield event
        if isinstance(event, Done | Instructions | Operators):
            return
        stage = event.event
    logger.debug("%s", process.stderr)
    said = explain(process.returncode, process.stderr)
    if said is None:
        said = f"the runner {_end(process.returncode)} {STAGES[stage]}{last_words(process.stderr)}"
    raise MeasurementError(f"{device}: {said}")


def _end(status: int) -> str:
    """In words. A signal is negative from a process of ours, and above 128 from a shell."""
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
    """The last line of standard error that is not a library's chatter."""
    lines = [line.strip() for line in stderr.splitlines()]
    telling = [line for line in lines if line and not line.startswith(NOISE)]
    if not telling:
        return ""
    return f"; its last words: {printable(telling[-1])[:300]}"
