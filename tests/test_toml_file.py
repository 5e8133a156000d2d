"""TOML files that cannot be read are one line, wherever they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeconv.device import names
from edgeconv.errors import UsageError
from edgeconv.export.data.stated import read_preprocessing
from edgeconv.export.layer_rules import read_layers
from edgeconv.toml_file import read_toml

UNREADABLE = [
    (b"\xff\xfe[[layer", "is not TOML: 'utf-8' codec"),
    (b'name = "x\n', "is not TOML: Illegal character"),
    (b"a = " + b"[" * 20000, "is not TOML: it nests too deeply"),
    (b"a = " + b"9" * 5000, "is not TOML: Exceeds the limit"),
    (b'a = [{ b = "x\\u0000" }]', "holds a NUL character in a text"),
]


def _devices(path: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "names_path", lambda: path)
        return names.named_devices()


@pytest.mark.parametrize("read", [read_layers, read_preprocessing, _devices])
@pytest.mark.parametrize(("content", "message"), UNREADABLE)
def test_an_unreadable_file_is_one_line_with_a_hint(
    tmp_path: Path, read: Callable[[Path], object], content: bytes, message: str
) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read(path)
    assert caught.value.message.startswith(f"{path} {message}")
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_toml(tmp_path, hint="name a file")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('[a]\nb = [1, 2.5, "é"]\n', "utf-8")
    assert read_toml(path, hint="") == {"a": {"b": [1, 2.5, "é"]}}
