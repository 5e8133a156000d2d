"""Write a float32 and an int8 TFLite file of a network of timm with litert-torch.

The script runs in an environment of its own, made from ``requirements-litert-torch.txt``, with timm
on the path. Both tools keep their defaults:

    PEER/bin/python -m benchmarks.peers.export_timm NAME IMAGES OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import litert_torch
import timm
import timm.data
import torch
from ai_edge_quantizer import quantizer, recipe
from PIL import Image


def main(name: str, images: Path, out: Path) -> None:
    network = timm.create_model(name).eval()
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=network))
    samples = [
        transform(Image.open(path).convert("RGB"))[None] for path in sorted(images.iterdir())
    ]
    float32 = out / f"{name}_float32.tflite"
    litert_torch.convert(network, (samples[0],)).export(str(float32))
    tool = quantizer.Quantizer(str(float32), recipe.static_wi8_ai8())
    data = {"serving_default": [{"args_0": sample.numpy()} for sample in samples]}
    quantized = tool.quantize(tool.calibrate(data))
    quantized.export_model(str(out / f"{name}_int8.tflite"))


if __name__ == "__main__":
    with torch.inference_mode():
        main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
