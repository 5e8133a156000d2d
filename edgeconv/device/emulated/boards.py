"""The boards that are emulated, and the system files by which software recognizes them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from edgeconv.errors import UsageError
from edgeconv.near_names import did_you_mean

CORES = 4


class Cpu(str, Enum):
    """A core, by the name that QEMU has for it."""

    A7 = "cortex-a7"
    A53 = "cortex-a53"
    A72 = "cortex-a72"
    A76 = "cortex-a76"


@dataclass(frozen=True)
class Architecture:
    """An instruction set, as each tool calls it.

    Attributes:
        debian: The name in Debian's packages.
        triple: The name of library folders.
        qemu: QEMU's program.
        elf_class: 1 for 32 and 2 for 64 bits, in the ELF header of its programs.
        elf_machine: The instruction set in that header.
        wheel_platforms: Tags of the wheels that run there, newest first.
    """

    debian: str
    triple: str
    qemu: str
    elf_class: int
    elf_machine: int
    wheel_platforms: tuple[str, ...]


ARM64 = Architecture(
    debian="arm64",
    triple="aarch64-linux-gnu",
    qemu="qemu-aarch64",
    elf_class=2,
    elf_machine=0xB7,
    wheel_platforms=(
        *(f"manylinux_2_{minor}_aarch64" for minor in (36, 35, 34, 31, 28, 27, 26, 24, 17)),
        "manylinux2014_aarch64",
    ),
)
ARMHF = Architecture(
    debian="armhf",
    triple="arm-linux-gnueabihf",
    qemu="qemu-arm",
    elf_class=1,
    elf_machine=0x28,
    wheel_platforms=("manylinux_2_34_armv7l",),
)

_ARMV8 = "fp asimd evtstrm crc32 cpuid"
_ARMV8_2 = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp"
)
_ARMV7 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm crc32"


@dataclass(frozen=True)
class Board:
    """A Raspberry Pi.

    Libraries choose their kernels by the board's system files as well as by the instructions at
    hand, so ``features``, ``part``, ``variant`` and ``revision`` must be those of ``cpu``.

    Attributes:
        features: What ``/proc/cpuinfo`` lists.
        part: Of the cores' Main ID Register, as are ``variant`` and ``revision`` (Arm's Technical
            Reference Manuals).
        lowest_khz: The lowest frequency of the cores.
        highest_khz: The highest frequency of the cores.
        memory_bytes: Its memory, which is stated and not enforced; None where the model comes with
            several sizes, and the host's is seen.
    """

    name: str
    model: str
    cpu: Cpu
    architecture: Architecture
    features: str
    part: int
    variant: int
    revision: int
    lowest_khz: int
    highest_khz: int
    memory_bytes: int | None = None


_ZERO2W = "Raspberry Pi Zero 2 W Rev 1.0"
_PI3 = "Raspberry Pi 3 Model B Plus Rev 1.3"
BOARDS = {
    board.name: board
    for board in (
        Board("pi3", _PI3, Cpu.A53, ARM64, _ARMV8, 0xD03, 0, 4, 600_000, 1_400_000, 1 << 30),
        # QEMU runs 32-bit programs on no Cortex-A53: the A7 is the nearest that it has.
        Board("pi3-32", _PI3, Cpu.A7, ARMHF, _ARMV7, 0xC07, 0, 4, 600_000, 1_400_000, 1 << 30),
        Board(
            *("zero2w", _ZERO2W, Cpu.A53, ARM64, _ARMV8),
            *(0xD03, 0, 4, 600_000, 1_000_000, 512 << 20),
        ),
        Board(
            *("zero2w-32", _ZERO2W, Cpu.A7, ARMHF, _ARMV7),
            *(0xC07, 0, 4, 600_000, 1_000_000, 512 << 20),
        ),
        Board(
            *("pi4", "Raspberry Pi 4 Model B Rev 1.4", Cpu.A72, ARM64, _ARMV8),
            *(0xD08, 0, 3, 600_000, 1_800_000),
        ),
        Board(
            *("pi5", "Raspberry Pi 5 Model B Rev 1.0", Cpu.A76, ARM64, _ARMV8_2),
            *(0xD0B, 4, 1, 1_500_000, 2_400_000),
        ),
    )
}


def board_named(name: str) -> Board:
    """Return the board called pi3, pi3-32, zero2w, zero2w-32, pi4 or pi5.

    Raises:
        UsageError: There is no such board.
    """
    if name not in BOARDS:
        hint = did_you_mean(name, BOARDS, f"use {', '.join(BOARDS)}")
        raise UsageError(f"no emulated board {name!r}", hint=hint)
    return BOARDS[name]


def board_with(cpu: Cpu) -> Board:
    """Return the first board that has these cores."""
    return next(board for board in BOARDS.values() if board.cpu is cpu)


def write_system_files(board: Board, folder: Path) -> None:
    """Write what ``/proc`` and ``/sys`` of the board say about it under ``folder``.

    There is no temperature, no governor and no present frequency: an emulator has none.
    """
    cpus = folder / "sys" / "devices" / "system" / "cpu"
    everyone, mask = f"0-{CORES - 1}", f"{(1 << CORES) - 1:x}"
    files = {
        folder / "proc" / "cpuinfo": _cpuinfo(board),
        folder / "sys" / "firmware" / "devicetree" / "base" / "model": f"{_shown(board)}\0",
        cpus / "kernel_max": f"{CORES - 1}\n",
        **{cpus / name: f"{everyone}\n" for name in ("possible", "present", "online")},
    }
    if board.memory_bytes is not None:
        kib = board.memory_bytes >> 10
        free = "".join(f"{name}: {kib} kB\n" for name in ("MemFree", "MemAvailable"))
        nothing = "".join(f"{name}: 0 kB\n" for name in ("Buffers", "Cached", "SwapTotal"))
        files[folder / "proc" / "meminfo"] = f"MemTotal: {kib} kB\n{free}{nothing}SwapFree: 0 kB\n"
    for core in range(CORES):
        topology, frequency = cpus / f"cpu{core}" / "topology", cpus / f"cpu{core}" / "cpufreq"
        files |= {
            topology / "physical_package_id": "0\n",
            topology / "core_id": f"{core}\n",
            topology / "core_siblings_list": f"{everyone}\n",
            topology / "core_siblings": f"{mask}\n",
            topology / "thread_siblings_list": f"{core}\n",
            topology / "cluster_cpus_list": f"{everyone}\n",
            topology / "package_cpus_list": f"{everyone}\n",
            frequency / "cpuinfo_min_freq": f"{board.lowest_khz}\n",
            frequency / "cpuinfo_max_freq": f"{board.highest_khz}\n",
        }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")


def _shown(board: Board) -> str:
    return f"{board.model} (emulated)"


def _cpuinfo(board: Board) -> str:
    core = "\n".join(
        (
            "processor\t: {}",
            f"Features\t: {board.features}",
            "CPU implementer\t: 0x41",
            "CPU architecture: " + ("7" if board.architecture is ARMHF else "8"),
            f"CPU variant\t: {board.variant:#x}",
            f"CPU part\t: {board.part:#x}",
            f"CPU revision\t: {board.revision}",
            "",
            "",
        )
    )
    return "".join(core.format(n) for n in range(CORES)) + f"Model\t\t: {_shown(board)}\n"
