"""From the lines that a runner writes to validated events, and from its death to one line."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

from pydantic import ValidationError

from edgeconv.device.messages import EVENT, Done, Event, Failed, RunRequest
from edgeconv.device.process import LineProcess
from edgeconv.errors import MeasurementError

logger = logging.getLogger(__name__)

# What the runner is doing after each event, for the message when it dies there.
STAGES = {
    "": "before it started",
    "start": "while loading the model",
    "load": "in the first inference",
    "first": "in the first inference",
    "outputs": "in the warm-up",
    "warmup": "in the measurement",
    "samples": "in the measurement",
}
NOISE = ("INFO:", "WARNING:", "W0000", "I0000")


def events_of(process: LineProcess, request: RunRequest, device: str) -> Iterator[Event]:
    """Yield the events up to and with "done".

    Raises:
        MeasurementError: the runner reported a failure, sent something else than events, or ended
            without "done". The message says what it was doing and its last words.
    """
    where = f"{request.model} on {device}"
    stage = ""
    for line in process:
        try:
            event = EVENT.validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "the line"
            raise MeasurementError(
                f"{where}: the runner sent an invalid event ({field}: {first['msg']})"
            ) from error
        if isinstance(event, Failed):
            logger.debug("%s", process.stderr)
            raise MeasurementError(f"{where}: {event.message}")
        yield event
        if isinstance(event, Done):
            return
        stage = event.event
    logger.debug("%s", process.stderr)
    raise MeasurementError(
        f"{where}: the runner {_end(process.returncode)} {STAGES[stage]}"
        f"{last_words(process.stderr)}"
    )


def _end(returncode: int) -> str:
    if returncode == -signal.SIGKILL:
        return "was killed (SIGKILL, often for lack of memory)"
    if returncode == -signal.SIGALRM:
        return "ran past its deadline and ended itself"
    if returncode < 0:
        return f"crashed ({_signal_name(-returncode)})"
    return f"ended with status {returncode}"


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
    words = "".join(c if c.isprintable() else " " for c in telling[-1])
    return f"; its last words: {words[:300]}"
