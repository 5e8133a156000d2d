"""Models of the noise that latencies have, drawn for many sessions at once.

A session measures two equal files in turns (A B, B A, …), ``SAMPLES`` inferences in each process.
Everything is on the log scale: 0.01 is one percent. What only adds noise (an interrupt, a job, a
throttled clock) is also known to the oracle, which sees the samples without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SAMPLES = 60
SECONDS = 2.0  # of one process, with its start and warm-up
RETRIES = 2
COOLING_SECONDS = 10.0
Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Noise:
    """The noise of many sessions.

    Attributes:
        samples: Logs [sessions, files, processes, samples].
        clean: What the oracle sees of each process: [sessions, files, processes].
        disturbed: Processes that the device reported as disturbed, after their repetitions.
        step: Step of the clock relative to the latency.
    """

    samples: Array
    clean: Array
    disturbed: Flags
    step: float = 0.0


@dataclass(frozen=True)
class Shape:
    """How many sessions to draw, of how many processes a file."""

    sessions: int
    processes: int

    @property
    def levels(self) -> tuple[int, int, int]:
        """The shape of what every process has one of."""
        return self.sessions, 2, self.processes

    def times(self) -> Array:
        """When each process starts, in seconds: [files, processes]; the files take turns."""
        order = np.arange(2 * self.processes).reshape(-1, 2)
        order[1::2] = order[1::2, ::-1]
        return SECONDS * order.T.astype(np.float64)


Model = Callable[[np.random.Generator, Shape], Noise]
MODELS: dict[str, Model] = {}


def _model(name: str) -> Callable[[Model], Model]:
    def register(function: Model) -> Model:
        MODELS[name] = function
        return function

    return register


def _jitter(random: np.random.Generator, shape: Shape, deviation: float = 0.01) -> Array:
    """Every sample is late by a little, and every fiftieth by an interrupt."""
    size = (*shape.levels, SAMPLES)
    late = np.abs(random.normal(0, deviation, size))
    late += (random.random(size) < 0.02) * random.exponential(0.5, size)
    return np.log1p(late)


def _noise(
    random: np.random.Generator,
    shape: Shape,
    *,
    offsets: float = 0.003,
    known: Array | float = 0.0,
    disturbed: Flags | None = None,
    jitter: float = 0.01,
) -> Noise:
    """Normal process offsets and jitter, and on top what the oracle knows of.

    ``known`` has a value per process or per sample.
    """
    own = random.normal(0, offsets, shape.levels)
    late = _jitter(random, shape, jitter)
    added = np.asarray(known)
    added = added[..., None] if added.ndim == 3 else added
    clean = own + np.median(late, axis=-1)
    flags = np.zeros(shape.levels, dtype=np.bool_) if disturbed is None else disturbed
    return Noise(own[..., None] + late + added, clean, flags)


@_model("quiet")
def quiet(random: np.random.Generator, shape: Shape) -> Noise:
    """Processes differ by 0.3 %."""
    return _noise(random, shape)


@_model("process offsets of 1 %")
def process_offsets(random: np.random.Generator, shape: Shape) -> Noise:
    """Memory layouts that are all different."""
    return _noise(random, shape, offsets=0.01)


@_model("bimodal layouts, 2 % apart")
def bimodal_layouts(random: np.random.Generator, shape: Shape) -> Noise:
    """Every other process has an unlucky layout."""
    return _noise(random, shape, known=0.02 * (random.random(shape.levels) < 0.5))


@_model("AR(1), short memory")
def short_memory(random: np.random.Generator, shape: Shape) -> Noise:
    """2 % of noise that an inference passes on to about ten others."""
    return _noise(random, shape, known=_autoregressive(random, shape, 0.02, 10))


def _autoregressive(
    random: np.random.Generator, shape: Shape, deviation: float, memory: float
) -> Array:
    keep = np.exp(-1 / memory)
    drawn = random.normal(0, deviation, (*shape.levels, SAMPLES))
    for index in range(1, SAMPLES):
        drawn[..., index] = keep * drawn[..., index - 1] + np.sqrt(1 - keep**2) * drawn[..., index]
    return drawn


@_model("AR(1), memory of 30 s")
def long_memory(random: np.random.Generator, shape: Shape) -> Noise:
    """2 % of noise that outlives many processes."""
    steps = random.normal(0, 0.02, (shape.sessions, 2 * shape.processes))
    keep = np.exp(-SECONDS / 30)
    for index in range(1, steps.shape[1]):
        steps[:, index] = keep * steps[:, index - 1] + np.sqrt(1 - keep**2) * steps[:, index]
    place = (shape.times() / SECONDS).astype(np.int64)
    return _noise(random, shape, known=steps[:, place])


@_model("drift of 10 % over 16 processes")
def drift(random: np.random.Generator, shape: Shape) -> Noise:
    """A machine that heats up, or cools down."""
    direction = random.choice([-1.0, 1.0], (shape.sessions, 1, 1))
    rise = np.log1p(0.1 * shape.times() / (16 * SECONDS))
    return _noise(random, shape, known=direction * rise)


@_model("two clocks, 15 % apart, hidden")
def hidden_states(random: np.random.Generator, shape: Shape) -> Noise:
    """A hypervisor's host has two speeds, and does not say so."""
    return _noise(random, shape, known=0.15 * (random.random(shape.levels) < 0.5))


