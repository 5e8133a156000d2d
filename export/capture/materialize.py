"""Put tensors and plain operators in the place of what only training needs.

Everything happens on a copy that shares the network's tensors: the caller's module stays as it is.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils import parametrize

from edgeconv.export.capture.fake_quantize import is_of_training, plain
from edgeconv.export.capture.wrapped import own_name
from edgeconv.export.quiet import quiet_python


def materialized(network: nn.Module) -> nn.Module:
    """``network``, or a copy in which parametrized weights and fake quantization are plain.

    Raises:
        CaptureError: a fake quantization still observes.
    """
    if not any(_is_parametrized(m) or is_of_training(m) for m in network.modules()):
        return network
    try:
        network = _copy(network)
    except Exception:  # the user's own classes may refuse to be copied; then they are traced as is
        return network
    for module in network.modules():
        if _is_parametrized(module):
            _write_weights(module)
    return _with_plain_quantization(network, "")


def _with_plain_quantization(module: nn.Module, name: str) -> nn.Module:
    for child_name, child in list(module.named_children()):
        path = f"{name}.{child_name}" if name else child_name
        setattr(module, child_name, _with_plain_quantization(child, path))
    return plain(module, own_name(name)) if is_of_training(module) else module


def _is_parametrized(module: nn.Module) -> bool:
    return isinstance(module, nn.Module) and parametrize.is_parametrized(module)


def _copy(network: nn.Module) -> nn.Module:
    """A copy of the modules with the same tensors, some of which PyTorch would not copy."""
    tensors = [
        value
        for module in network.modules()
        for values in (module._parameters, module._buffers, vars(module))
        for value in values.values()
        if isinstance(value, torch.Tensor)
    ]
    with quiet_python():
        return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})


def _write_weights(module: nn.Module) -> None:
    """Give the module its weights as they are now.

    ``parametrize.remove_parametrizations`` would take the property away from the class, which a
    copied module has in common with the original.
    """
    parametrizations = module.parametrizations
    assert isinstance(parametrizations, nn.ModuleDict)
    with torch.no_grad():
        values = {name: getattr(module, name) for name in parametrizations}
    own_class = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    module.__class__ = own_class
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value.detach(), requires_grad=False))
