"""Trained weights for a network: from a file, or those that torchvision publishes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from edgeconv.errors import DataError
from edgeconv.export.capture.checkpoint import State, read_checkpoint
from edgeconv.export.capture.mismatch import mismatch
from edgeconv.export.capture.training_settings import settings_hint
from edgeconv.export.capture.weight_values import dense, refuse_lost_values
from edgeconv.model_args import ModelArgs
from edgeconv.models.pretrained import PretrainedError, load_pretrained


def load_published_weights(name: str, network: nn.Module) -> None:
    """Load the published weights of the zoo's network ``name``, downloaded or from the cache.

    Raises:
        DataError: There are none, they cannot be downloaded, or they do not fit.
    """
    try:
        load_pretrained(name, network)
    except PretrainedError as error:
        raise DataError(error.message, hint=error.hint) from error


def load_weights(
    network: nn.Module,
    path: Path,
    key: str | None = None,
    *,
    factory: Callable[..., nn.Module] | None = None,
    args: ModelArgs | None = None,
) -> None:
    """Load a file of weights into ``network``; a pickle is never executed.

    Args:
        network: The network.
        path: A state dict, or a checkpoint that holds one; see
            :func:`edgeconv.export.capture.checkpoint.read_checkpoint`.
        key: Where in the checkpoint it is; None for the usual places.
        factory: What made the network, if it is known; settings in the checkpoint may say how it
            was called in training.
        args: What it was called with now.

    Raises:
        UsageError: The file is missing, of another kind, or has no such key.
        DataError: The file is damaged, or its names, shapes or values do not fit the network.
    """
    own = network.state_dict()
    state = dense(own, read_checkpoint(path, key, own.keys()), path)
    refuse_lost_values(own, state, path)
    reason = _load(network, state)
    if reason is not None:
        problem = mismatch(network.state_dict(), state, path)
        stated = settings_hint(path, factory, args or {})
        if problem is not None and stated is not None:
            raise DataError(problem.message, hint=stated)
        raise problem or DataError(
            f"{path} does not fit the network: {reason}", hint="it is of another version or variant"
        )


def _load(network: nn.Module, state: State) -> str | None:
    """Load weights that fit; otherwise say why they do not.

    PyTorch judges that, because a network may rename or drop what earlier versions of it saved.
    Where they do not fit, the network keeps its own.
    """
    own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    reason = "names differ"
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
        # A counter that only training reads, and that files from before PyTorch 0.4.1 lack.
        missing = [name for name in missing if not name.endswith("num_batches_tracked")]
        if not missing and not unexpected:
            return None
    except RuntimeError as error:  # a shape differs, or the module's own code refuses
        reason = str(error).strip().rpartition("\n")[2].strip()
    network.load_state_dict(own, strict=False)
    return reason
