"""Boards that measure, and the pools of ``devices.toml`` in which any of them will do."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgeconv.device.names import address_of, members_of
from edgeconv.errors import Notice

logger = logging.getLogger(__name__)


@dataclass
class Board:
    """A board of a pool.

    Attributes:
        name: As the user writes it.
        address: Where it is.
        software: What runs files there, as far as it was asked.
        taken: Whether a measurement of ours runs there.
        rests_until: When to try again, of a board that someone else uses.
        was_busy: Whether someone else used it when it was last asked.
        set_aside: Whether it is not used any more.
    """

    name: str
    address: str
    software: str = ""
    taken: bool = False
    rests_until: float = 0.0
    was_busy: bool = False
    set_aside: bool = False

    @property
    def is_here(self) -> bool:
        """Whether it is this machine, which has to be quiet while it measures itself."""
        return self.address == "local" or self.address.startswith("local:")

    @property
    def is_emulated(self) -> bool:
        """Whether it is emulated, and has no latencies."""
        return self.address.startswith("emulated:")


@dataclass
class Pool:
    """Boards of one kind; any of them will do.

    Attributes:
        name: As the user writes it.
        boards: Its boards; a device is a pool of its own.
        admitted: The names of the boards that agree; None until that is known.
    """

    name: str
    boards: list[Board] = field(default_factory=list)
    admitted: set[str] | None = None

    def left(self, tried: Sequence[str]) -> list[Board]:
        """The boards that may still do a measurement, which failed on those that it tried."""
        return [b for b in self.boards if b.name not in tried and not b.set_aside]

    def admit_all(self) -> None:
        """Let any of its boards measure."""
        self.admitted = {board.name for board in self.boards}

    def set_aside(self, names: Sequence[str]) -> None:
        """Use boards no more that failed at what another board of the pool did."""
        for name in names:
            self.set_aside_for(name, f"another board of {self.name} measured what failed there")

    def set_aside_for(self, name: str, why: str) -> None:
        """Use a board no more, and say why."""
        for board in self.boards:
            if board.name == name and not board.set_aside:
                board.set_aside = True
                hint = f"look at it with `edgeconv devices probe {name}`"
                logger.warning(Notice(f"{name} is set aside: {why}", hint))


def open_pools(devices: Sequence[str]) -> list[Pool]:
    """The pools of these names; a board that is in several is one board.

    Args:
        devices: The names of devices and pools.

    Raises:
        UsageError: There is no such device.
    """
    boards, found = dict[str, Board](), []
    for device in devices:
        members = members_of(device)
        for member in members:
            address = address_of(member)
            boards.setdefault(address, Board(member, address))
        found.append(Pool(device, [boards[address_of(member)] for member in members]))
    return found
