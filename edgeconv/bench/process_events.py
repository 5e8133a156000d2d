"""One process's events, put together as they come."""

from __future__ import annotations

from edgeconv.bench.result import ProcessRun
from edgeconv.device.messages import (
    Done,
    Event,
    First,
    Load,
    Machine,
    Outputs,
    Samples,
    Start,
    Warmup,
)
from edgeconv.errors import MeasurementError


class Answer:
    """Takes events; ``samples`` are there even if the process is cut short."""

    def __init__(self) -> None:
        self.start: Start | None = None
        self.load: Load | None = None
        self.first: First | None = None
        self.outputs: Outputs | None = None
        self.warmup: Warmup | None = None
        self.done: Done | None = None
        self.samples: list[int] = []

    def take(self, event: Event) -> None:
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
        elif isinstance(event, Done):
            self.done = event

    def process(self, repetition: int, order: int) -> tuple[Machine, ProcessRun]:
        """The whole.

        Raises:
            MeasurementError: a part is missing, or the parts contradict each other.
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
            outputs=tuple(o.model_copy(update={"base64": None}) for o in outputs.outputs),
        )
