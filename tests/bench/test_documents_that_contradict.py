"""Results that contradict themselves, as a hand or a script may have made them, are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeconv import __version__
from edgeconv.bench import BenchResult
from edgeconv.bench.compare.latency import LATENCY
from edgeconv.bench.end_to_end import EndToEndModel, EndToEndResult
from edgeconv.bench.instructions import CountResult
from edgeconv.bench.journal import Finished, Journal, Session
from edgeconv.bench.profile.profile import OperatorResult
from edgeconv.bench.profile.records import ProfiledModel
from edgeconv.bench.sustained import Stretch, SustainedModel, SustainedResult
from edgeconv.bench.together import TogetherModel, TogetherResult
from edgeconv.bundle import Bundle, Format, Manifest, Precision
from edgeconv.calibrated_ranges import CalibratedRanges
from edgeconv.device import Runtime
from edgeconv.device.messages import Steps
from edgeconv.errors import EdgeconvError, MeasurementError, UsageError
from edgeconv.store.history import History
from edgeconv.sweep.result import Limits, SweepResult, bundle_at
from edgeconv.versioned import Versioned
from support.command_line import CommandLine
from support.manifests import made_artifact, made_manifest
from support.results import (
    CALM,
    MACHINE,
    STARTED,
    made_counts,
    made_evaluation,
    made_model,
    made_result,
)

MEDIANS = [1000, 1010, 1020, 1030, 1040, 1050]
MODEL = made_model("a.tflite", MEDIANS)
OTHER = made_model("b.tflite", MEDIANS)
STEPS = Steps(event="steps", frame=1, preparation=1, input=1, inference=1, output=1, answer=1)
COMMON: dict[str, Any] = {
    "edgeconv_version": "0",
    "started": STARTED,
    "device": "local",
    "options": made_result(MODEL).options,
    "warnings": (),
}
TOGETHER = TogetherResult(
    **COMMON,
    machine=MACHINE,
    models=tuple(
        TogetherModel(file=each.file, alone=each.processes, together=each.processes)
        for each in (MODEL, OTHER)
    ),
)
END_TO_END = EndToEndResult(
    **COMMON,
    machine=MACHINE,
    frame=(640, 480),
    models=(
        EndToEndModel(file=MODEL.file, processes=MODEL.processes, steps=(STEPS,) * len(MEDIANS)),
    ),
)
STRETCH = Stretch(
    seconds=1.0, samples_ns=(5,), conditions=CALM, watts=None, others_cores=0.0, stolen_cores=0.0
)
SUSTAINED = SustainedResult(
    **COMMON,
    seconds=1.0,
    models=(
        SustainedModel(
            file=MODEL.file,
            runtime=Runtime.LITERT,
            runtime_version="2.3",
            machine=MACHINE,
            before=CALM,
            stretches=(STRETCH,),
        ),
    ),
)
OPERATORS = OperatorResult(
    **COMMON,
    models=(
        ProfiledModel(
            file=MODEL.file,
            runtime_version="2.3",
            machine=MACHINE,
            tick_ns=1,
            frequency_hz=None,
            peaks=None,
            operators=(),
        ),
    ),
)
LATENCIES = made_result(MODEL)
MANIFEST = made_manifest((1, 3), (1, 2)).model_copy(
    update={"artifacts": (made_artifact("a.tflite", Format.TFLITE, Precision.FLOAT32),)}
)
RESULTS: tuple[Versioned, ...] = (
    *(LATENCIES, made_counts({"a.tflite": 1000}), made_evaluation({"a.tflite": [True, False]})),
    *(TOGETHER, END_TO_END, SUSTAINED, OPERATORS, MANIFEST),
)


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_an_entry_that_is_there_twice(result: Versioned) -> None:
    document = json.loads(result.model_dump_json())
    assert type(result).parse(json.dumps(document), "r.json") == result
    entries = document[
        {"Evaluation": "results", "Manifest": "artifacts"}.get(type(result).__name__, "models")
    ]
    entries.append(entries[0])
    with pytest.raises(EdgeconvError, match=" is there twice") as caught:
        type(result).parse(json.dumps(document), "r.json")
    assert "r.json is damaged" in caught.value.message


def test_every_command_refuses_an_entry_that_is_there_twice(
    tmp_path: Path, edgeconv: CommandLine
) -> None:
    """The gate found no partner for either, and said that the file had not been measured."""
    good, twice = tmp_path / "good.json", tmp_path / "twice.json"
    LATENCIES.save(good)
    made_result(MODEL, warnings=("-",), models=(MODEL, MODEL)).save(twice)
    for words in (
        ("gate", good, "--baseline", twice),
        ("gate", twice, "--baseline", good),
        ("compare", good, twice),
    ):
        done = edgeconv(*words)
        assert done.returncode == 2
        assert done.stderr.splitlines()[0].endswith(": a.tflite is there twice")


def test_the_history_has_a_damaged_evaluation(edgeconv: CommandLine) -> None:
    """It is the request that names it, for every kind of result."""
    evaluation = made_evaluation({"a.tflite": [True, False]})
    twice = evaluation.model_copy(update={"results": evaluation.results * 2})
    run = made_result(MODEL)
    history = History.at(None)
    assert LATENCY.history_run is not None
    number = history.add(twice, None, LATENCY.history_run(run))
    done = edgeconv("history", "--run", number)
    assert done.returncode == 2
    assert "a.tflite is there twice" in done.stderr


@pytest.mark.parametrize(
    "result",
    [
        *RESULTS,
        CalibratedRanges(activations=0, ranges=()),
        SweepResult(started=STARTED, limits=Limits(), rows=()),
    ],
    ids=lambda result: type(result).__name__,
)
def test_a_document_of_a_newer_edgeconv(result: Versioned) -> None:
    """Not all of them say of which edgeconv they are, and none is made again by the older one."""
    document = json.loads(result.model_dump_json()) | {"schema_version": 99}
    maker = document.get("edgeconv_version")
    for version in {maker, "7.1" if maker else None}:
        if version is not None:
            document["edgeconv_version"] = version
        ours = version in (None, __version__)
        hint = "install a newer edgeconv" if ours else f"install edgeconv {version} or later"
        with pytest.raises(EdgeconvError, match="schema version 99, this edgeconv reads") as caught:
            type(result).parse(json.dumps(document), "r.json")
        assert caught.value.hint == hint


@pytest.mark.parametrize("result", [TOGETHER, END_TO_END, SUSTAINED, OPERATORS])
def test_what_is_not_compared(tmp_path: Path, edgeconv: CommandLine, result: Versioned) -> None:
    """The page of a report shows it; to measure again would help nothing."""
    path, good = tmp_path / "r.json", tmp_path / "good.json"
    result.save(path)
    LATENCIES.save(good)
    kind = json.loads(path.read_text())["kind"]
    for words in (("compare", good, path), ("gate", path, "--baseline", good)):
        done = edgeconv(*words)
        assert done.returncode == 2
        assert done.stderr.splitlines() == [
            f"error: {path} is a result of kind {kind}, which is not compared",
            f"hint: look at it with `edgeconv report {path}`; what is compared are latencies, "
            "instruction counts and accuracies",
        ]


@pytest.mark.parametrize(
    ("result", "place"),
    [
        (LATENCIES, ("summary", "median", "value")),
        (LATENCIES, ("summary", "low", "value")),
        (LATENCIES, ("summary", "minimum")),
        (LATENCIES, ("summary", "samples")),
        (LATENCIES, ("processes", 0, "samples_ns", 2)),
        (TOGETHER, ("alone_ns", "value")),
        (TOGETHER, ("slowdown", "value")),
        (END_TO_END, ("total_ns", "value")),
        (END_TO_END, ("steps_ns", "inference")),
        (made_counts({"a.tflite": 1000}), ("counts", "simd")),
    ],
    ids=str,
)
def test_figures_that_are_not_those_of_the_samples(
    result: BenchResult | TogetherResult | EndToEndResult | CountResult,
    place: tuple[str | int, ...],
) -> None:
    """Figures that a hand changed, by a microsecond or less."""
    document = json.loads(result.model_dump_json())
    *above, name = place
    at = document["models"][0]
    for part in above:
        at = at[part]
    at[name] -= 1 if name != "simd" else -1000
    with pytest.raises(MeasurementError, match=r"is not what the samples say|contradict"):
        type(result).parse(json.dumps(document), "r.json")


@pytest.mark.parametrize(
    "result", [LATENCIES, TOGETHER, END_TO_END], ids=lambda r: type(r).__name__
)
def test_what_may_differ(result: BenchResult | TogetherResult | EndToEndResult) -> None:
    """Other bounds of another edgeconv, no figures at all, and those of an older schema."""
    document = json.loads(result.model_dump_json())
    figures = [n for n in ("summary", "alone_ns", "total_ns") if n in document["models"][0]]
    interval = document["models"][0][figures[0]]
    (interval["median"] if figures[0] == "summary" else interval)["low"] = 1.0
    assert type(result).parse(json.dumps(document), "r.json") == result
    del document["models"][0][figures[0]]
    assert type(result).parse(json.dumps(document), "r.json") == result
    document = json.loads(result.model_dump_json()) | {"schema_version": 1}
    for model in document["models"]:
        stated = model[figures[0]]
        (stated["median"] if figures[0] == "summary" else stated)["value"] = 7.0
    assert type(result).parse(json.dumps(document), "r.json") == result


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": [-5, 3]}, "x cannot have the shape"),
        ({"shape": [2**40, 3]}, "x cannot have the shape"),
        ({"dtype": "O"}, "x has the type 'O', which is not one of numbers"),
        ({"dtype": "complex999"}, "which is not one of numbers"),
        ({"scale": 0}, "x cannot have the scale 0"),
        ({"scale": 1e999}, "x cannot have the scale inf"),
    ],
)
def test_tensors_that_no_file_has(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    """``predict`` prepared pictures for a type that there is not, and printed what came of it."""
    document = json.loads(made_manifest((1, 3), (1, 2)).model_dump_json())
    document["inputs"][0] |= changes
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(document).replace("Infinity", "1e999"))
    with pytest.raises(EdgeconvError, match=said):
        Manifest.load(path)


def test_a_bundle_without_files(tmp_path: Path) -> None:
    made_manifest((1, 3), (1, 2)).save(tmp_path / "manifest.json")
    with pytest.raises(EdgeconvError, match="lists no model files"):
        Bundle.load(tmp_path)


@pytest.mark.parametrize(
    ("path", "said"), [(None, "names no bundle"), (Path("/gone"), "/gone is not in the cache")]
)
def test_a_bundle_of_a_sweep_that_is_gone(path: Path | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        bundle_at(path, "a.tflite")


def test_a_key_twice(tmp_path: Path, edgeconv: CommandLine) -> None:
    """One reader takes the first value, another the last: a verdict would hang on the reader."""
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    made_result(MODEL).save(before)
    made_result(made_model("a.tflite", [2 * ns for ns in MEDIANS])).save(after)
    models = json.dumps(json.loads(before.read_text())["models"])
    text = after.read_text().rstrip()
    after.write_text(f'{{"models": {models},{text[1:]}')
    done = edgeconv("gate", after, "--baseline", before)
    assert done.returncode == 2
    assert f"{after} states 'models' twice in one place" in done.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "process 0 is there twice"),
        ({"order": 7}, "process 7 is there twice"),
        ({"repetition": 10**9, "order": 7}, "has no repetition 1000000000"),
    ],
)
def test_a_journal_with_a_process_too_many(
    changes: dict[str, int], said: str, tmp_path: Path
) -> None:
    """It was measured to its end, removed, and its result could not be shown."""
    path, run = tmp_path / "r.partial", MODEL.processes[0]
    session = Session(
        **{name: value for name, value in COMMON.items() if name != "warnings"},
        files=(MODEL.file,),
        paths=(Path("/a.tflite"),),
        inputs_sha256=None,
        out=None,
    )
    Journal.create(path, session).add(Finished(model=0, machine=MACHINE, run=run))
    again = Finished(model=0, machine=MACHINE, run=run.model_copy(update=changes))
    with path.open("a") as file:
        file.write(again.model_dump_json() + "\n")
    with pytest.raises(UsageError, match=said):
        Journal.open(path)


def test_rows_with_other_numbers_of_processes(tmp_path: Path, edgeconv: CommandLine) -> None:
    """Speed-ups are of processes side by side; a report ended in an internal error."""
    path = tmp_path / "r.json"
    made_result(MODEL, OTHER).save(path)
    document = json.loads(path.read_text())
    document["models"][1]["processes"].pop()
    del document["models"][1]["summary"]
    path.write_text(json.dumps(document))
    done = edgeconv("report", path, "-o", tmp_path / "r.html")
    assert done.returncode in (1, 2)
    assert "b.tflite has 5 processes and a.tflite 6" in done.stderr
    assert "internal" not in done.stderr
