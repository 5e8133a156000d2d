"""A copy of the caller's module, as an export needs it: on the CPU, in float32, in eval mode."""

from __future__ import annotations

import copy
import logging

import torch
from torch import fx, nn
from torch.nn.parameter import is_lazy
from torch.optim.swa_utils import AveragedModel
from torch.utils import _pytree as pytree

from edgeconv.errors import DataError, UsageError, first_line
from edgeconv.export.quiet import quiet_python

logger = logging.getLogger(__name__)

_OF_TENSORS = "pass file.py:factory, or keep no tensors that need a gradient as attributes"
_OF_SHARDS = (
    "gather its weights with torch.distributed.checkpoint.state_dict.get_model_state_dict and "
    "full_state_dict=True, load them into a network that is not sharded, and pass that"
)
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


def own_copy(network: nn.Module) -> nn.Module:
    """Copy the caller's module, so that its mode, device and parameters stay as they are.

    What only wraps a network is taken off: torch.compile, DataParallel, an average of weights.

    Raises:
        UsageError: The module cannot be copied, or has sparse weights.
    """
    network = unwrapped(network)
    _refuse_sparse(network)
    if _is_exported(network):
        return network  # a copy would lose its mode, and nothing here changes it
    try:
        with quiet_python():  # PyTorch warns of its own classes
            return copy.deepcopy(network, _detached(network))
    except Exception as error:  # the user's own __deepcopy__, or one of PyTorch's many reasons
        raise UsageError(
            f"{type(network).__name__} cannot be copied: {first_line(error)}",
            hint=_OF_SHARDS if "FSDP" in str(error) else _OF_TENSORS,
        ) from error


def _detached(network: nn.Module) -> dict[int, torch.Tensor]:
    """Copies of what modules computed from their parameters, as hooks of weight_norm leave it.

    PyTorch copies no tensor that has a gradient to pass on. They are keyed as deepcopy wants them.
    """
    held = (value for module in network.modules() for value in vars(module).values())
    return {
        id(tensor): tensor.detach().clone()
        for tensor in pytree.tree_leaves([*held])
        if isinstance(tensor, torch.Tensor) and not tensor.is_leaf
    }


def unwrapped(network: nn.Module) -> nn.Module:
    """The network within what torch.compile, DataParallel or AveragedModel made of it.

    Raises:
        UsageError: It is a TorchScript module, which has no Python to trace.
    """
    if isinstance(network, torch.jit.ScriptModule):
        raise UsageError(
            f"{network.original_name} is a TorchScript module",
            hint="pass the module that it was scripted or traced from",
        )
    inner = getattr(network, "_orig_mod", None)  # torch.compile has no public name for it
    if isinstance(network, _WRAPPERS):
        inner = network.module
    return unwrapped(inner) if isinstance(inner, nn.Module) else network


def prepared(network: nn.Module) -> nn.Module:
    """Put a module of our own on the CPU, in float32 and into eval mode.

    Raises:
        UsageError: It has no weights yet or sparse ones, or is one that torch.export made, in
            training mode.
        DataError: A parameter has a value that float32 cannot hold.
    """
    network = unwrapped(network)
    _refuse_sparse(network)
    tensors = [*network.parameters(), *network.buffers()]
    if any(map(is_lazy, tensors)):
        raise UsageError(
            f"{type(network).__name__} has lazy layers (torch.nn.Lazy…) without weights",
            hint="run it on an input once, or load weights into it, before the export",
        )
    if any(tensor.is_meta for tensor in tensors):
        raise UsageError(
            f"{type(network).__name__} is on the meta device, without weights",
            hint="build it on the CPU, or load weights into it",
        )
    if any(tensor.device.type != "cpu" for tensor in tensors):
        network = network.cpu()
    others = {str(t.dtype) for t in tensors if t.is_floating_point() and t.dtype != torch.float32}
    if others and not _is_exported(network):
        logger.warning(
            "the weights of %s are %s; it is exported in float32",
            type(network).__name__,
            " and ".join(sorted(name.removeprefix("torch.") for name in others)),
        )
        _refuse_large(network)
        network = network.float()
    _to_eval(network)
    return network


def _refuse_sparse(network: nn.Module) -> None:
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.layout is not torch.strided:
            raise UsageError(
                f"the weight {name!r} of {type(network).__name__} is stored as {tensor.layout}, "
                "and files have dense weights only",
                hint="store it by .to_dense(), and multiply by it with @",
            )


def _refuse_large(network: nn.Module) -> None:
    """Raise DataError for a parameter with a value that float32 cannot hold."""
    for name, parameter in network.named_parameters():
        large = torch.isfinite(parameter) & ~torch.isfinite(parameter.float())
        if parameter.dtype == torch.float64 and bool(large.any()):
            raise DataError(
                f"the weight {name!r} has {int(large.sum())} values of {parameter.numel()} that "
                "are too large for float32, in which files compute",
                hint="train again or load other weights",
            )


def _to_eval(network: nn.Module) -> None:
    """Put ``network`` into eval mode. A module that torch.export made has its mode in its graph."""
    if not _is_exported(network):
        network.eval()
        return
    nodes = network.graph.nodes if isinstance(network, fx.GraphModule) else ()
    if any(
        "dropout" in str(node.target) and len(node.args) > 1 and node.args[-1] is True
        for node in nodes
    ):
        raise UsageError(
            f"{type(network).__name__} is in training mode",
            hint="call torchao.quantization.pt2e.move_exported_model_to_eval on it",
        )


def _is_exported(network: nn.Module) -> bool:
    """Whether torch.export made the module: its methods for the mode then raise."""
    return isinstance(network, fx.GraphModule) and "train" in vars(network)
