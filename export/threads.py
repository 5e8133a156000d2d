"""How many threads PyTorch uses while it runs a small network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Run PyTorch on one thread inside the block, and restore the caller's number after it.

    Small networks gain nothing from a second thread. On a machine whose other core is busy they
    lose time: the first thread spins until the second one gets a core, ten times as long as the
    work itself takes.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
