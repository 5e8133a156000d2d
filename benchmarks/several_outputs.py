"""Networks with several outputs: heads of detectors, pyramids, keypoints, masks, latents."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 64  # pixels


def _block(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class _Pyramid(nn.Module):
    """A backbone of three levels, each with the upsampled one above it added."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = (width, 3 * width // 2, 2 * width)
        self.levels = nn.ModuleList(
            _block(a, b, 2) for a, b in zip((3, *widths), widths, strict=False)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(each, width, 1) for each in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for level, lateral in zip(self.levels, self.lateral, strict=True):
            x = level(x)
            found.append(lateral(x))
        for upper in (1, 0):
            found[upper] = found[upper] + functional.interpolate(found[upper + 1], scale_factor=2.0)
        return found


class DetectorOnLevels(nn.Module):
    """Scores and boxes of all levels, by heads that the levels share."""

    def __init__(self) -> None:
        super().__init__()
        self.pyramid = _Pyramid()
        self.scores, self.boxes = nn.Conv2d(16, 3, 3, 1, 1), nn.Conv2d(16, 4, 3, 1, 1)
        self.factors = nn.Parameter(torch.tensor([1.0, 2.0, 4.0]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        levels = self.pyramid(x)
        scores = [self.scores(level).flatten(2) for level in levels]
        boxes = [
            functional.relu(self.boxes(level) * self.factors[index]).flatten(2) * 2 ** (index + 1)
            for index, level in enumerate(levels)
        ]
        return torch.cat(scores, 2), torch.cat(boxes, 2)


class FaceDetector(nn.Module):
    """Boxes, scores and landmarks of one level, as a detector of faces has them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _block(3, 16, 2), _block(16, 16, 1, 16), _block(16, 32, 2), _block(32, 32, 1, 32)
        )
        self.neck = _block(32, 32)
        self.heads = nn.ModuleList(nn.Conv2d(32, outputs, 1) for outputs in (4, 2, 10))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.neck(self.body(x))
        boxes, scores, marks = (head(x).flatten(2).transpose(1, 2) for head in self.heads)
        return boxes * 16, scores.softmax(-1), marks


class CenterDetector(nn.Module):
    """A heat map, sizes and offsets, as CenterNet has them."""

    def __init__(self) -> None:
        super().__init__()
        self.pyramid = _Pyramid()
        self.heads = nn.ModuleList(
            nn.Sequential(_block(16, 16), nn.Conv2d(16, outputs, 1)) for outputs in (4, 2, 2)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heat, size, offset = (head(self.pyramid(x)[0]) for head in self.heads)
        return heat.sigmoid(), functional.relu(size) * 32, offset.tanh()


class KeypointsAndClass(nn.Module):
    """The coordinates of keypoints and the scores of classes, from one body."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _block(3, 16, 2), _block(16, 24, 2), _block(24, 32), _block(32, 48, 2)
        )
        self.points, self.scores = nn.Linear(48 * 64, 34), nn.Linear(48, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(x)
        return self.points(x.flatten(1)).sigmoid() * SIZE, self.scores(x.mean((2, 3)))


class MaskAndClass(nn.Module):
    """A segmentation and the class of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.deep = _block(3, 16, 2), nn.Sequential(_block(16, 32, 2), _block(32, 32))
        self.gate, self.mask = nn.Conv2d(32, 16, 1), nn.Conv2d(16, 5, 1)
        self.skip, self.scores = nn.Conv2d(16, 16, 1), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        early = self.early(x)
        deep = self.deep(early)
        gate = self.gate(functional.adaptive_avg_pool2d(deep, 1)).sigmoid()
        up = functional.interpolate(deep[:, :16] * gate, scale_factor=2.0, mode="bilinear")
        mask = functional.interpolate(
            self.mask(functional.relu(up + self.skip(early))), scale_factor=2.0, mode="bilinear"
        )
        return mask, self.scores(deep.mean((2, 3)))


class Autoencoder(nn.Module):
    """A picture, reconstructed, and its latents."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(_block(3, 16, 2), _block(16, 32, 2), nn.Conv2d(32, 8, 3, 2, 1))
        self.decoder = nn.Sequential(
            *(nn.ConvTranspose2d(8, 32, 2, 2), nn.ReLU(), nn.ConvTranspose2d(32, 16, 2, 2)),
            *(nn.ReLU(), nn.ConvTranspose2d(16, 3, 2, 2)),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.encoder(x)
        return self.decoder(latents), latents


class AttentionWithTwoHeads(nn.Module):
    """A small transformer over patches: the class from one token, a depth from all others."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 48, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 48) * 0.5)
        self.places = nn.Parameter(torch.randn(1, 65, 48) * 0.2)
        layer = partial(nn.TransformerEncoderLayer, 48, 3, 96, 0.0, "gelu", batch_first=True)
        self.layers = nn.ModuleList(layer(norm_first=True) for _ in range(3))
        self.scores, self.depth = nn.Linear(48, 10), nn.Linear(48, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        for layer in self.layers:
            x = layer(x)
        return self.scores(x[:, 0]), functional.softplus(self.depth(x[:, 1:]))


class ThreeMaps(nn.Module):
    """Classes, depth and directions of every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.pyramid = _Pyramid(24)
        self.join = _block(24, 24)
        self.classes, self.depth = nn.Conv2d(24, 6, 1), nn.Conv2d(24, 1, 3, 1, 1)
        self.directions = nn.Conv2d(24, 3, 3, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.join(self.pyramid(x)[0])
        depth = functional.softplus(self.depth(x)) * 10
        return self.classes(x), depth, self.directions(x).tanh()


class EmbeddingClassAndBox(nn.Module):
    """What recognizes an object, its class and its box."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(_block(3, 24, 2), _block(24, 24, 1, 24), nn.Conv2d(24, 40, 1), nn.Hardswish()),
            *(_block(40, 40, 2, 40), nn.Conv2d(40, 64, 1), nn.Hardswish()),
        )
        self.embedding, self.scores = nn.Linear(64, 32), nn.Linear(64, 12)
        self.box = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.body(x).mean((2, 3))
        return functional.normalize(self.embedding(x), dim=-1), self.scores(x), self.box(x) * SIZE


class ConvolutionAndAttention(nn.Module):
    """Convolutions, then attention over what is left: boxes of queries, and the picture's class."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(_block(3, 16, 2), _block(16, 32, 2), _block(32, 48, 2))
        layer = partial(nn.TransformerEncoderLayer, 48, 4, 96, 0.0, batch_first=True)
        self.encoder = nn.ModuleList(layer(norm_first=True) for _ in range(2))
        self.queries = nn.Parameter(torch.randn(1, 8, 48))
        self.attend = nn.MultiheadAttention(48, 4, batch_first=True)
        self.boxes, self.scores = nn.Linear(48, 4), nn.Linear(48, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(x).flatten(2).transpose(1, 2)
        for layer in self.encoder:
            x = layer(x)
        found, _ = self.attend(self.queries.expand(x.shape[0], -1, -1), x, x)
        return self.boxes(found).sigmoid() * SIZE, self.scores(x.mean(1))


def _of_timm(name: str) -> nn.Module:
    import timm

    pyramid: nn.Module = timm.create_model(name, features_only=True)
    return pyramid


CHOSEN_ON: dict[str, Callable[[], nn.Module]] = {
    "detector on levels": DetectorOnLevels,
    "face detector": FaceDetector,
    "center detector": CenterDetector,
    "keypoints and class": KeypointsAndClass,
    "mask and class": MaskAndClass,
    "autoencoder": Autoencoder,
    "attention with two heads": AttentionWithTwoHeads,
    "resnet10t pyramid": partial(_of_timm, "resnet10t"),
    "mobilenetv3_small_050 pyramid": partial(_of_timm, "mobilenetv3_small_050"),
    "regnetx_002 pyramid": partial(_of_timm, "regnetx_002"),
}
REPORTED: dict[str, Callable[[], nn.Module]] = {
    "three maps": ThreeMaps,
    "embedding, class and box": EmbeddingClassAndBox,
    "convolution and attention": ConvolutionAndAttention,
    "mobilenetv2_035 pyramid": partial(_of_timm, "mobilenetv2_035"),
    "ghostnet_050 pyramid": partial(_of_timm, "ghostnet_050"),
}


def network(name: str) -> nn.Module:
    """One of these, with weights whose channels are as uneven as those of trained networks."""
    torch.manual_seed(0)
    return uneven_((CHOSEN_ON | REPORTED)[name]())


def uneven_(module: nn.Module) -> nn.Module:
    """Give a module such weights and statistics, in place; returns it in eval mode."""
    generator = torch.Generator().manual_seed(0)

    def spread(shape: torch.Size, by: float) -> Tensor:
        return torch.exp(by * torch.randn(shape, generator=generator))

    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                weight = torch.randn(layer.weight.shape, generator=generator)
                weight *= math.sqrt(1.6 / layer.weight[0].numel())
                if not isinstance(layer, nn.ConvTranspose2d):
                    weight *= spread(layer.weight.shape[:1], 0.4).reshape(
                        -1, *[1] * (weight.ndim - 1)
                    )
                layer.weight.copy_(weight)
                if layer.bias is not None:
                    layer.bias.copy_(0.1 * torch.randn(layer.bias.shape, generator=generator))
            elif isinstance(layer, nn.BatchNorm2d | nn.LayerNorm):
                layer.weight.copy_(spread(layer.weight.shape, 0.3))
                layer.bias.copy_(0.2 * torch.randn(layer.bias.shape, generator=generator))
            if isinstance(layer, nn.BatchNorm2d):
                mean, variance = layer.running_mean, layer.running_var
                assert mean is not None
                assert variance is not None
                mean.copy_(0.2 * torch.randn(mean.shape, generator=generator))
                variance.copy_(spread(variance.shape, 0.4))
    return module.eval()
