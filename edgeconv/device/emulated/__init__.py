"""Raspberry Pis without the hardware: an Arm userland under QEMU, behind a real SSH server.

Outputs are those of a board; so are the counts of executed instructions. Times are not.
"""

from __future__ import annotations

from edgeconv.device.emulated.boards import BOARDS, Board, Cpu, board_named
from edgeconv.device.emulated.counting import InstructionCounts, count_instructions
from edgeconv.device.emulated.device import EmulatedDevice
from edgeconv.device.emulated.server import Server

__all__ = [
    "BOARDS",
    "Board",
    "Cpu",
    "EmulatedDevice",
    "InstructionCounts",
    "Server",
    "board_named",
    "count_instructions",
]
