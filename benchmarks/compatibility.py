"""What the export makes of networks that other people wrote: docs/compatibility.md.

    python -m benchmarks.compatibility [--timm NAME…] [--families FAMILY…] [--again | --known]

Each network is exported in a process of its own, in float32, int8 and int16x8 to both formats. The
networks of ``tests/realnets`` have trained weights and their own kind of inputs; those of timm have
random weights that keep their activations alive, and structured images. Of each family of timm, the
smallest network is exported in float32, and in what ``--precisions`` names. What is known already
is not done again: the outcomes are kept in ``build/compatibility.json``, by the version of each
tool. ``--known`` makes the page of these.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measuring import markdown_table
from benchmarks.timm_families import family_network, images, smallest_members

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "compatibility.md"
KNOWN = ROOT / "build" / "compatibility.json"
PACKAGES = Path(os.environ.get("EDGECONV_REALNETS", ROOT / "build" / "realnets"))
PRECISIONS = ("float32", "int8", "int16x8")
NOT_TRIED = "not tried"
MEMORY = 12 << 30  # bytes that one export may take
TIMM = ("convnext_atto", "deit_tiny_patch16_224", "efficientformer_l1", "efficientnet_b0")


# A network, options of its export, and samples, one array per input.
Prepared = tuple[Any, dict[str, Any], list[tuple[Any, ...]]]
Outcomes = dict[str, dict[str, str]]


def export_one(name: str, precision: str) -> str:
    """Export a network in this process; returns its accuracy, or what the refusal says."""
    import numpy as np

    from edgeconv.errors import EdgeconvError
    from edgeconv.export import QuantizeOptions, export

    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    model, options, samples = _prepared(name)
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
            return f"refused: {error.message}"
        figures = [a.verification for a in bundle.manifest.artifacts]
    worst = min(each.sqnr_db for each in figures if each is not None)
    return "equal" if precision == "float32" else f"{worst:.1f} dB"


def _prepared(name: str) -> Prepared:
    kind, _, network = name.rpartition(":")
    if kind == "family":
        model, shape = family_network(network)
        return model, {"input_size": shape}, images(shape)
    return _timm(network) if kind == "timm" else _real(name)


def _timm(name: str) -> Prepared:
    import timm
    import torch

    from edgeconv.models.randomize import randomize_

    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False)
    shape = tuple(timm.data.resolve_model_data_config(network)["input_size"])
    return randomize_(network, shape=shape), {"input_size": shape}, images(shape)


def _real(name: str) -> Prepared:
    sys.path.append(str(ROOT / "tests"))
    from realnets.networks import NETWORKS

    (network,) = (each for each in NETWORKS if each.name == name)
    file, samples = PACKAGES / network.file, list(network.inputs(PACKAGES))
    if network.network is None:
        return file, dict(network.options), samples
    return network.network(file), {"input_size": samples[0][0].shape[1:]}, samples


class Known:
    """The outcomes that are known already, by network, precision and versions."""

    def __init__(self, seconds: float, *, again: bool = False, only: bool = False) -> None:
        self._seconds, self._again, self._only = seconds, again, only
        self._all = json.loads(KNOWN.read_text()) if KNOWN.is_file() else {}

    def outcome(self, name: str, precision: str) -> str:
        """What becomes of a network in a precision."""
        tools = ("torch", "onnxruntime", *(("timm",) if name.startswith("family:") else ()))
        key = " ".join((name, precision, *map(version, tools)))
        if self._only:
            return str(self._all.get(key, NOT_TRIED))
        if key not in self._all or (self._again and not _is_right(self._all[key])):
            self._keep(key, self._tried(name, precision))
            sys.stderr.write(f"{key}: {self._all[key]}\n")
        return str(self._all[key])

    def families(self) -> dict[str, str]:
        """The smallest network of each family of timm."""
        key = f"families of timm {version('timm')}"
        if key not in self._all:
            self._keep(key, smallest_members())
        return dict(self._all[key])

    def _tried(self, name: str, precision: str) -> str:
        command = [sys.executable, "-m", __spec__.name, "--one", name, precision]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=self._seconds, check=False
            )
        except subprocess.TimeoutExpired:
            return f"takes more than {self._seconds:.0f} s"
        lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
        last = lines[-1] if lines else ""
        return last if done.returncode == 0 else f"failed with status {done.returncode}: {last}"

    def _keep(self, key: str, found: object) -> None:
        self._all[key] = found
        KNOWN.parent.mkdir(exist_ok=True)
        KNOWN.write_text(json.dumps(self._all, indent=1))


def _is_right(outcome: str) -> bool:
    return outcome == "equal" or re.fullmatch(r"-?[\d.]+ dB", outcome) is not None


def page(found: Outcomes, families: dict[str, str]) -> Iterator[str]:
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
    tools = ("torch", "onnxruntime", "ai-edge-litert", *(("timm",) if families else ()))
    yield ""
    yield "Made with " + ", ".join(f"{tool} {version(tool)}" for tool in tools) + "."
    for title, kind in (("Trained networks", ""), ("Networks of timm, random weights", "timm")):
        rows = [
            [name.rpartition(":")[2], *(_cell(results[p]) for p in PRECISIONS)]
            for name, results in found.items()
            if name.rpartition(":")[0] == kind
        ]
        if rows:
            yield from ("", f"## {title}", "")
            yield from markdown_table(["network", *PRECISIONS], rows)
    if families:
        yield from _family_lines(found, families)


def _cell(outcome: str) -> str:
    return " ".join(outcome.split()).replace("|", r"\|")


def _family_lines(found: Outcomes, families: dict[str, str]) -> Iterator[str]:
    rows = {family: found[f"family:{name}"] for family, name in families.items()}
    precisions = list(next(iter(rows.values())))
    tried = [each["float32"] for each in rows.values() if each["float32"] != NOT_TRIED]
    yield from ("", "## timm by family", "")
    yield (
        f"The smallest network of each of the {len(families)} families (modules of `timm.models`). "
        f"{len(tried)} were tried, and {tried.count('equal')} of them are equal in float32. "
        f"{_integer_count(rows)}"
        "Weights are random, and no scale, bias or table is left at the constant that it begins "
        "with. The input has the size that timm states where the network takes no other, or else "
        "the smallest one that timm states, or 96 pixels."
    )
    yield ""
    yield from markdown_table(
        ["family", "network", *precisions],
        (
            [family, families[family], *(_cell(each[p]) for p in precisions)]
            for family, each in rows.items()
        ),
    )


def _integer_count(rows: dict[str, dict[str, str]]) -> str:
    """How many of the families were tried in int8, and are right in both formats."""
    tried = [each["int8"] for each in rows.values() if each.get("int8", NOT_TRIED) != NOT_TRIED]
    if not tried:
        return ""
    right = sum(map(_is_right, tried))
    return (
        f"{len(tried)} were tried in int8, those with the smallest networks first; {right} of them "
        "are written and verified in both formats. "
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--timm", nargs="*", default=TIMM, help="networks of timm")
    parser.add_argument("--families", nargs="*", help="try these families of timm only, no page")
    parser.add_argument("--precisions", nargs="*", default=["float32"], help="of the families")
    parser.add_argument("--seconds", type=float, default=900, help="limit for one export")
    parser.add_argument("--again", action="store_true", help="try again what failed before")
    parser.add_argument("--known", action="store_true", help="try nothing, only make the page")
    parser.add_argument("--one", nargs=2, metavar=("NETWORK", "PRECISION"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sys.stdout.write(export_one(*options.one) + "\n")
        return
    known = Known(options.seconds, again=options.again, only=options.known)
    families = known.families()
    if options.families is not None:
        for precision, family in itertools.product(options.precisions, options.families):
            known.outcome(f"family:{families[family]}", precision)
        return
    sys.path.append(str(ROOT / "tests"))
    from realnets.networks import NETWORKS

    plain = [*(each.name for each in NETWORKS), *(f"timm:{name}" for name in options.timm)]
    found = {name: {p: known.outcome(name, p) for p in PRECISIONS} for name in plain}
    for precision in options.precisions:
        for name in families.values():
            results = found.setdefault(f"family:{name}", {})
            results[precision] = known.outcome(f"family:{name}", precision)
    PAGE.write_text("\n".join(page(found, families)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
