"""The names in the chart of accuracy against cost."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("matplotlib")

from edgeconv.report.html.charts import Chart, Point, front


def drawn(count: int) -> Chart:
    """The front of ``count`` files, of which every second one is on it."""
    points = [
        Point(
            f"file {index}", 1 + index / 10, 50 + 3 * index - 4 * (index % 2), 1000, not index % 2
        )
        for index in range(count)
    ]
    return front("top-1 against latency", points, "latency (ms)", "top-1")


def names(chart: Chart) -> list[str]:
    return re.findall(r"<text[^>]*>(file \d+)</text>", chart.svg)


def test_few_files_are_all_named() -> None:
    chart = drawn(8)
    assert sorted(names(chart)) == [f"file {index}" for index in range(8)]
    assert chart.description == "top-1 against latency"


def test_of_many_files_the_front_is_named() -> None:
    chart = drawn(20)
    assert names(chart) == [f"file {index}" for index in range(0, 20, 2)]
    assert chart.description == "top-1 against latency; the front is named"


def test_names_of_one_place_are_written_at_several_heights() -> None:
    points = [Point(f"file {index}", 1.0, 90.0, 1000, True) for index in range(4)]
    chart = front("top-1 against latency", points, "latency (ms)", "top-1")
    heights = re.findall(r'<text[^>]* y="([\d.]+)"[^>]*>file', chart.svg)
    assert len(set(heights)) == 4
