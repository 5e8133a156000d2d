"""Draw a checkerboard: ``python -m examples.checkerboard --out build/checkerboard.png``.

A transposed convolution whose stride does not divide its kernel paints neighbors with patches of
different number; resizing first does not (Odena et al. 2016, Distill). Both enlarge a flat image
and a handwritten digit three times in a row, with random weights.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import click
import torch
from torch import Tensor, nn

from edgeconv.models.layers.resize_conv import ResizeConv
from edgeconv.report.plotting import new_figure, save
from edgeconv.report.tables import console
from examples.digits_data import load
from examples.pictures import picture

SIZE = 8
BORDER = 12  # pixels of the enlarged image that the zeros around it reach


class Uneven(nn.ConvTranspose2d):
    """Kernel 3, stride 2: the usual way to a checkerboard."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("build/checkerboard.png"),
    callback=picture,
)
def main(out: Path) -> None:
    """Draw a transposed convolution's checkerboard beside what a resize-convolution makes."""
    figure = new_figure(10, 7)
    axes = figure.subplots(2, 3)
    digits, _ = load(SIZE)
    flat, digit = torch.ones(1, 1, SIZE, SIZE), torch.from_numpy(digits.x[:1])
    for row, (name, image) in zip(axes, (("flat", flat), ("digit", digit)), strict=True):
        row[0].imshow(image[0, 0].numpy(), cmap="gray", vmin=-1, vmax=2)
        row[0].set_title(f"{name} image, {SIZE}x{SIZE}")
        for chart, kind in zip(row[1:], (Uneven, ResizeConv), strict=True):
            title = "transposed, kernel 3, stride 2" if kind is Uneven else "resize, then kernel 3"
            enlarged = enlarge(kind, image)
            chart.imshow(enlarged.numpy(), cmap="gray")
            chart.set_title(title)
            if name == "flat":
                console().print(f"{title}: {unevenness(enlarged):.1%} unevenness of a flat image")
    for chart in axes.flat:
        chart.set_axis_off()
    out.parent.mkdir(parents=True, exist_ok=True)
    save(figure, out)
    console().print(f"wrote {out}")


def enlarge(kind: type[Uneven] | type[ResizeConv], image: Tensor) -> Tensor:
    """Enlarge (1, 1, H, W) eight times by three layers with random weights."""
    torch.manual_seed(0)
    widths = (1, 8, 8, 1)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [kind(before, after), nn.LeakyReLU(0.3)]
    with torch.no_grad():
        y: Tensor = nn.Sequential(*layers[:-1])(image)
    return y[0, 0]


def unevenness(image: Tensor) -> float:
    """The standard deviation of the inside over its mean absolute value."""
    inside = image[BORDER:-BORDER, BORDER:-BORDER]
    return float(inside.std() / inside.abs().mean())


if __name__ == "__main__":
    main()
