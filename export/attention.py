"""How PyTorch computes the attention of its own transformer layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch.nn.modules import transformer


@contextmanager
def plain_attention() -> Iterator[None]:
    """Let the layers compute every place with the mask as it is, inside the block.

    The fast path packs what a padding mask leaves into a nested tensor, which no file can hold,
    and answers zeros at the padded places. ``TransformerEncoder`` and ``TransformerDecoder`` ask a
    mask by its values whether it is causal, which cannot be traced; the answer only chooses a
    kernel. Both the traced network and the one it is compared with do without, and the caller's
    choice is restored after the block.
    """
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with patch.object(transformer, "_detect_is_causal_mask", _is_stated_causal):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _is_stated_causal(
    _mask: torch.Tensor | None, is_causal: bool | None = None, _size: int | None = None
) -> bool:
    return is_causal is True
