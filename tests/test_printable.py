import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.markdown import in_markdown
from edgeconv.printable import file_name, printable, printable_json, printable_lines

# Escape sequences of 7 and of 8 bits, line breaks of all kinds, and what turns the direction of
# reading around.
HOSTILE = "\x1b\x07\x9b\x7f\r\n\x0b\x0c\x85\u2028\u202e\u2066\u200f\ufeff\udcff"


def any_text() -> st.SearchStrategy[str]:
    return st.text(st.characters() | st.sampled_from(HOSTILE))


@given(any_text())
def test_a_line_is_printable_whatever_it_holds(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert shown == text or not text.isprintable()


@given(any_text())
def test_lines_keep_their_breaks_only(text: str) -> None:
    assert printable_lines(text).split("\n") == [printable(line) for line in text.split("\n")]


@given(
    st.recursive(
        any_text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(any_text(), inner),
    ),
    st.booleans(),
)
def test_json_means_the_same(document: Any, ascii_only: bool) -> None:
    shown = printable_json(
        json.dumps(document, ensure_ascii=False, indent=1), ascii_only=ascii_only
    )
    assert json.loads(shown) == json.loads(json.dumps(document))
    assert all(map(str.isprintable, shown.split("\n")))
    assert not ascii_only or shown.isascii()


def test_bytes_of_a_file_name_are_shown_as_bytes() -> None:
    assert printable("a\udcff.onnx") == file_name("a\udcff.onnx") == "a\\xff.onnx"
    assert file_name("näme") == "näme"


@pytest.mark.parametrize("char", HOSTILE)
def test_hostile_characters_are_escaped(char: str) -> None:
    assert printable(char).startswith("\\")


def test_a_name_without_end_loses_its_middle_in_markdown() -> None:
    """A cell of a million characters makes a page of a pull request that shows nothing else."""
    name = "a" * 600_000 + "\x1b|" + "z" * 600_000
    shown = in_markdown(name)
    assert len(shown) < 1050  # a thousand, and how many are left out
    assert shown.startswith("aaa")
    assert shown.endswith("zzz")
    assert in_markdown("|" * 900) == r"\|" * 900  # what escapes add is not cut off
