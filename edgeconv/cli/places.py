"""The option that says where the files of a bundle run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgeconv.device.computing import Computing

device_option = click.option(
    "--device",
    help="Run the files there instead of here: local:PYTHON, ssh://[user@]host[:port][/PYTHON], a "
    "name in devices.toml, or emulated:BOARD.",
)


def place_of(device: str | None) -> AbstractContextManager[Computing | None]:
    """Where the files run, by the value of the option; None is here."""
    if device is None:
        return nullcontext()
    from edgeconv.device import open_device
    from edgeconv.device.computing import computing

    return computing(open_device(device))
