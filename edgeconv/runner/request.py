"""The request: one JSON object on the first line of standard input, and how it is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

PROTOCOL = 1


class RunnerError(Exception):
    """A failure that the host reports to the user.

    Args:
        kind: What failed, for programs.
        message: What happened, for people; it is brought onto one line.
        hint: What to do about it; empty where nothing is known.
    """

    def __init__(self, kind: str, message: object, hint: str = "") -> None:
        super().__init__(" ".join(str(message).split())[:800])
        self.kind = kind
        self.hint = hint


@dataclass(frozen=True)
class Request:
    """What to measure, and how long.

    Its fields are those of :class:`edgeconv.device.messages.RunRequest`, which explains them. The
    host and the device may have different Pythons, so the two share no code.
    """

    protocol: int
    model: str
    runtime: str | None
    threads: int
    affinity: list[int] | None
    warmup_seconds: float
    warmup_runs: int
    stability: float
    min_runs: int
    min_seconds: float
    max_seconds: float
    deadline_seconds: int
    seed: int
    inputs: str | None
    log: str | None
    counts: str | None = None
    reading_seconds: float = 0.0
    power: bool = False
    operators: bool = False
    batches: int = 0
    channels_first: Sequence[str] = ()
    pixels: Sequence[str] = ()
    xnnpack: bool | None = None
    script: str | None = None
    script_file: str = ""
    frame: Sequence[int] = (0, 0)


def read_request() -> Request:
    """Read the first line of standard input.

    Raises:
        RunnerError: The input ended too early, or the line is not a request of this protocol.
    """
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            raise RunnerError("request", "standard input ended before the request did")
        line += chunk
    try:
        request = Request(**json.loads(line.decode("utf-8")))
    except (TypeError, ValueError) as error:
        raise RunnerError("request", f"the request cannot be read: {error}") from error
    if request.protocol != PROTOCOL:
        raise RunnerError("request", f"protocol {request.protocol} asked, {PROTOCOL} expected")
    return request
