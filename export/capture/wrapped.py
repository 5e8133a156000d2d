"""Our modules around the user's network, and the user's own names within them."""

from __future__ import annotations

from torch import nn

_ATTRIBUTE = "wrapped_by_edgeconv"
"""No module of a user's has this name; one called ``network`` is met often."""


class Wrapped(nn.Module):
    """A module around another one, in eval mode; it shows what it holds under the user's names."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.add_module(_ATTRIBUTE, network)
        self.training = False

    @property
    def network(self) -> nn.Module:
        """The module within."""
        return self.get_submodule(_ATTRIBUTE)


def own_name(name: str) -> str:
    """The name in the user's network of what is within any number of wrappers."""
    *outer, last = name.split(".")
    while outer and outer[0] == _ATTRIBUTE:
        outer = outer[1:]
    return ".".join([*outer, *([] if last == _ATTRIBUTE else [last])])
