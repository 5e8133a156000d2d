"""How PyTorch computes the attention of its own transformer layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def plain_attention() -> Iterator[None]:
    """Switch PyTorch's fast path off inside the block, and restore the caller's choice after it.

    The fast path packs what a padding mask leaves into a nested tensor, which no file can hold,
    and answers zeros at the padded places. Both the traced network and the one it is compared with
    compute every place.
    """
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
