"""``edgeconv devices``: show, provision, start and stop devices."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.cli import kept
from edgeconv.cli.command_class import CommandGroup
from edgeconv.cli.completions import complete_board, complete_device
from edgeconv.cli.next_command import suggest
from edgeconv.errors import UsageError
from edgeconv.report.output import echo_json, echo_line

if TYPE_CHECKING:
    from edgeconv.bundle import Bundle
    from edgeconv.device import DeviceFacts


@click.group("devices", cls=CommandGroup)
def command() -> None:
    """Look at the devices that files are measured on."""


@command.command(
    "probe",
    examples=(
        "edgeconv devices probe",
        "edgeconv devices probe ssh://pi@raspberrypi.local --bundle build/mobilenet_v2",
    ),
)
@click.argument("device", default="local", shell_complete=complete_device)
@click.option(
    "--bundle",
    "bundle_path",
    type=click.Path(path_type=Path),
    help="Say which files of this bundle can run there, and why the others cannot.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def probe(device: str, bundle_path: Path | None, as_json: bool) -> None:
    """Show what DEVICE is: board, cores, frequencies, memory, Pythons and runtimes.

    DEVICE is local, local:PYTHON, ssh://[user@]host[:port][/PYTHON], emulated:BOARD, or a name in
    devices.toml.
    """
    from edgeconv.bundle import Bundle
    from edgeconv.device import open_device
    from edgeconv.report.tables import progress

    bundle = None if bundle_path is None else Bundle.load(bundle_path)
    with progress(f"Probing {device}", quiet=as_json):
        facts = open_device(device).probe()
    verdicts = [] if bundle is None else _verdicts(bundle, facts)
    if as_json:
        from edgeconv.report.documents import ProbeDocument

        files = None if bundle is None else [asdict(verdict) for verdict in verdicts]
        shown = facts.model_dump() | {"cpu": facts.cpu_name, "files": files}
        echo_json(ProbeDocument.model_validate(shown))
    else:
        _print(facts)
        if bundle is not None:
            _print_verdicts(verdicts)


@command.command(
    "list",
    examples=("edgeconv devices list",),
)
def list_devices() -> None:
    """List the devices of devices.toml and the emulated boards."""
    from edgeconv.device.emulated import BOARDS, Server
    from edgeconv.device.names import named_devices
    from edgeconv.report.stacked import print_facts

    rows = [("local", "this machine")]
    rows += list(named_devices().items())
    for board in BOARDS.values():
        state = "up" if Server(board).is_up else "not up"
        rows.append((f"emulated:{board.name}", f"{board.model}, {board.cpu.value}, {state}"))
    print_facts(rows)


@command.command(
    "provision",
    examples=("edgeconv devices provision ssh://pi@raspberrypi.local",),
)
@click.argument("device", shell_complete=complete_device)
def provision(device: str) -> None:
    """Install the runtimes on DEVICE, an ssh:// one, in a folder of its own.

    64-bit systems get LiteRT and ONNX Runtime, 32-bit ones tflite-runtime 2.14. This machine
    downloads them with pip and sends them: DEVICE needs Python and SSH, but no pip and no internet.
    """
    from edgeconv.device import open_device
    from edgeconv.device.emulated import board_named
    from edgeconv.device.names import address_of
    from edgeconv.device.provision import provision
    from edgeconv.device.ssh import SshDevice
    from edgeconv.report.tables import error_console

    address = address_of(device)
    if address.startswith("emulated:"):
        name = board_named(address.removeprefix("emulated:")).name
        raise UsageError(
            f"{device} has its runtimes",
            hint=f"list them with `edgeconv devices probe emulated:{name}`",
        )
    opened = open_device(address)
    if not isinstance(opened, SshDevice):
        raise UsageError(
            f"{device} is not reached over SSH", hint="install the runtimes there with pip"
        )
    there = provision(opened, lambda step: error_console().print(step))
    python = there.probe().pythons[0]
    echo_line(_packages(python.executable, python.packages))
    if there.name != opened.name:
        echo_line(f"measure there with --device {there.name}")


@command.command("runner", examples=("edgeconv devices runner -o edgeconv-runner.pyz",))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("edgeconv-runner.pyz"),
    show_default=True,
    help="The file to write.",
)
def runner(out: Path) -> None:
    """Write the program that measures on a device, for one that SSH does not reach.

    It is one file, which needs Python 3.8, NumPy and a runtime; docs/runner.md has its requests.
    Over SSH `edgeconv bench` sends it by itself.
    """
    from edgeconv.device.archive import runner_archive
    from edgeconv.whole_file import write_whole

    with runner_archive() as archive:
        write_whole(out, archive.read_bytes())
        kept.made(out)
    echo_line(f"wrote {out}")


@command.command(
    "up",
    examples=("edgeconv devices up pi4",),
)
@click.argument("board", shell_complete=complete_board)
def up(board: str) -> None:
    """Start an emulated BOARD: zero2w, pi3, pi4 or pi5; zero2w-32 and pi3-32 are 32-bit.

    The first time its userland is made in the user's cache folder, from Debian packages and wheels.
    """
    from edgeconv.device.emulated import EmulatedDevice
    from edgeconv.report.tables import progress

    with progress(f"Starting {board}", quiet=False):
        device = EmulatedDevice.parse(board)
    echo_line(f"{device.name} is up; its shell: ssh -F {device.config} {device.host}")
    suggest("devices", "probe", device.name)


@command.command(
    "down",
    examples=("edgeconv devices down pi4",),
)
@click.argument("board", shell_complete=complete_board)
def down(board: str) -> None:
    """Stop an emulated BOARD. What was made for it stays in the cache."""
    from edgeconv.device.emulated import Server, board_named

    stopped = Server(board_named(board.removeprefix("emulated:"))).down()
    echo_line(f"{board} is down" if stopped else f"{board} was not up")


def _print(facts: DeviceFacts) -> None:
    from edgeconv.report.stacked import print_facts
    from edgeconv.units import format_bytes

    rows = [
        ("Board", facts.board),
        ("CPU", facts.cpu_name),
        ("Cores", facts.cores and str(facts.cores)),
        ("Architecture", f"{facts.architecture}, {facts.bits}-bit programs"),
        ("Features", ", ".join(facts.useful_features)),
        ("Frequency", _frequency(facts)),
        ("Governor", facts.governor),
        ("Temperature", facts.temperature_c and f"{facts.temperature_c:.0f} °C"),
        ("Throttle bits", facts.throttled),
        ("Memory", facts.memory_bytes and format_bytes(facts.memory_bytes)),
        ("Memory free", facts.memory_free_bytes and format_bytes(facts.memory_free_bytes)),
        ("Load", f"{facts.load_average:.1f}"),
        ("System", f"{facts.system}, Linux {facts.kernel}, {facts.libc}"),
    ]
    known = [(name, value) for name, value in rows if value]
    known += [(f"Python {p.version}", _packages(p.executable, p.packages)) for p in facts.pythons]
    print_facts(known)


def _frequency(facts: DeviceFacts) -> str:
    """Return what is known of the frequency; an emulated board has none at present."""
    low, now, high = facts.lowest_frequency_hz, facts.frequency_hz, facts.highest_frequency_hz
    present = [] if now is None else [f"{now / 1e6:.0f} MHz now"]
    both = [] if low is None or high is None else [f"{low / 1e6:.0f} to {high / 1e6:.0f} MHz"]
    return ", ".join(present + both)


def _packages(executable: str, packages: dict[str, str]) -> str:
    installed = ", ".join(f"{name} {version}" for name, version in packages.items())
    return f"{executable}: {installed or 'no NumPy, no runtime'}"


@dataclass(frozen=True)
class _Verdict:
    """Whether a Python of the device runs a file; ``reason`` is None where it does."""

    file: str
    python: str
    reason: str | None


def _verdicts(bundle: Bundle, facts: DeviceFacts) -> list[_Verdict]:
    from edgeconv.device.facts import why_not

    return [
        _Verdict(artifact.path, python.executable, why_not(artifact, python))
        for artifact in bundle.manifest.artifacts
        for python in facts.pythons
    ]


def _print_verdicts(verdicts: list[_Verdict]) -> None:
    from edgeconv.report.stacked import print_facts
    from edgeconv.report.tables import console

    rows = [(f"{each.file} on {each.python}", each.reason or "runs") for each in verdicts]
    console().print()
    print_facts(rows, separator=": ")
