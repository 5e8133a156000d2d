"""How PyTorch computes the attention of its own transformer layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch.nn.modules import transformer


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


@contextmanager
def masks_as_given() -> Iterator[None]:
    """Let PyTorch's transformers use every mask as it is, inside the block.

    They compare a mask with a causal one, to choose a faster kernel of the same result. A trace has
    no values to compare.
    """
    with patch.object(transformer, "_detect_is_causal_mask", _as_stated):
        yield


def _as_stated(
    mask: torch.Tensor | None, is_causal: bool | None = None, size: int | None = None
) -> bool:
    return is_causal is True
