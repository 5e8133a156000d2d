"""What the export makes of networks that other people wrote: docs/compatibility.md.

    python -m benchmarks.compatibility [--timm NAME…] [--families FAMILY…] [--again | --known]

Each network has a process of its own, in which it is exported to both formats once for each
precision: float32, int8 and int16x8. The networks of ``tests/realnets`` have trained weights and
their own kind of inputs; those of timm have random weights that keep their activations alive, and
structured images. Of each family of timm, the smallest network is exported in float32, and in what
``--precisions`` names; where int8 keeps little, beside what the float network keeps with nothing
but its inputs in 8 bits. What is known already is not done again: the outcomes are kept in
``build/compatibility.json``, by the version of each tool. ``--known`` makes the page of these.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measuring import markdown_table
from benchmarks.timm_families import family_network, images, smallest_members
from edgeconv.metrics import POOR_SQNR_DB

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "compatibility.md"
KNOWN = ROOT / "build" / "compatibility.json"
PACKAGES = Path(os.environ.get("EDGECONV_REALNETS", ROOT / "build" / "realnets"))
PRECISIONS = ("float32", "int8", "int16x8")
INPUTS = "inputs"  # in the place of a precision: float32 with the inputs in 8 bits
NOT_TRIED = "not tried"
OUTCOME = "outcome: "  # begins a line that says one, among those that libraries print
MEMORY = 12 << 30  # bytes that one export may take
SECONDS = 240  # of processor time that one export may take
TIMM = ("convnext_atto", "deit_tiny_patch16_224", "efficientformer_l1", "efficientnet_b0")


# A network, options of its export, and samples, one array per input.
Prepared = tuple[Any, dict[str, Any], list[tuple[Any, ...]]]
Outcomes = dict[str, dict[str, str]]


def export_one(name: str, precisions: list[str]) -> Iterator[str]:
    """Export a network in this process, once per precision; its accuracy, or why it was refused.

    A signal ends the process when an export has used its processor time.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    _limit_processor_time()
    prepared = _prepared(name)
    for precision in precisions:
        yield _rounded_inputs(prepared) if precision == INPUTS else _exported(prepared, precision)
        _limit_processor_time()


def _limit_processor_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _exported(prepared: Prepared, precision: str) -> str:
    """What becomes of an export; one that fails verification is done again at the usual effort."""
    import numpy as np

    from edgeconv.errors import EdgeconvError, VerificationError

    *_, samples = prepared
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        names = [f"x{index}" for index in range(len(samples[0]))] if len(samples[0]) > 1 else ["x"]
        columns = (np.concatenate(column) for column in zip(*samples, strict=True))
        np.savez(data, **dict(zip(names, columns, strict=True)))  # type: ignore[arg-type]
        calibration = data if len(names) == 1 else samples
        try:
            try:
                return _accuracy(prepared, precision, calibration, Path(folder) / "a", effort=0)
            except VerificationError:
                if precision == "float32":
                    raise
            found = _accuracy(prepared, precision, calibration, Path(folder) / "b", effort=1)
            return f"{found} at effort 1"
        except EdgeconvError as error:
            return f"refused: {error.message}"


def _rounded_inputs(prepared: Prepared) -> str:
    """The SQNR of what a float network makes of inputs in 8 bits, which int8 files round too."""
    import numpy as np
    import torch

    from edgeconv.export.quantize.parameters import Range, activation_parameters
    from edgeconv.metrics import sqnr_db

    network, _, samples = prepared
    (images,) = (np.stack(column) for column in zip(*samples, strict=True))
    covered = activation_parameters(Range(float(images.min()), float(images.max())))
    with torch.inference_mode():
        expected, got = (
            np.stack([network(torch.from_numpy(image)).numpy() for image in each])
            for each in (images, covered.round_trip(images))
        )
    return f"{sqnr_db(expected, got):.1f} dB"


