"""Trained weights for a network: from a file, or those that torchvision publishes."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from edgeconv.errors import DataError
from edgeconv.export.capture.checkpoint import read_checkpoint
from edgeconv.export.capture.mismatch import mismatch
from edgeconv.models.pretrained import PretrainedError, load_pretrained


def load_published_weights(name: str, network: nn.Module) -> None:
    """Load the published weights of the zoo's network ``name``, downloaded or from the cache.

    Raises:
        DataError: There are none, they cannot be downloaded, or they do not fit.
    """
    try:
        load_pretrained(name, network)
    except PretrainedError as error:
        raise DataError(str(error)) from error


def load_weights(network: nn.Module, path: Path, key: str | None = None) -> None:
    """Load a file of weights into ``network``; a pickle is never executed.

    Args:
        network: The network.
        path: A state dict, or a checkpoint that holds one; see
            :func:`edgeconv.export.capture.checkpoint.read_checkpoint`.
        key: Where in the checkpoint it is; None for the usual places.

    Raises:
        UsageError: The file is missing, of another kind, or has no such key.
        DataError: The file is damaged, or its names or shapes are not the network's.
    """
    state = read_checkpoint(path, key, network.state_dict().keys())
    problem = mismatch(network.state_dict(), state, path)
    if problem is not None:
        raise problem
    network.load_state_dict(state, strict=False)
