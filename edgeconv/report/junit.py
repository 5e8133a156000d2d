"""Verdicts as JUnit XML, which CI services show as tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from edgeconv.bench.compare.comparison import Outcome
from edgeconv.printable import printable

# JUnit knows no third verdict: an error is a test that came to none.
_ELEMENTS = {Outcome.FAIL: "failure", Outcome.INCONCLUSIVE: "error"}


@dataclass(frozen=True)
class Case:
    """What is said of one file: its suite, its name, the verdict, and the figures in words."""

    suite: str
    name: str
    outcome: Outcome
    text: str


def junit(title: str, cases: Sequence[Case]) -> bytes:
    r"""The verdicts as an XML document; an inconclusive one is an error.

    XML cannot hold most control characters, not even escaped: they are written as ``\x1b``.
    """
    suites: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        suites[case.suite].append(case)
    root = ElementTree.Element("testsuites", {"name": title, **_counts(cases)})
    for suite, members in suites.items():
        attributes = {"name": printable(suite), **_counts(members)}
        element = ElementTree.SubElement(root, "testsuite", attributes)
        for case in members:
            _add(element, case)
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _add(suite: ElementTree.Element, case: Case) -> None:
    names = {"classname": printable(case.suite), "name": printable(case.name), "time": "0"}
    test = ElementTree.SubElement(suite, "testcase", names)
    text = printable(case.text)
    if case.outcome is Outcome.PASS:
        ElementTree.SubElement(test, "system-out").text = text
    else:
        kind = _ELEMENTS[case.outcome]
        attributes = {"message": text, "type": case.outcome.value}
        ElementTree.SubElement(test, kind, attributes)


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    outcomes = [case.outcome for case in cases]
    return {
        "tests": str(len(cases)),
        "failures": str(outcomes.count(Outcome.FAIL)),
        "errors": str(outcomes.count(Outcome.INCONCLUSIVE)),
        "skipped": "0",
    }
