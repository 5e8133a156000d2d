"""Do part of an export in a thread beside the rest of it, which may fail or be interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Event
from types import TracebackType
from typing import Any, TypeVar

from edgeconv.export.data.samples import Sample
from edgeconv.export.verify.expected import Outputs
from edgeconv.export.verify.reference import Oracle

_T = TypeVar("_T")


class StoppedError(Exception):
    """What a thread was doing is wanted no more."""


class Beside:
    """A thread that runs the network or its files, as a context.

    Where an error leaves the context, the thread ends after the sample that it is running.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="beside")
        self._started: list[Future[Any]] = []
        self._stopped = Event()

    def __enter__(self) -> Beside:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._stopped.set()
        self._thread.shutdown(cancel_futures=error is not None)

    def start(self, work: Callable[[], _T]) -> Callable[[], _T]:
        """Do something after all that was started before; the result waits for it."""
        future = self._thread.submit(work)
        self._started.append(future)
        return future.result

    def wait(self) -> None:
        """Wait for everything, also for what is started meanwhile."""
        for future in self._started:  # it may grow
            wait([future])

    def each(self, items: Iterable[_T]) -> Iterator[_T]:
        """Yield what is run one by one.

        Raises:
            StoppedError: It was stopped.
        """
        for item in items:
            self._check()
            yield item

    def oracle(self, run: Oracle) -> Oracle:
        """``run``, which raises :class:`StoppedError` once it was stopped."""

        def checked(sample: Sample) -> Outputs:
            self._check()
            return run(sample)

        return checked

    def _check(self) -> None:
        if self._stopped.is_set():
            raise StoppedError
