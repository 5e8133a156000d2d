"""What a file computes on a device: arrays go there, the outputs come back, in bounded portions."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.device import Device, Lock, RunRequest
from edgeconv.device.facts import PACKAGES
from edgeconv.device.messages import Computed, Output, Outputs, Start, Values
from edgeconv.errors import LostConnection, MeasurementError
from edgeconv.scratch import temporary_folder

logger = logging.getLogger(__name__)

Arrays = Mapping[str, npt.NDArray[Any]]

DEADLINE_SECONDS = 1800  # of one portion, the loading included
LEASE_SECONDS = DEADLINE_SECONDS + 1800  # and for sending it and the files
# Before each further try of a portion whose connection was lost; a board takes a minute to boot.
PAUSES_SECONDS = (1.0, 5.0, 15.0, 30.0, 60.0)


class Computing:
    """A device that computes, and that nothing measures meanwhile; see :func:`computing`.

    Attributes:
        name: The device's name.
    """

    def __init__(self, device: Device, held: ExitStack) -> None:
        self.name = device.name
        self._device = device
        self._held = held
        self._lock: Lock | None = None
        self._take_lock()

    def _take_lock(self) -> Lock:
        self._lock = lock = self._held.enter_context(self._device.lock(LEASE_SECONDS))
        return lock

    @cached_property
    def _suffixes(self) -> frozenset[str]:
        """Of the files that its runtimes read."""
        (python, *_) = self._device.probe().pythons or (None,)
        installed = python.packages if python else {}
        return frozenset(r.suffix for r, package in PACKAGES.items() if package in installed)

    def reads(self, file: Path) -> bool:
        """Whether a runtime is there that reads such files.

        Raises:
            MeasurementError: The device does not answer.
        """
        return file.suffix in self._suffixes

    def run(self, file: Path, batches: Sequence[Arrays]) -> tuple[str, list[dict[str, Any]]]:
        """Compute in one process, and again if the connection is lost meanwhile.

        Args:
            file: An .onnx or .tflite file.
            batches: Arrays by the names of its inputs; of one shape and type in all batches.

        Returns:
            The runtime with its version, and the outputs of every batch by their names.

        Raises:
            UsageError: The arrays do not fit the file.
            MeasurementError: The device was lost, cannot run the file, or contradicts itself.
        """
        with temporary_folder() as folder:
            arrays = folder / "batches.npz"
            stacked: dict[str, Any] = {n: np.stack([b[n] for b in batches]) for n in batches[0]}
            np.savez(arrays, **stacked)
            try:
                return self._persistently(file, arrays, len(batches))
            finally:
                self._device.remove([arrays])

    def _persistently(
        self, file: Path, arrays: Path, batches: int
    ) -> tuple[str, list[dict[str, Any]]]:
        for pause in PAUSES_SECONDS:
            with self._waiting_if_lost(pause):
                return self._attempt(file, arrays, batches)
        return self._attempt(file, arrays, batches)

    @contextmanager
    def _waiting_if_lost(self, seconds: float) -> Iterator[None]:
        try:
            yield
        except LostConnection as error:
            logger.warning("%s; trying again in %.0f s", error.message, seconds)
            self._lock = None
            self._held.close()  # what is left of the lock's connection
            time.sleep(seconds)

    def _attempt(self, file: Path, arrays: Path, batches: int) -> tuple[str, list[dict[str, Any]]]:
        lock = self._lock or self._take_lock()
        lock.renew()
        request = RunRequest(
            model=self._device.place(file),
            inputs=self._device.place(arrays),
            batches=batches,
            deadline_seconds=DEADLINE_SECONDS,
        )
        return self._answer(request)

    def _answer(self, request: RunRequest) -> tuple[str, list[dict[str, Any]]]:
        runtime, said = "", 0
        described: list[tuple[tuple[Output, ...], list[str]]] = []
        with closing(self._device.run(request)) as events:
            for event in events:
                if isinstance(event, Start):
                    runtime = f"{event.runtime.value} {event.runtime_version}"
                elif isinstance(event, Outputs):
                    described.append((event.outputs, []))
                elif isinstance(event, Values) and described:
                    described[-1][1].append(event.base64)
                elif isinstance(event, Computed):
                    said = event.batches
        if not said == len(described) == request.batches or not runtime:
            raise self._contradiction(f"{len(described)} batches for {request.batches}")
        return runtime, [self._arrays(*each) for each in described]

    def _arrays(self, outputs: tuple[Output, ...], values: list[str]) -> dict[str, Any]:
        """Decode the outputs of a batch; those that their descriptions lack are in ``values``."""
        try:
            rest = b"".join(base64.b64decode(part, validate=True) for part in values)
            found = {}
            for output in outputs:
                kind = np.dtype(output.dtype)
                if kind.kind not in "biuf":
                    raise self._contradiction(f"an output of type {output.dtype}")
                size = kind.itemsize
                for length in output.shape:
                    size *= length
                if output.base64 is None:
                    data, rest = rest[:size], rest[size:]
                else:
                    data = base64.b64decode(output.base64, validate=True)
                if len(data) != size or hashlib.sha256(data).hexdigest() != output.sha256:
                    raise self._contradiction(f"{output.name} has other bytes than it says")
                found[output.name] = np.frombuffer(data, kind).reshape(output.shape).copy()
        except (binascii.Error, TypeError, ValueError) as error:
            raise self._contradiction(str(error)) from error
        return found

    def _contradiction(self, what: str) -> MeasurementError:
        return MeasurementError(f"{self.name}: the runner's answer contradicts itself: {what}")


@contextmanager
def computing(device: Device) -> Iterator[Computing]:
    """Keep a device for computing as long as the block runs.

    Raises:
        MeasurementError: Another harness has it, or it does not answer.
    """
    with ExitStack() as held:
        yield Computing(device, held)
