"""Early exits: answers from intermediate layers, so that easy inputs leave early.

Teerapittayanon et al. 2016, "BranchyNet" (arXiv:1709.01686).
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


class ExitHead(nn.Module):
    """(N, C, H, W) to (N, num_classes) logits: global average pool, linear layer.

    Parameters: C num_classes + num_classes.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.dropout(x.mean(dim=(2, 3))))
        return logits


class ExitStage(nn.Module):
    """A part of a network that ends in an exit: features for the next stage, and logits."""

    def __init__(self, body: nn.Module, head: ExitHead) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return features, self.head(features)


class LastStage(nn.Sequential):
    """The part after the last early exit: logits alone."""

    def __init__(self, body: nn.Module, head: ExitHead) -> None:
        super().__init__()
        self.body = body
        self.head = head


class EarlyExitNetwork(nn.Module):
    """(N, C, H, W) images to the logits (N, num_classes) of every exit, earliest first.

    Export it whole, with one output for each exit, or export each module of :meth:`chain`: the
    device runs the first stage, looks at its logits, and only when they leave doubt feeds the
    features to the next.
    """

    def __init__(self, stages: Iterable[ExitStage], last: LastStage) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.last = last

    def chain(self) -> tuple[nn.Module, ...]:
        """The stages in order. All but the last map x to (features, logits); the last to logits."""
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
