"""devices.toml: the user's names for devices."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv.cli.devices_command import command
from edgeconv.device import open_device
from edgeconv.device.boards import open_pools
from edgeconv.device.names import named_devices, names_path
from edgeconv.device.ssh import SshDevice
from edgeconv.errors import UsageError

pytestmark = pytest.mark.device


@pytest.fixture
def devices_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = names_path()
    path.parent.mkdir()
    return path


def test_a_named_device(devices_toml: Path) -> None:
    devices_toml.write_text('[devices]\nkitchen = "ssh://pi@10.0.0.7:2222/opt/py"\n')
    assert open_device("kitchen") == SshDevice.parse("ssh://pi@10.0.0.7:2222/opt/py")
    shown = CliRunner().invoke(command, ["list"], catch_exceptions=False).output
    assert "kitchen" in shown
    assert "emulated:pi3-32" in shown
    with pytest.raises(UsageError, match=r"no device 'bath'\n.*devices.toml has kitchen"):
        open_device("bath")


def test_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert named_devices() == {}
    with pytest.raises(UsageError, match=r"no device 'pi'\n.*devices.toml has none"):
        open_device("pi")


@pytest.mark.parametrize(
    "text",
    [
        "[devices",
        "devices = 3",
        "[devices]\npi = 3",
        '[devices]\nlocal = "ssh://pi"',
        '[devices]\n"a:b" = "ssh://pi"',
        'pi = "ssh://pi"',
        '[devices]\npi = "ssh://pi"\n[device]\n',
        '[devices]\nkitchen = "ssh://pi"\npi = "kitchen"',
        '[devices]\npi = "10.0.0.7"',
        "\xff",
        "a = " + "[" * 5000 + "]" * 5000,
    ],
)
def test_a_file_that_is_wrong(devices_toml: Path, text: str) -> None:
    devices_toml.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError) as caught:
        open_device("pi")
    assert caught.value.message.startswith(str(devices_toml))
    assert caught.value.message.isprintable()
    assert caught.value.hint.isprintable()


def test_what_would_not_work_is_not_listed(devices_toml: Path) -> None:
    """Both once were: one as nothing, one as a device."""
    devices_toml.write_text('kitchen = "ssh://pi"\n')
    with pytest.raises(UsageError, match=r"'kitchen' must stand below \[devices\]"):
        CliRunner().invoke(command, ["list"], catch_exceptions=False)
    devices_toml.write_text('[devices]\nkitchen = "ssh://pi"\nself = "kitchen"\n')
    with pytest.raises(UsageError, match="self is 'kitchen', which is not an address"):
        CliRunner().invoke(command, ["list"], catch_exceptions=False)


def test_addresses(devices_toml: Path) -> None:
    addresses = ("local", "local:/opt/py", "ssh://pi", "emulated:pi4")
    devices_toml.write_text(
        "[devices]\n" + "".join(f"n{i} = '{a}'\n" for i, a in enumerate(addresses))
    )
    assert tuple(named_devices().values()) == addresses


def test_an_address_never_reads_the_file(devices_toml: Path) -> None:
    devices_toml.write_text("[devices")
    assert open_device("local").name == "local"
    assert open_device("ssh://pi").name == "ssh://pi"
    assert [pool.name for pool in open_pools(["local", "ssh://pi"])] == ["local", "ssh://pi"]


def test_a_pool_is_no_device(devices_toml: Path) -> None:
    devices_toml.write_text(
        '[devices]\none = "ssh://1"\ntwo = "ssh://2"\n[pools]\npi = ["one", "two"]\n'
    )
    with pytest.raises(UsageError, match=r"^pi is a pool\nhint: name one of one, two$"):
        open_device("pi")
    (pool,) = open_pools(["pi"])
    assert [(board.name, board.address) for board in pool.boards] == [
        ("one", "ssh://1"),
        ("two", "ssh://2"),
    ]
