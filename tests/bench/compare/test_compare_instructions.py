"""The gate on counted instructions, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.bench.compare.instructions import CountVerdict, compare_counts
from edgeconv.bench.instructions import CountResult
from edgeconv.device import Runtime
from edgeconv.report.instructions import counts_cells
from support.command_line import CommandLine
from support.results import made_counts, made_model, made_result


def save(path: Path, counts: dict[str, int], **changes: object) -> Path:
    made_counts(counts, **changes).save(path)
    return path


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    return save(tmp_path / "old.json", {"a.tflite": 100_000_000, "b.tflite": 5_000_000})


@pytest.mark.parametrize(
    ("counts", "code", "said"),
    [
        ({"a.tflite": 102_000_000, "b.tflite": 4_000_000}, 0, "**Gate passed**"),
        ({"a.tflite": 104_000_000, "b.tflite": 5_000_000}, 1, "**failed**: +4.0% instructions"),
        ({"a.tflite": 100_000_000}, 1, "| b.tflite | | | | | **failed**: not measured |"),
    ],
)
def test_gate(
    edgeconv: CommandLine,
    baseline: Path,
    tmp_path: Path,
    counts: dict[str, int],
    code: int,
    said: str,
) -> None:
    new = save(tmp_path / "new.json", counts)
    done = edgeconv("gate", new, "--baseline", baseline)
    assert done.returncode == code, done.stderr
    assert said in done.stdout
    assert "emulated" in done.stdout
    assert "102 M" in done.stdout or code


def test_larger_and_on_another_core(edgeconv: CommandLine, baseline: Path, tmp_path: Path) -> None:
    same = {"a.tflite": 100_000_000, "b.tflite": 5_000_000}
    new = save(tmp_path / "new.json", same, cpu="cortex-a76", size=2000)
    done = edgeconv("gate", new, "--baseline", baseline)
    assert "larger by +100.0%" in done.stdout
    assert "the CPU changed from cortex-a72 to cortex-a76" in done.stdout


def test_another_core_decides_nothing_unless_that_is_compared(
    edgeconv: CommandLine, baseline: Path, tmp_path: Path
) -> None:
    more = {"a.tflite": 150_000_000, "b.tflite": 5_000_000}
    new = save(tmp_path / "new.json", more, cpu="cortex-a76")
    done = edgeconv("gate", new, "--baseline", baseline)
    assert done.returncode == 3
    assert "**inconclusive**: the CPU changed" in done.stdout
    assert "see --across CPU" in done.stdout
    assert edgeconv("gate", new, "--baseline", baseline, "--across", "cpu").returncode == 1
    assert "undecided, see the notes" in edgeconv("compare", baseline, new).stdout
    shown = edgeconv("compare", baseline, new, "--across", "CPU").stdout
    assert "50.0% more instructions" in shown


@pytest.mark.parametrize(
    ("runtime", "count", "limit", "code"),
    [
        (Runtime.LITERT, 99_999_999, 0, 0),
        (Runtime.LITERT, 100_090_000, 0, 3),
        (Runtime.LITERT, 100_090_000, 0.1, 0),
        (Runtime.LITERT, 100_220_000, 0.1, 1),
        # Its float files have two modes, 0.22 % apart: a limit of 0.1 % cannot be decided.
        (Runtime.ONNXRUNTIME, 100_220_000, 0.1, 3),
        (Runtime.ONNXRUNTIME, 100_220_000, 0.3, 0),
        (Runtime.ONNXRUNTIME, 100_260_000, 0.1, 1),
    ],
)
def test_what_is_within_their_repeatability_is_no_failure(
    edgeconv: CommandLine, tmp_path: Path, runtime: Runtime, count: int, limit: float, code: int
) -> None:
    old = save(tmp_path / "old.json", {"a": 100_000_000}, runtime=runtime)
    new = save(tmp_path / "new.json", {"a": count}, runtime=runtime)
    done = edgeconv("gate", new, "--baseline", old, "--max-regression", limit)
    assert done.returncode == code
    assert ("**inconclusive**: the counts do not repeat to so little" in done.stdout) is (code == 3)


def test_compare(edgeconv: CommandLine, baseline: Path, tmp_path: Path) -> None:
    new = save(tmp_path / "new.json", {"a.tflite": 104_000_000, "b.tflite": 5_001_000})
    done = edgeconv("compare", baseline, new)
    assert "100 M instr." in done.stdout
    assert "4.0% more instructions, at least 3.9%, at most 4.1%" in done.stdout
    assert "no difference shown; counts repeat to 0.1%" in done.stdout
    (report,) = json.loads(edgeconv("compare", new, baseline, "--json").stdout)["comparisons"]
    assert report["of"] == "instruction counts"
    assert [file["verdict"] for file in report["files"]] == ["fewer", "no difference shown"]


@given(st.integers(1, 10**12), st.integers(1, 10**12))
def test_the_verdict_says_which_way(before: int, after: int) -> None:
    (there,) = compare_counts(made_counts({"m": before}), made_counts({"m": after})).comparisons
    assert (there.verdict is CountVerdict.MORE) == (there.change.value > 1.001)
    assert (there.verdict is CountVerdict.FEWER) == (there.change.value < 0.999)
    assert there.verdict.value in there.sentence()


def test_the_last_column_says_what_it_compares() -> None:
    columns, rows = counts_cells(made_counts({"a": 2_000_000, "b": 1_000_000}))
    assert columns[-1].name == "Reduction from the highest count"
    assert [row[-1] for row in rows] == ["1.00×", "2.00×"]


def test_counts_and_times_do_not_mix(edgeconv: CommandLine, baseline: Path, tmp_path: Path) -> None:
    times = tmp_path / "times.json"
    made_result(made_model("m", [1000, 1001])).save(times)
    for command in (("compare", times, baseline), ("gate", baseline, "--baseline", times)):
        done = edgeconv(*command)
        assert done.returncode == 2
        assert "times.json holds latencies and" in done.stderr
        assert "holds instruction counts\nhint: name two of one kind" in done.stderr


@pytest.mark.parametrize("text", ["{}", "", '{"kind": "instructions"}', "[]"])
def test_a_file_that_is_no_result(
    edgeconv: CommandLine, baseline: Path, tmp_path: Path, text: str
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(text)
    done = edgeconv("gate", broken, "--baseline", baseline)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.error


def test_counts_of_version_1_are_read(tmp_path: Path) -> None:
    """They knew of no file that was left out."""
    older = made_counts({"m": 1_000_000}).model_dump(mode="json") | {"schema_version": 1}
    del older["left_out"]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(older))
    assert CountResult.load(path) == made_counts({"m": 1_000_000})
