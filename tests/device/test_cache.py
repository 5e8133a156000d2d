"""What is made once and kept: another version's and half-made things are not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv.device.emulated import BOARDS, boards, sysroot
from edgeconv.device.emulated.cache import cache_folder, make_once, recipe


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_made_once() -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "content").write_text(str(len(made)))

    first = make_once("thing", "a", make)
    assert make_once("thing", "a", make) == first
    assert (first / "content").read_text() == "1"
    assert make_once("thing", "b", make) != first
    assert len(made) == 2


def test_what_fails_leaves_nothing() -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        make_once("thing", "a", fail)
    assert [path.name for path in cache_folder().iterdir()] == ["thing.lock"]


def test_what_a_killed_process_left_is_removed() -> None:
    left = cache_folder() / ".thing.part"
    left.mkdir(parents=True)
    (left / "half").touch()
    whole = make_once("thing", "a", lambda folder: (folder / "content").touch())
    assert [path.name for path in whole.iterdir()] == ["content"]
    assert not left.exists()


def test_other_code_is_another_recipe(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text("1")
    before = recipe("pi4", code)
    assert recipe("pi4", code) == before
    code.write_text("2")
    assert recipe("pi4", code) != before


def test_system_files_of_another_version_are_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder was once named after the board only, whatever wrote it."""
    monkeypatch.setattr(sysroot, "ensure_userland", lambda architecture: tmp_path / "userland")
    now = sysroot.ensure_sysroot(BOARDS["pi4"])
    other = tmp_path / "boards.py"
    other.write_text(Path(boards.__file__).read_text("utf-8") + "# of another version\n", "utf-8")
    monkeypatch.setattr(boards, "__file__", str(other))
    assert sysroot.ensure_sysroot(BOARDS["pi4"]) != now
