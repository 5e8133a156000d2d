"""The text file of ``--labels``."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv.cli.values import lines
from edgeconv.errors import UsageError
from edgeconv.limits import LimitExceeded


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ("cat\nż 猫\n", ("cat", "ż 猫")),
        ("cat\ndog", ("cat", "dog")),
        ("cat\r\ndog\r\n", ("cat", "dog")),
        ("\ufeffcat\ndog\n", ("cat", "dog")),  # as editors of Windows write UTF-8
        ("cat\u2028wild\ndog\x0c\n", ("cat\u2028wild", "dog\x0c")),  # no line ends there
        ("cat\n\ndog\n", ("cat", "", "dog")),
        ("", ()),
    ],
)
def test_a_label_is_a_line(tmp_path: Path, content: str, labels: tuple[str, ...]) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes(content.encode())
    assert lines(str(file)) == labels


def test_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("café\n".encode("latin-1"))
    with pytest.raises(UsageError, match="not a text file in UTF-8"):
        lines(str(file))


def test_a_line_without_end(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.touch()
    with path.open("r+b") as file:
        file.truncate(1_500_000_000)
    with pytest.raises(LimitExceeded, match=r"labels\.txt has 1\.50 GB"):
        lines(str(path))


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r" is a folder\nhint: name a text file$"):
        lines(str(tmp_path))
    with pytest.raises(UsageError, match=r"none\.txt: no such file\nhint: name a text file$"):
        lines(str(tmp_path / "none.txt"))
