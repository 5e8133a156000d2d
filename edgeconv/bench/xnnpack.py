"""Whether XNNPACK ran the files of a result, in words."""

from __future__ import annotations

WORDS = {None: "the runtime's choice", True: "XNNPACK", False: "no XNNPACK"}


def runtime_name(name: str, xnnpack: bool | None) -> str:
    """A runtime, such as "litert, no XNNPACK"; only its name where nothing was asked for."""
    return name if xnnpack is None else f"{name}, {WORDS[xnnpack]}"


def delegate_setting(before: bool | None, after: bool | None) -> tuple[str, str, str]:
    """A setting that two results must share to be compared."""
    return "delegate", WORDS[before], WORDS[after]