def _accuracy(
    prepared: Prepared, precision: str, calibration: Any, out: Path, *, effort: int
) -> str:
    from edgeconv.export import QuantizeOptions, export

    model, options, _ = prepared
    bundle = export(
        model,
        out=out,
        precisions=[precision],
        calibration=calibration,
        quantization=QuantizeOptions(effort=effort),
        **options,
    )
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

    def __init__(self, *, again: bool = False, only: bool = False) -> None:
        self._again, self._only = again, only
        self._all = json.loads(KNOWN.read_text()) if KNOWN.is_file() else {}

    def outcomes(self, name: str, precisions: Sequence[str]) -> dict[str, str]:
        """What becomes of a network in each precision."""
        tools = ("torch", "onnxruntime", *(("timm",) if ":" in name else ()))
        keys = {each: " ".join((name, each, *map(version, tools))) for each in precisions}
        wanted = [] if self._only else [p for p in precisions if self._is_wanted(keys[p])]
        for precision, outcome in zip(wanted, self._tried(name, wanted), strict=True):
            self._keep(keys[precision], outcome)
            sys.stderr.write(f"{keys[precision]}: {outcome}\n")
        return {p: str(self._all.get(keys[p], NOT_TRIED)) for p in precisions}

    def _is_wanted(self, key: str) -> bool:
        return key not in self._all or (self._again and not _is_right(self._all[key]))

    def families(self) -> dict[str, str]:
        """The smallest network of each family of timm."""
        key = f"families of timm {version('timm')}"
        if key not in self._all:
            self._keep(key, smallest_members())
        return dict(self._all[key])

    def _tried(self, name: str, precisions: list[str]) -> Iterator[str]:
        """The outcome of each precision; where the process ends at one, another does the rest."""
        remaining = list(precisions)
        while remaining:
            lines, failure = _run(name, remaining)
            yield from lines
            remaining = remaining[len(lines) :]
            if remaining:
                yield failure
                remaining.pop(0)

    def _keep(self, key: str, found: object) -> None:
        self._all[key] = found
        KNOWN.parent.mkdir(exist_ok=True)
        KNOWN.write_text(json.dumps(self._all, indent=1))


def _run(name: str, precisions: list[str]) -> tuple[list[str], str]:
    """The outcomes of the precisions that a process finished, and why it did not finish the next.

    An export that waits, and so uses no processor time, is stopped by the clock.
    """
    command = [sys.executable, "-m", __spec__.name, "--one", name, *precisions]
    late = f"takes more than {SECONDS} s"
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        try:
            status = subprocess.run(
                command, stdout=out, stderr=errors, timeout=20 * SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = -signal.SIGXCPU
        out.seek(0)
        errors.seek(0)
        outcomes = [line.removeprefix(OUTCOME).strip() for line in out if line.startswith(OUTCOME)]
        said = errors.read().strip().rpartition("\n")[2]
    if status == -signal.SIGXCPU:
        return outcomes, late
    return outcomes, f"failed with status {status}: {said}"


def _is_right(outcome: str) -> bool:
    return outcome == "equal" or _decibels(outcome) is not None


def _decibels(outcome: str) -> float | None:
    found = re.fullmatch(r"(-?[\d.]+) dB( at effort 1)?", outcome)
    return None if found is None else float(found[1])


def _of_family(known: Known, name: str, precisions: Sequence[str]) -> dict[str, str]:
    """What becomes of a family, and where int8 keeps little, of the float network's inputs."""
    found = known.outcomes(name, precisions)
    kept = _decibels(found.get("int8", NOT_TRIED))
    if kept is not None and kept < POOR_SQNR_DB:
        found |= known.outcomes(name, [INPUTS])
    return found


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
        "little about accuracy, as random weights do. What fails verification so is exported at "
        "effort 1, which leaves operators in float where too much would be lost. An export "
        f"that needs more than {SECONDS} s of processor time is stopped. What an earlier version "
        "of edgeconv did with the same tools is not done again; this page has the last outcome."
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
    precisions = [p for p in PRECISIONS if p in next(iter(rows.values()))]
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
        ["family", "network", *precisions, "only its inputs in 8 bits"],
        (
            [
                *(family, families[family], *(_cell(each[p]) for p in precisions)),
                each.get(INPUTS, ""),
            ]
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
        f"{len(tried)} were tried in int8; {right} of them are written and verified in both "
        f"formats. Where int8 keeps less than {POOR_SQNR_DB:g} dB, the last column is what the "
        "float network itself keeps when nothing but its inputs is rounded to 8 bits, which have "
        "40 dB then: random weights may amplify differences from layer to layer. "
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--timm", nargs="*", default=TIMM, help="networks of timm")
    parser.add_argument("--families", nargs="*", help="try these families of timm only, no page")
    parser.add_argument("--precisions", nargs="*", default=["float32"], help="of the families")
    parser.add_argument("--again", action="store_true", help="try again what failed before")
    parser.add_argument("--known", action="store_true", help="try nothing, only make the page")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, *precisions = options.one
        for outcome in export_one(name, precisions):
            sys.stdout.write(f"{OUTCOME}{' '.join(outcome.split())}\n")
            sys.stdout.flush()
        return
    known = Known(again=options.again, only=options.known)
    families = known.families()
    if options.families is not None:
        for family in options.families:
            _of_family(known, f"family:{families[family]}", options.precisions)
        return
    sys.path.append(str(ROOT / "tests"))
    from realnets.networks import NETWORKS

    plain = [*(each.name for each in NETWORKS), *(f"timm:{name}" for name in options.timm)]
    found = {name: known.outcomes(name, PRECISIONS) for name in plain}
    for name in (f"family:{each}" for each in families.values()):
        found[name] = _of_family(known, name, options.precisions)
    PAGE.write_text("\n".join(page(found, families)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
