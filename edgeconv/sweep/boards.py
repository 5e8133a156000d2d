"""Which boards are free: one measurement at a time runs on each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgeconv.device.names import address_of, pools
from edgeconv.errors import Notice, UsageError

logger = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 5.0  # at a board that someone else measures on


@dataclass
class Board:
    """A board of a pool.

    Attributes:
        name: As the user writes it.
        address: Where it is.
        software: What runs files there, as far as it was asked.
        taken: Whether a measurement of this sweep runs there.
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


@dataclass
class Pool:
    """Boards of one kind; any of them will do.

    Attributes:
        name: As the plan writes it.
        boards: Its boards; a device is a pool of its own.
        admitted: The names of the boards that agree; None until that is known.
    """

    name: str
    boards: list[Board] = field(default_factory=list)
    admitted: set[str] | None = None

    def free(
        self, now: float, tried: Sequence[str], *, quiet: bool, only: Board | None = None
    ) -> Board | None:
        """A board that can measure now and has not tried before.

        Args:
            now: The time.
            tried: The names of boards on which the measurement failed.
            quiet: Whether nothing else runs on this machine.
            only: The board that must measure; None is any that agrees with the others.
        """
        for board in self.left(tried):
            fits = board is only if only is not None else board.name in (self.admitted or ())
            rests = board.taken or board.rests_until > now
            if fits and not rests and (quiet or not board.is_here):
                return board
        return None

    def left(self, tried: Sequence[str]) -> list[Board]:
        """The boards that may still do a measurement."""
        return [b for b in self.boards if b.name not in tried and not b.set_aside]

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


def open_pools(devices: Sequence[str], *, comparable: bool = True) -> list[Pool]:
    """The pools that a plan names; a board that is in several is one board.

    Args:
        devices: The names of devices and pools.
        comparable: Whether measurements can show that boards disagree. Otherwise all boards of a
            pool are admitted, with a warning; a board alone always is.

    Raises:
        UsageError: There is no such device.
    """
    named, boards, found = pools(), dict[str, Board](), []
    for device in devices:
        members = named.get(device, (device,))
        for member in members:
            address = address_of(member)
            if address.startswith("emulated:"):
                raise UsageError(
                    f"measure.devices: {member} is emulated, and has no latencies",
                    hint="name it below [count]",
                )
            boards.setdefault(address, Board(member, address))
        pool = Pool(device, [boards[address_of(member)] for member in members])
        if len(members) == 1 or not comparable:
            pool.admitted = set(members)
        if len(members) > 1 and not comparable:
            logger.warning(
                Notice(
                    f"the boards of {device} are not compared: one repetition shows no noise",
                    "raise measure.repetitions",
                ),
            )
        found.append(pool)
    return found
