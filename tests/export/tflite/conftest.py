"""A summary of ONNX's node tests at the end of a run: by operator, and why what does not apply."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from _pytest.terminal import TerminalReporter

NODE_TEST = "onnx_node_test"
"""The property of a report, one of each case: its operator, and what became of it."""


@dataclass
class Tally:
    """Results of one operator; ``reasons`` counts the cases that do not apply."""

    passed: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in self.reasons.most_common())
        return f"{self.passed:6} {self.reasons.total():15} {self.failed:7}  {reasons}"


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    tallies: dict[str, Tally] = {}
    # The reports come with their properties from the workers of a parallel run as well.
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            if isinstance(report, pytest.TestReport):
                _count(tallies, report)
    if not tallies:
        return
    width = max(map(len, tallies))
    terminalreporter.section("ONNX node tests")
    terminalreporter.write_line(f"{'operator':{width}}  passed  not applicable  failed")
    total = Tally()
    for name, tally in sorted(tallies.items()):
        total.passed += tally.passed
        total.failed += tally.failed
        total.reasons.update(tally.reasons)
        terminalreporter.write_line(f"{name:{width}}  {tally.line()}")
    terminalreporter.write_line(f"{'all':{width}}  {total.line()}")


def _count(tallies: dict[str, Tally], report: pytest.TestReport) -> None:
    for name, found in report.user_properties:
        if name != NODE_TEST:
            continue
        operator, what = str(found).split(": ", 1)
        tally = tallies.setdefault(operator, Tally())
        if what == "failed":
            tally.failed += 1
        elif what == "passed":
            tally.passed += 1
        else:
            tally.reasons[what] += 1