@_model("two clocks, 15 % apart, reported")
def reported_states(random: np.random.Generator, shape: Shape) -> Noise:
    """A process at the slow clock is repeated, and marked if it stays slow."""
    slow = random.random(shape.levels) < 0.5 ** (RETRIES + 1)
    return _noise(random, shape, known=0.15 * slow, disturbed=slow)


def _throttled(random: np.random.Generator, shape: Shape, attempts: int = 1) -> Array:
    """Per sample: 30 % slower for two fifths of a cycle of half a minute.

    A process that meets it is measured again after a pause, until the last attempt.
    """
    cycle = 30 * random.uniform(0.8, 1.2, (shape.sessions, 1, 1, 1))
    start = random.random((shape.sessions, 1, 1, 1))
    moments = shape.times()[..., None] + np.linspace(0, SECONDS, SAMPLES)
    slow = (moments / cycle + start) % 1 > 0.6
    for attempt in range(1, attempts):
        later = moments + attempt * (SECONDS + COOLING_SECONDS)
        met = slow.any(axis=-1, keepdims=True)
        slow = np.where(met, (later / cycle + start) % 1 > 0.6, slow)
    return 0.3 * slow


@_model("throttling with hysteresis, hidden")
def hidden_throttling(random: np.random.Generator, shape: Shape) -> Noise:
    """It cools until it is well below the limit; nothing reports it."""
    return _noise(random, shape, known=_throttled(random, shape))


@_model("throttling with hysteresis, reported")
def reported_throttling(random: np.random.Generator, shape: Shape) -> Noise:
    """A throttled process is repeated after a pause."""
    slow = _throttled(random, shape, 1 + RETRIES)
    return _noise(random, shape, known=slow, disturbed=slow.max(axis=-1) > 0)


@_model("bursts of 1.5 times")
def bursts(random: np.random.Generator, shape: Shape) -> Noise:
    """Up to three fifths of a process run beside something that comes and goes."""
    size = (*shape.levels, 1)
    begin, length = random.random(size), random.uniform(0, 0.6, size)
    place = (np.arange(SAMPLES) / SAMPLES - begin) % 1
    return _noise(random, shape, known=np.log(1.5) * (place < length))


@_model("a job beside 15 % of the processes")
def jobs(random: np.random.Generator, shape: Shape) -> Noise:
    """It slows most of their samples by a fifth to a half."""
    beside = random.random((*shape.levels, 1)) < 0.15
    hit = random.random((*shape.levels, SAMPLES)) < 0.75
    size = random.uniform(1.2, 1.5, (*shape.levels, 1))
    return _noise(random, shape, known=np.log(size) * (beside & hit))


@_model("coarse clock, steps of 2 %")
def coarse_clock(random: np.random.Generator, shape: Shape) -> Noise:
    """A counter of few hertz times a short inference."""
    noise = _noise(random, shape, jitter=0.005)
    return Noise(noise.samples, noise.clean, noise.disturbed, step=0.02)


@_model("coarse clock, steps of 10 %")
def very_coarse_clock(random: np.random.Generator, shape: Shape) -> Noise:
    """Ten steps an inference."""
    noise = _noise(random, shape, jitter=0.02)
    return Noise(noise.samples, noise.clean, noise.disturbed, step=0.1)
