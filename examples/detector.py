"""Train a small detector and export it: ``python -m examples.detector --out build/detector``.

The network is of YOLO's kind without anchors: each cell of an 8×8 grid says where the box around it
ends, how sure it is, and which of three figures it sees. The pictures are drawn. The folder gets
what ``edgeconv`` needs: weights, pictures for calibration, and others with COCO's truth.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from edgeconv.report.tables import console

SIZE, GRID = 64, 8  # pixels and cells per side
KINDS = ("circle", "square", "triangle")
REACH = 40.0  # pixels: the farthest that a side lies from the cell's center
LEAST_SCORE, MOST_OVERLAP = 0.2, 0.5  # of the boxes that decode() keeps
Box = tuple[float, float, float, float]


class Detector(nn.Module):
    """Boxes (N, 64, 4) in shares of REACH, and scores (N, 64, 3), from pictures (N, 3, 64, 64)."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stride, out in (
            (2, width),
            (2, 2 * width),
            (1, 2 * width),
            (2, 4 * width),
            (1, 4 * width),
        ):
            layers += [
                nn.Conv2d(channels, out, 3, stride, 1, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]
            channels = out
        self.body = nn.Sequential(*layers)
        self.sides = nn.Conv2d(channels, 4, 1)
        self.kinds = nn.Conv2d(channels, len(KINDS), 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Two outputs, because an int8 tensor has one scale: see docs/tutorials/detector.md."""
        features = self.body(x)
        sides, kinds = self.sides(features).sigmoid(), self.kinds(features).sigmoid()
        return sides.flatten(2).transpose(1, 2), kinds.flatten(2).transpose(1, 2)


def make() -> nn.Module:
    """The factory that `edgeconv export` calls."""
    return Detector()


def decode(outputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (M, 4) with corners in pixels, scores (M,) and classes (M,) of one picture.

    Of boxes that overlap, only the one of the highest score is kept (non-maximum suppression).
    """
    sides, scores = (np.asarray(output, dtype=np.float32) for output in outputs)
    boxes = centers() + REACH * sides * np.array([-1, -1, 1, 1], dtype=np.float32)
    best, kinds = scores.max(1), scores.argmax(1)
    kept: list[int] = []
    for index in np.argsort(-best, kind="stable"):
        if best[index] < LEAST_SCORE:
            break
        if all(overlap(boxes[index], boxes[other]) < MOST_OVERLAP for other in kept):
            kept.append(int(index))
    return boxes[kept], best[kept], kinds[kept]


def centers() -> np.ndarray:
    """The centers of the cells as (64, 4): x, y, x, y."""
    y, x = np.divmod(np.arange(GRID * GRID), GRID)
    middle = (np.stack([x, y, x, y], 1) + 0.5) * (SIZE / GRID)
    return middle.astype(np.float32)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The intersection of two boxes over their union."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    areas = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]))
    return shared / max(areas - shared, 1e-6)


def draw(random: np.random.Generator) -> tuple[Image.Image, list[tuple[int, Box]]]:
    """A picture with one to three figures on a ground of noise, and their kinds and boxes."""
    ground = random.integers(0, 90) + random.integers(0, 60, (SIZE // 4, SIZE // 4, 3))
    picture = Image.fromarray(ground.astype(np.uint8)).resize((SIZE, SIZE))
    pen, truth = ImageDraw.Draw(picture), []
    for _ in range(random.integers(1, 4)):
        side = int(random.integers(12, 28))
        left, top = (int(value) for value in random.integers(1, SIZE - side - 1, 2))
        box = (left, top, left + side, top + side)
        if any(overlap(np.array(box), np.array(other)) > 0.05 for _, other in truth):
            continue
        kind, color = (
            int(random.integers(len(KINDS))),
            tuple(map(int, random.integers(120, 256, 3))),
        )
        if kind == 0:
            pen.ellipse(box, fill=color)
        elif kind == 1:
            pen.rectangle(box, fill=color)
        else:
            pen.polygon([(left, box[3]), (box[2], box[3]), (left + side // 2, top)], fill=color)
        truth.append((kind, tuple(map(float, box))))
    return picture, truth


def targets(truth: list[tuple[int, Box]]) -> tuple[np.ndarray, np.ndarray]:
    """What the cells should say: sides (64, 4), and kinds (64, 3), for cells inside a figure."""
    sides = np.zeros((GRID * GRID, 4), np.float32)
    kinds = np.zeros((GRID * GRID, len(KINDS)), np.float32)
    for kind, box in truth:
        reach = (np.array(box) - centers()) * [-1, -1, 1, 1]
        middle = np.abs(centers()[:, :2] - (np.array(box[:2]) + box[2:]) / 2).max(1)
        inside = (reach.min(1) > 0) & (middle <= SIZE / GRID)
        sides[inside], kinds[inside, kind] = reach[inside] / REACH, 1
    return sides, kinds


def fit(
    network: nn.Module, drawn: list[tuple[Image.Image, list[tuple[int, Box]]]], epochs: int
) -> None:
    """Train on drawn pictures."""
    x = torch.from_numpy(np.stack([np.asarray(picture) for picture, _ in drawn])).permute(
        0, 3, 1, 2
    )
    wanted = [targets(truth) for _, truth in drawn]
    sides, kinds = (torch.from_numpy(np.stack(part)) for part in zip(*wanted, strict=True))
    optimizer = torch.optim.AdamW(network.parameters())
    steps = epochs * (len(x) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    network.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(x))[: len(x) // 64 * 64].split(64):
            said_sides, said_kinds = network(x[chosen].float() / 255)
            cells = kinds[chosen].amax(2, keepdim=True)
            off = (
                functional.smooth_l1_loss(said_sides, sides[chosen], reduction="none", beta=0.05)
                * cells
            ).sum()
            wrong = functional.binary_cross_entropy(said_kinds, kinds[chosen], reduction="sum")
            optimizer.zero_grad()
            ((20 * off + wrong) / len(chosen)).backward()
            optimizer.step()
            schedule.step()
    network.eval()


def save_pictures(folder: Path, drawn: list[tuple[Image.Image, list[tuple[int, Box]]]]) -> None:
    """Write pictures as PNG, and beside the folder their truth in COCO's form."""
    folder.mkdir(parents=True, exist_ok=True)
    images, boxes = [], []
    for index, (picture, truth) in enumerate(drawn):
        name = f"{index:04d}.png"
        picture.save(folder / name)
        images.append({"id": index, "file_name": name, "width": SIZE, "height": SIZE})
        for kind, (x1, y1, x2, y2) in truth:
            box = [x1, y1, x2 - x1, y2 - y1]
            area = box[2] * box[3]
            boxes.append(
                {"id": len(boxes) + 1, "image_id": index, "category_id": kind + 1, "bbox": box}
                | {"area": area, "iscrowd": 0}
            )
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(KINDS)]
    coco = {"images": images, "annotations": boxes, "categories": categories}
    folder.with_suffix(".json").write_text(json.dumps(coco), "utf-8")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/detector"))
@click.option("--pictures", type=click.IntRange(min=64), default=2048, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=12, show_default=True)
def main(out: Path, pictures: int, epochs: int) -> None:
    """Train on drawn pictures, and write weights and data."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    drawn = [draw(random) for _ in range(pictures)]
    network = make()
    fit(network, drawn, epochs)
    save_pictures(out / "train", drawn[:128])
    save_pictures(out / "test", [draw(random) for _ in range(200)])
    save_file(network.state_dict(), out / "detector.safetensors")
    (out / "kinds.txt").write_text("\n".join(KINDS) + "\n", "utf-8")
    console().print(f"wrote detector.safetensors, kinds.txt, train/ and test/ to {out}")


if __name__ == "__main__":
    main()
