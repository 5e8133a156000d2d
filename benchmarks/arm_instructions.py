"""Count Arm instructions of every network of the zoo, float32 and int8, on Cortex-A72 and A76.

QEMU counts them (docs/emulated-pi.md), so any machine gives the same figures. A JSON file keeps the
counts: an interrupted run continues where it stopped, and after a change of the exporter the script
counts only the files that changed. The weights are random but not degenerate; the calibration is
synthetic.

    .venv/bin/python -m benchmarks.arm_instructions                      # inputs of 64x64 pixels
    .venv/bin/python -m benchmarks.arm_instructions --full               # each network's own size
    .venv/bin/python -m benchmarks.arm_instructions --peer-folder DIR    # NETWORK_PRECISION.tflite
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

import edgeconv.export
from benchmarks.measuring import markdown_table, publish
from edgeconv import models
from edgeconv.bundle import Format, Precision, sha256_of
from edgeconv.device.emulated import Cpu, InstructionCounts, count_instructions
from edgeconv.device.emulated.userland import WHEELS
from edgeconv.device.messages import Runtime
from edgeconv.errors import EdgeconvError
from edgeconv.export import export
from edgeconv.models.randomize import randomize_
from edgeconv.units import significant

SMALL = 64  # pixels
CPUS = {Cpu.A72: "Cortex-A72 (Pi 4)", Cpu.A76: "Cortex-A76 (Pi 5)"}
PRECISIONS = (Precision.FLOAT32, Precision.INT8)
CALIBRATION_SIZE = 8
MISSING = "-"
OURS = "edgeconv"

Counts = dict[str, int | None] | str  # a text is the reason why there are no counts
logger = logging.getLogger("arm_instructions")


class Cache:
    """Keeps hashes of files and counts of instructions on disk.

    ``files`` maps writer, network, shape and precision to the SHA-256 of the file; those entries
    hold for one state of the exporter's sources. ``counts`` maps SHA-256 and CPU to the counts.
    """

    def __init__(self, path: Path, sources: str) -> None:
        self._path = path
        self._sources = sources
        self.files: dict[str, str] = {}
        self.counts: dict[str, Counts] = {}
        if path.is_file():
            read = json.loads(path.read_text(encoding="utf-8"))
            self.counts = read["counts"]
            if read["sources"] == sources:
                self.files = read["files"]

    def save(self) -> None:
        part = self._path.with_suffix(".part")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        kept = {"sources": self._sources, "files": self.files, "counts": self.counts}
        part.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        part.replace(self._path)

    def find(self, key: str, cpu: Cpu) -> Counts | None:
        return self.counts.get(f"{self.files.get(key)}/{cpu.value}")


def sources() -> str:
    """Hash all sources that can change an exported file."""
    digest = hashlib.sha256()
    for folder in (models, edgeconv.export):
        for path in sorted(Path(folder.__file__).parent.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Subject:
    """A network of the zoo at an input size."""

    name: str
    shape: tuple[int, ...]

    def key(self, who: str, precision: Precision) -> str:
        return f"{who}/{self.name}/{'x'.join(map(str, self.shape))}/{precision.value}"


def subject(name: str, size: int, full: bool) -> Subject:
    default = models.input_shape(name)
    if full or "input_size" not in models.model_options(name):
        return Subject(name, default)
    pixels = size or min(SMALL, default[-1])
    return Subject(name, models.input_shape(name, input_size=pixels))


def network_of(subject: Subject) -> torch.nn.Module:
    """The network with random weights, of which every layer matters for the output."""
    options = models.model_options(subject.name)
    sized = {"input_size": subject.shape[-1]} if "input_size" in options else {}
    return randomize_(models.create_model(subject.name, **sized), shape=subject.shape)


def export_tflite(subject: Subject, folder: Path) -> dict[Precision, Path]:
    bundle = export(
        network_of(subject),
        out=folder / subject.name,
        formats=[Format.TFLITE],
        precisions=PRECISIONS,
        calibration="random",
        calibration_size=CALIBRATION_SIZE,
        input_size=subject.shape,
        verify=False,
    )
    return {artifact.precision: bundle.file(artifact) for artifact in bundle.manifest.artifacts}


def peer_files(subject: Subject, folder: Path) -> dict[Precision, Path]:
    files = {p: folder / f"{subject.name}_{p.value}.tflite" for p in PRECISIONS}
    return {precision: file for precision, file in files.items() if file.is_file()}


def count_files(
    subject: Subject, who: str, files: dict[Precision, Path], cache: Cache, jobs: int
) -> None:
    """Count the files on every CPU; a file that does not run gets the reason instead of counts."""
    wanted = {}
    for precision, file in files.items():
        digest = sha256_of(file)
        cache.files[subject.key(who, precision)] = digest
        wanted |= {f"{digest}/{cpu.value}": (file, cpu) for cpu in CPUS}

    def count(key: str) -> Counts:
        try:
            return count_instructions(*wanted[key], Runtime.LITERT).model_dump()
        except EdgeconvError as error:
            return str(error)

    missing = [key for key in wanted if key not in cache.counts]
    with ThreadPoolExecutor(jobs) as pool:
        cache.counts |= zip(missing, pool.map(count, missing), strict=True)
    cache.save()


def measure(subjects: Sequence[Subject], cache: Cache, peer: Path | None, jobs: int) -> None:
    for index, one in enumerate(subjects):
        logger.info("%d of %d: %s", index + 1, len(subjects), one.name)
        if not all(one.key(OURS, precision) in cache.files for precision in PRECISIONS):
            with tempfile.TemporaryDirectory(prefix="edgeconv-") as folder:
                count_files(one, OURS, export_tflite(one, Path(folder)), cache, jobs)
        if peer is not None:
            count_files(one, peer.name, peer_files(one, peer), cache, jobs)


@dataclass(frozen=True)
class Table:
    cache: Cache
    peer: str | None

    def columns(self) -> list[str]:
        names = ["network", "input"]
        for cpu in CPUS:
            core = cpu.value.rpartition("-")[2].upper()
            names += [f"{core} float32", f"{core} int8", "int8/float32"]
            if self.peer:
                names += [f"{self.peer} float32", f"{self.peer} int8", "int8: ours/theirs"]
        return names

    def rows(self, subjects: Sequence[Subject]) -> Iterator[list[str]]:
        for one in subjects:
            row = [one.name, "x".join(map(str, one.shape))]
            for cpu in CPUS:
                ours = [self.total(one, OURS, p, cpu) for p in PRECISIONS]
                row += [*map(millions, ours), ratio(ours[1], ours[0])]
                if self.peer:
                    theirs = [self.total(one, self.peer, p, cpu) for p in PRECISIONS]
                    row += [*map(millions, theirs), ratio(ours[1], theirs[1])]
            yield row

    def total(self, one: Subject, who: str, precision: Precision, cpu: Cpu) -> int | None:
        found = self.cache.find(one.key(who, precision), cpu)
        return InstructionCounts.model_validate(found).total if isinstance(found, dict) else None

    def failures(self, subjects: Sequence[Subject]) -> Iterator[str]:
        for one in subjects:
            for who in filter(None, (OURS, self.peer)):
                for precision in PRECISIONS:
                    for cpu in CPUS:
                        key = one.key(who, precision)
                        if isinstance(reason := self.cache.find(key, cpu), str):
                            yield f"- {key}: {reason}"


def millions(count: int | None) -> str:
    return MISSING if count is None else significant(count / 1e6)


def ratio(part: int | None, whole: int | None) -> str:
    return MISSING if part is None or not whole else f"{part / whole:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--networks", default="*", help="shell pattern of names; the result is then only printed"
    )
    parser.add_argument(
        "--size",
        type=int,
        default=0,
        help="pixels per side; 0 means 64, or the network's own size if that is smaller",
    )
    parser.add_argument("--full", action="store_true", help="each network's own input size")
    parser.add_argument("--peer-folder", type=Path, help="NETWORK_PRECISION.tflite of another tool")
    parser.add_argument("--cache", type=Path, default=Path("build/arm_instructions.json"))
    parser.add_argument("--jobs", type=int, default=2, help="counts at the same time")
    given = parser.parse_args()

    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    logger.setLevel(logging.INFO)
    torch.set_num_threads(1)
    subjects = [
        subject(name, given.size, given.full) for name in models.list_models(given.networks)
    ]
    cache = Cache(given.cache, sources())
    measure(subjects, cache, given.peer_folder, given.jobs)
    table = Table(cache, given.peer_folder.name if given.peer_folder else None)
    failures = list(table.failures(subjects))
    lines = [
        "# Arm instructions of one inference",
        "",
        f"Million instructions under LiteRT {litert_version()} on one thread, on emulated cores:",
        f"{', '.join(CPUS.values())}. A count is the same on every machine; it is not a time.",
        "The weights are random, but every layer matters for the output.",
        "",
        *markdown_table(table.columns(), table.rows(subjects)),
        *(["", "Not counted:", "", *failures] if failures else []),
    ]
    if given.networks == "*":
        publish("arm_instructions_full" if given.full else "arm_instructions", lines)
    else:
        sys.stdout.write("\n".join(lines) + "\n")


def litert_version() -> str:
    """Read the LiteRT release of the emulated boards, which is pinned."""
    return pinned_version("ai-edge-litert")


def pinned_version(package: str) -> str:
    """Read the release of a package on the 64-bit emulated boards."""
    lines = (WHEELS / "arm64.txt").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{package}=="))
    return line.split()[0].partition("==")[2]


if __name__ == "__main__":
    main()
