"""One process's events, put together as they come."""

from __future__ import annotations

from edgeconv.bench.result import ProcessRun
from edgeconv.device.messages import (
    Conditions,
    Done,
    Event,
    First,
    Load,
    Machine,
    Operators,
    Outputs,
    Reading,
    Samples,
    Start,
    Steps,
    Warmup,
)
from edgeconv.errors import MeasurementError, first_line


class Answer:
    """What a process has said so far; ``samples`` are kept even if it is cut short."""

    def __init__(self) -> None:
        self.start: Start | None = None
        self.load: Load | None = None
        self.first: First | None = None
        self.outputs: Outputs | None = None
        self.warmup: Warmup | None = None
        self.done: Done | None = None
        self.operators: Operators | None = None
        self.steps: Steps | None = None
        self.readings: list[Conditions] = []
        self.samples: list[int] = []

    def take(self, event: Event) -> None:
        """Add an event."""
        if isinstance(event, Start):
            self.start = event
        elif isinstance(event, Load):
            self.load = event
        elif isinstance(event, First):
            self.first = event
        elif isinstance(event, Outputs):
            self.outputs = event
        elif isinstance(event, Warmup):
            self.warmup = event
        elif isinstance(event, Samples):
            self.samples.extend(event.ns)
        elif isinstance(event, Reading):
            self.readings.append(event.conditions)
        elif isinstance(event, Operators):
            self.operators = event
        elif isinstance(event, Steps):
            self.steps = event
        elif isinstance(event, Done):
            self.done = event

    def process(self, repetition: int, order: int) -> tuple[Machine, ProcessRun]:
        """Put everything together.

        Args:
            repetition: Which process of its model this is, from 0.
            order: Its place among all processes of the session, from 0.

        Raises:
            MeasurementError: A part is missing, or the parts contradict each other.
        """
        start, load, first, outputs = self.start, self.load, self.first, self.outputs
        warmup, done = self.warmup, self.done
        if not (start and load and first and outputs and warmup and done and self.samples):
            raise MeasurementError("the device: the runner left out a part of its answer")
        if len(self.samples) != done.runs or sum(self.samples) > done.ns:
            raise MeasurementError(
                f"the device: the runner's answer contradicts itself: {len(self.samples)} samples "
                f"of {sum(self.samples)} ns in all, for {done.runs} runs in {done.ns} ns"
            )
        return start.machine, ProcessRun(
            repetition=repetition,
            order=order,
            runtime=start.runtime,
            runtime_version=start.runtime_version,
            python=start.python,
            numpy=start.numpy,
            load_ns=load.ns,
            first_ns=first.ns,
            warmup_runs=warmup.runs,
            warmup_ns=warmup.ns,
            warmup_stable=warmup.stable,
            samples_ns=tuple(self.samples),
            elapsed_ns=done.ns,
            complete=done.complete,
            before=warmup.conditions,
            after=done.conditions,
            during=tuple(self.readings),
            outputs=tuple(o.model_copy(update={"base64": None}) for o in outputs.outputs),
            operators=self.operators.operators if self.operators else (),
            delegates=load.delegates,
        )


def why_cut(error: BaseException) -> str:
    """Why a measurement ended early, on one line."""
    return "interrupted" if isinstance(error, KeyboardInterrupt) else first_line(error)
