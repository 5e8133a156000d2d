"""The options that say where the files of a bundle run, and how long to wait for it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import click

from edgeconv.cli.completions import complete_device
from edgeconv.cli.values import stated
from edgeconv.units import seconds_of

if TYPE_CHECKING:
    from edgeconv.device.computing import Computing

device_option = click.option(
    "--device",
    shell_complete=complete_device,
    help="Run the files there instead of here: local:PYTHON, ssh://[user@]host[:port][/PYTHON], a "
    "name in devices.toml, or emulated:BOARD.",
)

wait_option = click.option(
    "--wait",
    type=stated(seconds_of),
    metavar="TIME",
    default="0s",
    show_default=True,
    help="How long to wait, such as 10min, while another edgeconv uses the device.",
)


def place_of(device: str | None) -> AbstractContextManager[Computing | None]:
    """Where the files run, by the value of the option; None is here."""
    if device is None:
        return nullcontext()
    from edgeconv.device import open_device
    from edgeconv.device.computing import computing

    return computing(open_device(device))
