"""Markdown, JUnit XML and JSON of ``gate`` and ``compare``, and GitHub's summary of a step."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.bench.compare.comparison import Outcome
from edgeconv.report.junit import Case, junit
from edgeconv.store.history import History
from support.command_line import CommandLine
from support.results import made_model, made_result

CALM = [1_000_000, 1_001_000, 999_000]
SLOW = [2 * median for median in CALM]
HOSTILE = "a|b<script>]]>&\x1b[2J\n\"'`*"


@pytest.fixture(autouse=True)
def runs(history_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    history = History.at(str(history_path))
    history.add(made_result(made_model(HOSTILE, CALM), made_model("gone", CALM)), None)
    history.add(made_result(made_model(HOSTILE, SLOW), made_model("new", CALM)), None)


def test_a_gate_writes_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edgeconv: CommandLine
) -> None:
    summary = tmp_path / "summary"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    markdown, xml = tmp_path / "g.md", tmp_path / "g.xml"
    gate = ("gate", 2, "--baseline", 1, "--markdown", markdown, "--junit", xml)
    printed = edgeconv(*gate)
    assert printed.returncode == 1
    assert printed.stdout == markdown.read_text("utf-8")
    assert summary.read_text("utf-8") == "before\n\n" + printed.stdout
    root = ElementTree.parse(xml).getroot()
    cases = {case.get("name"): case for case in root.iter("testcase")}
    (slow,) = (case for name, case in cases.items() if name and name.startswith("a|b<script>]]>&"))
    failure = slow.find("failure")
    assert failure is not None
    assert "slower" in str(failure.get("message"))
    assert cases["gone"].find("failure") is not None
    assert cases["new"].find("failure") is None
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "2", "0")
    found = edgeconv(*gate, "--json")
    assert found.returncode == 1
    document = json.loads(found.stdout)
    assert document["outcome"] == "failed"
    (part,) = document["gates"]
    assert (part["missing"], part["added"]) == (["gone"], ["new"])
    assert part["files"][0]["change"]["value"] == pytest.approx(2, rel=0.01)


def test_compare_writes_all_of_them(tmp_path: Path, edgeconv: CommandLine) -> None:
    xml = tmp_path / "c.xml"
    printed = edgeconv("compare", 1, 2, "--markdown", "-", "--junit", xml)
    assert printed.returncode == 0
    assert "| File | Before | After | Verdict |" in printed.stdout
    assert "a\\|b\\<script\\>" in printed.stdout
    assert "\x1b" not in printed.stdout
    (case,) = ElementTree.parse(xml).getroot().iter("testcase")
    assert "slower" in str(case.findtext("system-out"))


def test_what_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edgeconv: CommandLine
) -> None:
    for options in (
        ("--markdown", tmp_path),
        ("--junit", tmp_path / "no" / "x.xml"),
        ("--markdown", "-", "--json"),
    ):
        assert edgeconv("gate", 2, "--baseline", 1, *options).returncode == 2
        assert edgeconv("compare", 2, 1, *options).returncode == 2
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    done = edgeconv("gate", 1, "--baseline", 1 + 1, "--junit", tmp_path / "x.xml")
    assert done.returncode == 1  # "new" is missing; the summary costs nothing
    assert "GITHUB_STEP_SUMMARY cannot be written" in done.stderr


@given(st.lists(st.builds(Case, st.text(), st.text(), st.sampled_from(Outcome), st.text())))
def test_any_name_is_well_formed(cases: list[Case]) -> None:
    root = ElementTree.fromstring(junit("t", cases))
    assert len(list(root.iter("testcase"))) == len(cases) == int(str(root.get("tests")))
    for outcome, tag in ((Outcome.FAIL, "failure"), (Outcome.INCONCLUSIVE, "error")):
        expected = sum(case.outcome is outcome for case in cases)
        assert len(list(root.iter(tag))) == expected
