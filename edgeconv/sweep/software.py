"""What runs files on a board: a part of the key of what is measured there."""

from __future__ import annotations

import logging
from concurrent.futures import Future

from edgeconv.device import open_device
from edgeconv.device.facts import PACKAGES
from edgeconv.errors import EdgeconvError, Notice
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.contents import digest

logger = logging.getLogger(__name__)

KIND, FILE = "software", "software.txt"


def software_of(address: str) -> str:
    """The Python of a device that runs files, with NumPy and the runtimes; empty without one.

    Raises:
        EdgeconvError: The device does not answer.
    """
    pythons = open_device(address).probe().pythons[:1]
    counted = ("numpy", *PACKAGES.values())
    return ", ".join(
        part
        for python in pythons
        for part in (
            f"Python {python.version}",
            *(f"{name} {python.packages[name]}" for name in counted if name in python.packages),
        )
    )


def known(name: str, address: str, asked: Future[str], cache: Cache) -> str:
    """What a board has; of one that does not answer, what it had when it last did.

    It is empty where that is not known, either. The measurements then say what is wrong.
    """
    kept = cache.find(KIND, digest(address))
    last = None if kept is None else (kept / FILE).read_text("utf-8")
    try:
        software = asked.result()
    except EdgeconvError as error:
        if last is not None:
            message = f"{error.message}; {name} is taken to have {last}"
            logger.warning(Notice(message, error.hint))
        return last or ""
    if software != last:
        cache.drop(KIND, digest(address))
        with cache.writing(KIND, digest(address)) as folder:
            (folder / FILE).write_text(software, "utf-8")
    return software
