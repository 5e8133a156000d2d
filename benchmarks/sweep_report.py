"""Sweep small trained networks, and take the picture of the report that the docs show.

Two networks in three widths learn handwritten digits. The sweep exports them in float32 and int8,
evaluates them on held-out digits and counts their instructions on an emulated Raspberry Pi 4.
Chromium takes the picture:

    .venv/bin/python -m benchmarks.sweep_report --out build/sweep
"""

from __future__ import annotations

import argparse
import logging
import shutil
import subprocess
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file

from edgeconv.models import create_model
from edgeconv.report.html.sections import sections_of, write_page
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.plan import read_plan
from edgeconv.sweep.run import sweep
from examples.digits import fit
from examples.digits_data import load

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "sweep.png"
SIZE = 32
NETWORKS = ("mobilenet_v1", "mobilenet_v2")
WIDTHS = (0.1, 0.25, 0.5)
PLAN = f"""
[[model]]
name = {list(NETWORKS)}
args = {{ width_mult = {list(WIDTHS)}, num_classes = 10, in_channels = 1 }}
input_size = "1x{SIZE}x{SIZE}"
weights = "{{name}}-{{width_mult}}.safetensors"

[export]
formats = ["tflite"]
precisions = ["float32", "int8"]
calibration = "train.npz"

[count]
devices = ["emulated:pi4"]

[evaluate]
data = "test.npz"
"""


def train(folder: Path, epochs: int) -> None:
    """Write data, checkpoints and plan."""
    digits, held_out = load(SIZE)
    digits.save(folder / "train.npz")
    held_out.save(folder / "test.npz")
    for name in NETWORKS:
        for width in WIDTHS:
            torch.manual_seed(0)
            network = create_model(name, num_classes=10, in_channels=1, width_mult=width)
            fit(network, digits, epochs, lambda *_: None)
            state = {key: value.contiguous() for key, value in network.state_dict().items()}
            save_file(state, folder / f"{name}-{width}.safetensors")
    (folder / "plan.toml").write_text(PLAN, encoding="utf-8")


def take_picture(page: Path) -> None:
    """Write what a window of 800 x 760 pixels shows of the page."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("the picture needs chromium")
    PICTURE.parent.mkdir(exist_ok=True)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--screenshot={PICTURE}", "--window-size=800,760", page.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with Image.open(PICTURE) as picture:
        # Few colors make the file a third as large.
        small = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
    small.save(PICTURE, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/sweep"))
    parser.add_argument("--epochs", type=int, default=12)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    given.out.mkdir(parents=True, exist_ok=True)
    train(given.out, given.epochs)
    result = sweep(read_plan(given.out / "plan.toml"), Cache(given.out / "cache"), workers=0)
    page = given.out / "report.html"
    write_page(page, "Handwritten digits", sections_of([], [result]))
    take_picture(page)


if __name__ == "__main__":
    main()
