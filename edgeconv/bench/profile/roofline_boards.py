"""What boards can do at most: multiply-accumulates per cycle, and bytes per second.

Every figure names the measurement on that core or board that it is from. A figure for which no
measurement was found is None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MEASURED_BY_SBC_BENCH = (
    "github.com/ThomasKaiser/sbc-bench, results/Sorted-Results.md, column memcpy, row {}: "
    "tinymembench's standard memcpy on one core, every byte read and written"
)


@dataclass(frozen=True)
class Core:
    """Multiply-accumulates per cycle of one core, with operands in registers.

    Without dot products a core widens int8: SMULL and SMLAL make sixteen products of 16 bits, which
    SADALP adds to sums of 32. Depthwise convolutions sum no neighboring products, so they cannot
    use dot products, and two SADDW take the place of the SADALP.
    """

    name: str
    float32: int
    int8: int
    int8_depthwise: int | None
    dot_product: bool
    source: str


@dataclass(frozen=True)
class Board:
    """A board with known peaks.

    ``model`` is what the device tree says before "Rev". Bandwidths are bytes per second, read and
    written bytes together: of one core, and the most that any number of cores reached.
    """

    model: str
    core: Core
    cores: int
    megahertz: int
    one_core_bandwidth: float
    one_core_source: str
    all_cores_bandwidth: float | None = None
    all_cores_source: str | None = None


A53 = Core(
    name="Cortex-A53",
    float32=4,
    int8=4,
    int8_depthwise=4,
    dot_product=False,
    source="on a Raspberry Pi 3. float32: github.com/hiroog/vfpbench, log of BCM2837, one VMLA.F32 "
    "of four lanes a cycle (9.40 GFLOPS at 1.2 GHz). int8: github.com/ocxtal/insn_bench_aarch64, "
    "results/raspberry-pi-3_cortex-a53.md, one SMULL, SMLAL or SADDW a cycle and a SADALP in "
    "two, all on the same unit: 16 products in 4 cycles",
)
A72 = Core(
    name="Cortex-A72",
    float32=4,
    int8=8,
    int8_depthwise=8,
    dot_product=False,
    source="float32: github.com/pigirons/cpufp, benchmark_result/arm64/Broadcom_BCM2711.md, on a "
    "Raspberry Pi 4 (11.96 GFLOPS at 1.5 GHz). int8: github.com/ocxtal/insn_bench_aarch64, "
    "results/nxp_lx2160a_a72.md, one SMULL or SMLAL a cycle, and a SADALP or SADDW beside it "
    "on the other pipeline (LLVM's AArch64SchedA57.td, from Arm's Software Optimization Guide for "
    "the Cortex-A57, section 3.14): 16 products in 2 cycles",
)
A76 = Core(
    name="Cortex-A76",
    float32=8,
    int8=32,
    int8_depthwise=None,
    dot_product=True,
    source="github.com/pigirons/cpufp, benchmark_result/arm64/Broadcom_BCM2712.md, on a Raspberry "
    "Pi 5: 38.37 GFLOPS of FMLA and 153.5 GOPS of SDOT at 2.4 GHz",
)

# Nominal frequencies stand in the rows of sbc-bench that the bandwidths are from; those of the
# 3 Model B+ and the 500 in the Raspberry Pi Beginner's Guide (2018, appendix F) and on its product
# page.
BOARDS = (
    Board(
        *("Raspberry Pi Zero 2 W", A53, 4, 1000),
        *(2.60e9, MEASURED_BY_SBC_BENCH.format("Raspberry Pi Zero 2 at 1000 MHz (3E85)")),
    ),
    Board(
        *("Raspberry Pi 3 Model B", A53, 4, 1200),
        *(2.22e9, MEASURED_BY_SBC_BENCH.format("Raspberry Pi 3 B at 1200 MHz (4hOP)")),
    ),
    Board(
        *("Raspberry Pi 3 Model B Plus", A53, 4, 1400),
        *(2.46e9, MEASURED_BY_SBC_BENCH.format("Raspberry Pi 3 B+ (1iI5)")),
    ),
    Board(
        *("Raspberry Pi 4 Model B", A72, 4, 1800),
        *(5.56e9, MEASURED_BY_SBC_BENCH.format("Raspberry Pi 4 B at 1800 MHz (3Gia)")),
    ),
    Board(
        *("Raspberry Pi 400", A72, 4, 1800),
        *(5.36e9, MEASURED_BY_SBC_BENCH.format("Raspberry Pi 400 at 1800 MHz (2Cyi)")),
    ),
    Board(
        *("Raspberry Pi 5 Model B", A76, 4, 2400),
        *(12.05e9, MEASURED_BY_SBC_BENCH.format("Raspberry Pi 5 B at 2400 MHz (8-NK)")),
        *(13.23e9, "github.com/ggml-org/llama.cpp/issues/26484: 240 MB arrays read by two threads"),
    ),
    Board(
        *("Raspberry Pi 500", A76, 4, 2400),
        11.20e9,
        "github.com/geerlingguy/sbc-reviews/issues/60: tinymembench's C copy on one core, every "
        "byte read and written",
    ),
)


def board_called(text: str | None) -> Board | None:
    """Find the board by its device tree's name, such as "Raspberry Pi 4 Model B Rev 1.4"."""
    match = re.fullmatch(r"(.+) Rev [\d.]+", text or "")
    return next((board for board in BOARDS if match and board.model == match[1]), None)
