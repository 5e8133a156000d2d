"""What edgeconv needs by its own metadata, and by which extra."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib import metadata

# What each extra is for. `dev` and `docs` are for those who work on edgeconv itself.
USES = {
    "coco": "`evaluate --task detection`",
    "demo": "`make demo`, which trains on handwritten digits",
    "imagenet": "the devkit of ImageNet in --truth",
    "parquet": "`history --export parquet`",
    "plots": "pictures and --html",
    "postgresql": "a team's history, --store postgresql://…",
    "qat": "quantization-aware training",
    "sweep": "`sweep` in several processes and on clusters",
    "timm": "networks named timm:NAME",
    "torchvision": "networks named torchvision:NAME",
}
# Packages whose module has another name.
_MODULES = {"pillow": "PIL", "scikit-learn": "sklearn"}
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[\w,]*\])?([^;]*)(?:;(.*))?")


@dataclass(frozen=True)
class Requirement:
    """A package that edgeconv or an extra of it needs.

    Attributes:
        package: The name of the distribution.
        lowest: The lowest release that will do; empty if any will.
        extra: The extra that needs it; empty if edgeconv itself does.
    """

    package: str
    lowest: str
    extra: str

    @property
    def module(self) -> str:
        """The module to import."""
        return _MODULES.get(self.package, self.package.replace("-", "_"))

    @property
    def installed(self) -> str | None:
        """The installed release; None if there is none."""
        return installed_version(self.package)

    @property
    def suffices(self) -> bool:
        """Whether the installed release is the lowest one or a later one."""
        return self.installed is not None and _numbers(self.installed) >= _numbers(self.lowest)

    def __str__(self) -> str:
        """As pip takes it."""
        return f"{self.package}>={self.lowest}" if self.lowest else self.package


def requirements() -> list[Requirement]:
    """What this release of edgeconv needs on this Python, and its extras for users.

    Raises:
        PackageNotFoundError: edgeconv itself is not installed.
    """
    read = (_read(line) for line in metadata.requires("edgeconv") or ())
    return [each for each in read if each is not None]


def _read(line: str) -> Requirement | None:
    """Read a line such as ``timm>=1.0.9; extra == "timm"``; None if it does not apply here."""
    match = _REQUIREMENT.fullmatch(line.replace(" ", ""))
    if match is None:
        return None
    name, bounds, marker = match[1], match[2], match[3] or ""
    extra = re.search(r"extra==[\"']([\w-]+)", marker)
    if extra is not None and extra[1] not in USES:
        return None
    before = re.search(r"python_version<[\"'](\d+)\.(\d+)", marker)
    if before is not None and sys.version_info >= (int(before[1]), int(before[2])):
        return None
    lowest = re.search(r">=([\d.]+)", bounds)
    return Requirement(name, lowest[1] if lowest else "", extra[1] if extra else "")


def installed_version(package: str) -> str | None:
    """The installed release of a distribution, without importing it; None if there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a release, without what follows them, such as ``rc1`` or ``+cpu``."""
    release = re.match(r"[\d.]*", version)
    return tuple(int(part) for part in (release[0] if release else "").split(".") if part)
