"""Tables within 80 columns."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from edgeconv.bench.compare.latency import compare_latencies
from edgeconv.bench.sustained import Stretch, SustainedModel, SustainedResult
from edgeconv.device.messages import Conditions
from edgeconv.printable import printable
from edgeconv.report.accuracy import accuracy_cells
from edgeconv.report.compare import comparison_table
from edgeconv.report.instructions import counts_table
from edgeconv.report.latency import cost_table, latency_table
from edgeconv.report.printable_console import PrintableConsole
from edgeconv.report.stacked import GAP, INDENT, print_facts, print_fitted, stacked
from edgeconv.report.sustained import sustained_table
from edgeconv.report.tables import LONGEST_NAME, WIDTH, Column, console
from support.results import made_counts, made_evaluation, made_model, made_result
from support.scripted_device import conditions

LONG = "build/mobilenet_v2/mobilenet_v2_int8-dynamic.tflite"


def drawn(table: object) -> list[str]:
    console = PrintableConsole(width=10_000, markup=False, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


@given(st.text("abcµ×", min_size=1, max_size=LONGEST_NAME), st.text("12", max_size=30))
def test_names_stay_whole_and_figures_stay_in_columns(name: str, figure: str) -> None:
    lines = drawn(stacked((Column("File"), Column("Time", numeric=True)), [[name, figure]]))
    assert any(line.split("  ")[0] == name for line in lines)
    assert all(len(line) <= WIDTH for line in lines if name not in line)


@given(st.text("ab猫×\n", min_size=LONGEST_NAME + 1, max_size=2000), st.integers(0, 2))
def test_names_without_end_lose_their_middle(name: str, place: int) -> None:
    """One of 10,000 characters filled a terminal five times."""
    cells = ["file", "1 ms", "2 ms"]
    cells[place] = name
    columns = (Column("File"), Column("Time", numeric=True), Column("Other"))
    for table in (stacked(columns, [cells]), stacked(columns, [cells], title=name)):
        lines = drawn(table)
        assert all(cell_len(line) <= LONGEST_NAME + len(INDENT) for line in lines), lines
        cut = [line for line in lines if "…" in line]
        assert cut
        for line in cut:
            head, tail = line.split("…")
            assert printable(name).startswith(head.strip())
            assert printable(name).endswith(tail.strip())


def test_whole_names_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    name = "n" * 9000
    print_fitted([Column("File")], [[name]], wide=True)
    assert name in capsys.readouterr().out
    print_fitted([Column("File")], [[name]], wide=False)
    print_facts([(name, name), ("b", f"{name} c")])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 3 * LONGEST_NAME
    console().print(name)
    assert len(capsys.readouterr().out) < 4100


def test_a_note_names_no_column_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    """It said "--wide also shows , input" of a bar and a figure."""
    columns = [Column("layer"), Column("", spare=True), Column("input", spare=True)]
    print_fitted(columns, [["l" * 60, "#" * 20, "i" * 30]], wide=False)
    assert capsys.readouterr().err == "note: --wide also shows input\n"
    print_fitted(columns[:2], [["l" * 60, "#" * 30]], wide=False)
    assert not capsys.readouterr().err


@given(st.lists(st.text("12", min_size=1, max_size=WIDTH - 2), min_size=1, max_size=9))
def test_figures_too_wide_for_one_line_stand_on_several(figures: list[str]) -> None:
    """The history of a board with a long address was 108 columns wide."""
    columns = [Column("File"), *(Column("F", numeric=True) for _ in figures)]
    lines = drawn(stacked(columns, [["name", *figures]]))
    assert all(len(line) <= WIDTH for line in lines)
    assert " ".join(lines).split() == ["File", *(["F"] * len(figures)), "name", *figures]


@given(
    st.lists(
        st.tuples(
            st.text("abc", min_size=1, max_size=20),
            st.lists(st.text("abcµ×", max_size=50), max_size=20).map(" ".join),
        ),
        max_size=5,
    ),
    st.sampled_from([GAP, ": "]),
)
def test_facts_fit(rows: list[tuple[str, str]], separator: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        written = io.StringIO()
        patch.setattr("sys.stdout", written)
        print_facts(rows, separator=separator)
    text = written.getvalue()
    assert all(len(line) <= WIDTH for line in text.splitlines())
    words = [word for name, said in rows for word in (f"{name}{separator}{said}").split()]
    assert text.split() == words


@pytest.mark.parametrize("names", [(LONG,), (LONG, "b/" + LONG)])
def test_counts_and_sustained_loads_fit(names: tuple[str, ...]) -> None:
    stretch = Stretch.model_construct(
        seconds=300.0,
        samples_ns=(1000,) * 9,
        conditions=Conditions(**conditions(throttled="50005", temperature_c=81.5)),
        watts=6.25,
    )
    models = [
        SustainedModel.model_construct(file=made_model(name, [1000]).file, stretches=(stretch,))
        for name in names
    ]
    sustained = SustainedResult.model_construct(models=models)
    for table in (
        counts_table(made_counts(dict.fromkeys(names, 10**9))),
        sustained_table(sustained),
    ):
        lines = drawn(table)
        assert any(LONG in line for line in lines)
        assert max(len(line) for line in lines) <= WIDTH, lines


def test_tables_of_bench_and_compare_fit() -> None:
    slow = [123_456_789 + 1_000_000 * step for step in range(8)]
    fast = [ns // 3 for ns in slow]
    models = [made_model(LONG, slow), made_model("b/" + LONG, fast)]
    result = made_result(*models)
    for table in (latency_table(result), cost_table(result)):
        lines = drawn(table)
        assert any(LONG in line for line in lines)
        assert max(len(line) for line in lines) <= WIDTH, lines
    evaluation = made_evaluation({LONG: [True, False], "b/" + LONG: [True, True]})
    assert max(map(len, drawn(stacked(*accuracy_cells(evaluation))))) <= WIDTH
    report = compare_latencies(result, result)
    assert max(map(len, drawn(comparison_table(report, None)))) <= WIDTH
