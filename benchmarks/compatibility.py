"""What the export makes of networks that other people wrote: docs/compatibility.md.

    python -m benchmarks.compatibility [--timm NAME…] [--seconds 600]

Each network is exported in a process of its own, in float32, int8 and int16x8 to both formats. The
networks of ``tests/realnets`` have trained weights and their own kind of inputs; those of timm have
random weights that keep their activations alive, and structured images. What is known already is
not done again: the outcomes are kept in ``build/compatibility.json``, by the version of each tool.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measuring import markdown_table

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "compatibility.md"
KNOWN = ROOT / "build" / "compatibility.json"
PACKAGES = Path(os.environ.get("EDGECONV_REALNETS", ROOT / "build" / "realnets"))
PRECISIONS = ("float32", "int8", "int16x8")
# One small network for each of the families that are met most on boards.
TIMM = (
    *("convnext_atto", "deit_tiny_patch16_224", "efficientformer_l1", "efficientnet_b0"),
    *("fastvit_t8", "ghostnet_100", "levit_128s", "mixer_s16_224", "mnasnet_100"),
    *("mobilenetv3_small_100", "mobilenetv4_conv_small", "mobileone_s0", "mobilevit_xxs"),
    *("poolformer_s12", "pvt_v2_b0", "regnetx_002", "repvgg_a0", "resnet18", "resnet50"),
    *("swin_tiny_patch4_window7_224", "vit_tiny_patch16_224", "xcit_nano_12_p16_224"),
)


# A network, options of its export, and samples, one array per input.
Prepared = tuple[Any, dict[str, Any], list[tuple[Any, ...]]]


def export_one(name: str, precision: str) -> str:
    """Export a network in this process; returns its accuracy, or what the refusal says."""
    import numpy as np

    from edgeconv.errors import EdgeconvError
    from edgeconv.export import QuantizeOptions, export

    model, options, samples = _timm(name) if name.startswith("timm:") else _real(name)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        names = [f"x{index}" for index in range(len(samples[0]))] if len(samples[0]) > 1 else ["x"]
        columns = (np.concatenate(column) for column in zip(*samples, strict=True))
        np.savez(data, **dict(zip(names, columns, strict=True)))  # type: ignore[arg-type]
        try:
            bundle = export(
                model,
                out=Path(folder) / "out",
                precisions=[precision],
                calibration=data if len(names) == 1 else samples,
                quantization=QuantizeOptions(effort=0),
                **options,
            )
        except EdgeconvError as error:
            return error.message
        figures = [a.verification for a in bundle.manifest.artifacts]
    worst = min(each.sqnr_db for each in figures if each is not None)
    return "equal" if precision == "float32" else f"{worst:.1f} dB"


def _timm(spec: str) -> Prepared:
    import timm
    import torch

    from edgeconv.models.randomize import randomize_, structured_input

    torch.manual_seed(0)
    network = timm.create_model(spec.partition(":")[2], pretrained=False)
    shape = tuple(timm.data.resolve_model_data_config(network)["input_size"])
    samples = [(structured_input((1, *shape), seed=seed).numpy(),) for seed in range(16)]
    return randomize_(network, shape=shape), {"input_size": shape}, samples


def _real(name: str) -> Prepared:
    sys.path.append(str(ROOT / "tests"))
    from realnets.networks import NETWORKS

    (network,) = (each for each in NETWORKS if each.name == name)
    file, samples = PACKAGES / network.file, list(network.inputs(PACKAGES))
    if network.network is None:
        return file, dict(network.options), samples
    return network.network(file), {"input_size": samples[0][0].shape[1:]}, samples


def outcomes(names: Sequence[str], seconds: float) -> Iterator[tuple[str, dict[str, str]]]:
    """What becomes of each network in each precision."""
    known = json.loads(KNOWN.read_text()) if KNOWN.is_file() else {}
    for name in names:
        for precision in PRECISIONS:
            key = " ".join((name, precision, *map(version, ("torch", "onnxruntime"))))
            if key not in known:
                command = [sys.executable, "-m", __spec__.name, "--one", name, precision]
                try:
                    done = subprocess.run(
                        command, capture_output=True, text=True, timeout=seconds, check=False
                    )
                    last = done.stdout.strip().splitlines()
                    known[key] = last[-1] if last and done.returncode == 0 else "failed"
                except subprocess.TimeoutExpired:
                    known[key] = f"takes more than {seconds:.0f} s"
                KNOWN.parent.mkdir(exist_ok=True)
                KNOWN.write_text(json.dumps(known, indent=1))
                sys.stderr.write(f"{key}: {known[key]}\n")
        tools = " ".join(map(version, ("torch", "onnxruntime")))
        yield name, {p: known[f"{name} {p} {tools}"] for p in PRECISIONS}


def page(found: dict[str, dict[str, str]]) -> Iterator[str]:
    """The lines of the page."""
    yield "# Compatibility"
    yield ""
    yield (
        "Networks that other people wrote, each exported to ONNX and TFLite, and verified on ONNX "
        "Runtime and LiteRT. `python -m benchmarks.compatibility` makes this page. float32 is "
        "equal but for rounding. int8 and int16x8 have the lower SQNR of the two formats, with "
        "min-max ranges (`--effort 0`) of the three or four samples that each network has in "
        "`tests/realnets`, or of 16 structured images; so few say that the files are right, and "
        "little about accuracy, as random weights do."
    )
    tools = ("torch", "onnxruntime", "ai-edge-litert")
    yield ""
    yield "Made with " + ", ".join(f"{tool} {version(tool)}" for tool in tools) + "."
    for title, timm in (("Trained networks", False), ("Networks of timm, random weights", True)):
        rows = [
            [name.removeprefix("timm:"), *(results[p] for p in PRECISIONS)]
            for name, results in found.items()
            if name.startswith("timm:") == timm
        ]
        if rows:
            yield from ("", f"## {title}", "")
            yield from markdown_table(["network", *PRECISIONS], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--timm", nargs="*", default=TIMM, help="networks of timm")
    parser.add_argument("--seconds", type=float, default=600, help="limit for one export")
    parser.add_argument("--one", nargs=2, metavar=("NETWORK", "PRECISION"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sys.stdout.write(export_one(*options.one) + "\n")
        return
    sys.path.append(str(ROOT / "tests"))
    from realnets.networks import NETWORKS

    real = [each.name for each in NETWORKS]
    names = [*real, *(f"timm:{name}" for name in options.timm)]
    found = dict(outcomes(names, options.seconds))
    PAGE.write_text("\n".join(page(found)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
