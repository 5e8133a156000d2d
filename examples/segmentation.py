"""Train a segmentation network: ``python -m examples.segmentation --out build/segmentation``.

A small U-Net says of each pixel whether it is ground, a circle, a square or a triangle. The
pictures are drawn. The folder gets what ``edgeconv`` needs: weights, the names of the classes,
pictures for calibration, and others with their masks.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from edgeconv.report.tables import console

SIZE = 64  # pixels per side
CLASSES = ("ground", "circle", "square", "triangle")
BATCH = 32


def convolutions(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3×3 convolutions, each with a batch norm and a ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class Segmenter(nn.Module):
    """Scores (N, 4, 64, 64) of the classes of each pixel, from pictures (N, 3, 64, 64)."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.fine = convolutions(3, width)
        self.middle = convolutions(width, 2 * width)
        self.coarse = convolutions(2 * width, 4 * width)
        self.back_to_middle = convolutions(6 * width, 2 * width)
        self.back_to_fine = convolutions(3 * width, width)
        self.classes = nn.Conv2d(width, len(CLASSES), 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        middle = self.middle(functional.max_pool2d(fine, 2))
        coarse = self.coarse(functional.max_pool2d(middle, 2))
        middle = self.back_to_middle(torch.cat([enlarged(coarse), middle], 1))
        fine = self.back_to_fine(torch.cat([enlarged(middle), fine], 1))
        scores: Tensor = self.classes(fine)
        return scores


def enlarged(x: Tensor) -> Tensor:
    """Twice as many rows and columns, bilinearly."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def make() -> nn.Module:
    """The factory that `edgeconv export` calls."""
    return Segmenter()


def draw(random: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """A picture with two to four figures on a ground of noise, and the class of each pixel."""
    ground = random.integers(0, 90) + random.integers(0, 60, (SIZE // 4, SIZE // 4, 3))
    picture = Image.fromarray(ground.astype(np.uint8)).resize((SIZE, SIZE))
    mask = Image.new("L", (SIZE, SIZE))
    pens = ImageDraw.Draw(picture), ImageDraw.Draw(mask)
    for _ in range(random.integers(2, 5)):
        side = int(random.integers(12, 28))
        left, top = (int(value) for value in random.integers(1, SIZE - side - 1, 2))
        kind = int(random.integers(1, len(CLASSES)))
        color = tuple(int(value) for value in random.integers(120, 256, 3))
        box = (left, top, left + side, top + side)
        for pen, fill in zip(pens, (color, kind), strict=True):
            if CLASSES[kind] == "circle":
                pen.ellipse(box, fill=fill)
            elif CLASSES[kind] == "square":
                pen.rectangle(box, fill=fill)
            else:
                corners = [(left, top + side), (left + side, top + side), (left + side // 2, top)]
                pen.polygon(corners, fill=fill)
    return picture, mask


def fit(network: nn.Module, drawn: list[tuple[Image.Image, Image.Image]], epochs: int) -> None:
    """Train on drawn pictures and their masks."""
    x = torch.from_numpy(np.stack([np.asarray(picture) for picture, _ in drawn]))
    x = x.permute(0, 3, 1, 2)
    y = torch.from_numpy(np.stack([np.asarray(mask) for _, mask in drawn])).long()
    optimizer = torch.optim.AdamW(network.parameters())
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    network.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(x))[: len(x) // BATCH * BATCH].split(BATCH):
            loss = functional.cross_entropy(network(x[chosen].float() / 255), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()


def save_pictures(folder: Path, masks: Path, drawn: list[tuple[Image.Image, Image.Image]]) -> None:
    """Write pictures and their masks as PNG files of the same names."""
    folder.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    for index, (picture, mask) in enumerate(drawn):
        picture.save(folder / f"{index:04d}.png")
        mask.save(masks / f"{index:04d}.png")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/segmentation"))
@click.option("--pictures", type=click.IntRange(min=BATCH), default=768, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=8, show_default=True)
def main(out: Path, pictures: int, epochs: int) -> None:
    """Train on drawn pictures, and write weights and data."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    drawn = [draw(random) for _ in range(pictures)]
    network = make()
    fit(network, drawn, epochs)
    save_pictures(out / "train", out / "train_masks", drawn[:128])
    save_pictures(out / "test", out / "test_masks", [draw(random) for _ in range(200)])
    save_file(network.state_dict(), out / "segmenter.safetensors")
    (out / "classes.txt").write_text("\n".join(CLASSES) + "\n", "utf-8")
    console().print(f"wrote segmenter.safetensors, classes.txt, pictures and masks to {out}")


if __name__ == "__main__":
    main()
