"""How much of a resource what others made may take: one limit a kind, all of them here.

A file of a few kilobytes can ask for gigabytes. Each limit is checked before anything is allocated,
and a person who needs more raises it by its environment variable. ``docs/limits.md`` lists them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.units import format_bytes, format_count

_DIGITS = 18  # of the highest limit that can be stated


class LimitExceeded(EdgeconvError):  # noqa: N818  # what was met, as in edgeconv.errors
    """A file or a device asks for more than a limit allows."""


@dataclass(frozen=True)
class Limit:
    """The most of one resource.

    Attributes:
        variable: The environment variable that states another limit.
        default: The limit where it does not.
        unit: What is counted; bytes unless it says something else.
    """

    variable: str
    default: int
    unit: str = ""

    @property
    def value(self) -> int:
        """The limit that counts now.

        Raises:
            UsageError: The environment variable is not a whole number.
        """
        stated = os.environ.get(self.variable)
        if stated is None:
            return self.default
        if not (stated.isascii() and stated.isdigit() and len(stated) <= _DIGITS):
            raise UsageError(
                f"{self.variable} is {stated!r}, not a whole number", hint="write digits only"
            )
        return int(stated)

    def check(self, amount: int, what: str) -> None:
        """Refuse an amount above the limit.

        Args:
            amount: How much is asked for.
            what: Who asks, up to and with the verb, such as "data.npz unpacks to".

        Raises:
            LimitExceeded: It is more than the limit.
        """
        if amount > self.value:
            raise LimitExceeded(
                f"{what} {self._words(amount)}, and the limit is {self._words(self.value)}",
                hint=f"if that is right, set {self.variable}={amount}"
                if len(str(amount)) <= _DIGITS
                else "no machine has as much: check the sizes that are stated",
            )

    def _words(self, amount: int) -> str:
        return f"{format_count(amount)} {self.unit}" if self.unit else format_bytes(amount)


UNPACKED_BYTES = Limit("EDGECONV_MAX_UNPACKED_BYTES", 1_000_000_000)
"""What the compressed arrays of one file unpack to."""
IMAGE_PIXELS = Limit("EDGECONV_MAX_IMAGE_PIXELS", 100_000_000, "pixels")
"""One image of the user's data; a pixel takes three bytes."""
MEMBER_BYTES = Limit("EDGECONV_MAX_MEMBER_BYTES", 100_000_000)
"""One file in a tar archive of the user's data, read as a whole."""
ARCHIVE_MEMBERS = Limit("EDGECONV_MAX_ARCHIVE_MEMBERS", 5_000_000, "members")
"""One tar archive of the user's data; the place of each takes some 250 bytes."""
DOCUMENT_BYTES = Limit("EDGECONV_MAX_DOCUMENT_BYTES", 1_000_000_000)
"""One JSON document, such as a result with all its samples, a manifest, or a journal."""
LABELS_BYTES = Limit("EDGECONV_MAX_LABELS_BYTES", 10_000_000)
"""One file of the names of classes."""
TENSOR_BYTES = Limit("EDGECONV_MAX_TENSOR_BYTES", 1_000_000_000)
"""One tensor of a network, constant or computed."""
NETWORK_BYTES = Limit("EDGECONV_MAX_NETWORK_BYTES", 8_000_000_000)
"""All tensors of a network that are in memory at one time, constant and computed."""
DEVICE_BYTES = Limit("EDGECONV_MAX_DEVICE_BYTES", 256_000_000)
"""What a process that measures on a device answers; a sample takes about eight."""
CACHE_BYTES = Limit("EDGECONV_MAX_CACHE_BYTES", 10_000_000_000)
"""What the results of sweeps take in the cache; the oldest ones go first."""
SWEEP_EXPORTS = Limit("EDGECONV_MAX_SWEEP_EXPORTS", 100_000, "exports")
"""What one plan of a sweep tries; each takes some kilobytes before anything runs."""
ANSWER_BYTES = Limit("EDGECONV_MAX_ANSWER_BYTES", 1_000_000)
"""What a device answers to anything else, such as a probe."""
