"""Early exits: answers from intermediate layers, so that easy inputs leave early.

Teerapittayanon et al. 2016, "BranchyNet" (arXiv:1709.01686).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class ExitHead(nn.Module):
    """(N, C, H, W) to (N, num_classes) logits: global average pool, linear layer.

    Parameters: C num_classes + num_classes; MACs: C num_classes.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.dropout(x.mean(dim=(2, 3))))
        return logits


class ExitStage(nn.Module):
    """A part of a network that ends in an exit: x to (features, logits).

    The next stage reads the features; the logits are (N, num_classes). Parameters and MACs: those
    of ``body`` and ``head``.
    """

    def __init__(self, body: nn.Module, head: ExitHead) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return features, self.head(features)


class LastStage(nn.Sequential):
    """The part after the last early exit: features to logits (N, num_classes).

    Parameters and MACs: those of ``body`` and ``head``.
    """

    def __init__(self, body: nn.Module, head: ExitHead) -> None:
        super().__init__()
        self.body = body
        self.head = head


class EarlyExitNetwork(nn.Module):
    """(N, C, H, W) images to the logits (N, num_classes) of every exit, earliest first.

    Export it whole, with one output for each exit, or export each module of :meth:`chain`: the
    device runs the first stage, looks at its logits, and only when they leave doubt feeds the
    features to the next. An exit costs its head's parameters and MACs, and nothing else.
    """

    def __init__(self, stages: Iterable[ExitStage], last: LastStage) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.last = last

    def chain(self) -> tuple[nn.Module, ...]:
        """Return the stages in order.

        All but the last map x to (features, logits), the last one to logits.
        """
        return (*self.stages, self.last)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        exits = []
        for stage in self.stages:
            x, logits = stage(x)
            exits.append(logits)
        return (*exits, self.last(x))

    def infer(self, x: Tensor, confidence: float) -> tuple[Tensor, int]:
        """Run one input, (1, C, H, W), until an exit's largest softmax reaches ``confidence``.

        Returns that exit's logits and its index; later stages do not run.
        """
        for index, stage in enumerate(self.stages):
            x, logits = stage(x)
            if logits.softmax(dim=1).max() >= confidence:
                return logits, index
        return self.last(x), len(self.stages)

    def stage_input(self, index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of what stage ``index`` of :meth:`chain` reads.

        The whole network reads ``shape``; both are without the batch dimension. The modules must be
        on the meta device.
        """
        x = torch.zeros(1, *shape, device="meta")
        for stage in self.chain()[:index]:
            x, _ = stage(x)
        return tuple(x.shape[1:])


class SingleStage(nn.Module):
    """One module of :meth:`EarlyExitNetwork.chain` by itself, for a file of its own.

    Its keys are those of the whole network, and it loads the whole network's weights: it takes its
    own and leaves the other stages'.
    """

    def __init__(self, network: EarlyExitNetwork, index: int) -> None:
        super().__init__()
        self._name = f"stages.{index}" if index < len(network.stages) else "last"
        if index < len(network.stages):
            self.stages = nn.ModuleDict({str(index): network.stages[index]})
        else:
            self.last = network.last
        # PyTorch leaves this method untyped.
        self.register_load_state_dict_pre_hook(_leave_other_stages)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        result: Tensor | tuple[Tensor, Tensor] = self.get_submodule(self._name)(x)
        return result


def _leave_other_stages(
    module: nn.Module, state: dict[str, Tensor], prefix: str, *_unused: object
) -> None:
    own = module.state_dict(prefix=prefix)
    for key in [key for key in state if key.startswith((f"{prefix}stages.", f"{prefix}last."))]:
        if key not in own:
            del state[key]
