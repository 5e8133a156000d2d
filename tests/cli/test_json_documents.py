"""What commands print with --json is a document whose schema the docs have."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgeconv.cli import cli, main
from edgeconv.store.history import History
from edgeconv.store.sqlite import SQLiteFile
from edgeconv.versioned import Versioned
from support.results import made_counts, made_evaluation, made_model, made_result

ROOT = Path(__file__).parents[2]

# The doctor works where pydantic is what is broken, so its document is no record.
WITHOUT_RECORDS = {"doctor"}
# The documents of each command, by module and name.
DOCUMENTS = {
    "bench": (
        "bench.result.BenchResult",
        "bench.instructions.CountResult",
        "bench.sustained.SustainedResult",
        "bench.together.TogetherResult",
        "bench.end_to_end.EndToEndResult",
        "bench.profile.profile.OperatorResult",
    ),
    "blame": ("export.blame.report.Blame",),
    "cache ls": ("report.documents.CacheDocument",),
    "compare": ("report.documents.ComparisonDocument",),
    "cost": (
        "report.network_documents.CostDocument",
        "report.network_documents.ConvolutionsDocument",
    ),
    "devices probe": ("report.documents.ProbeDocument",),
    "evaluate": ("evaluation.Evaluation",),
    "export": ("bundle.Manifest",),
    "gate": ("report.documents.GateDocument",),
    "history": ("report.documents.HistoryDocument",),
    "inspect": ("export.inspect.report.FileReport", "export.inspect.report.BundleReport"),
    "models": ("report.network_documents.NetworksDocument",),
    "sweep best": ("report.sweep_documents.BestDocument",),
    "sweep run": ("sweep.result.SweepResult", "report.sweep_documents.PlannedDocument"),
    "verify": ("export.verify.bundle.VerificationReport",),
}


def with_json(group: click.Group, above: str = "") -> Iterator[str]:
    """The commands that have --json, whatever it is called inside."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from with_json(command, f"{above}{name} ")
        elif any("--json" in parameter.opts for parameter in command.params):
            yield f"{above}{name}"


def document(name: str) -> type[Versioned]:
    module, _, found = name.rpartition(".")
    made: type[Versioned] = getattr(importlib.import_module(f"edgeconv.{module}"), found)
    return made


def test_every_command_has_its_documents() -> None:
    context = click.Context(cli)
    loaded = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    group = click.Group(commands={name: found for name, found in loaded.items() if found})
    assert set(with_json(group)) - WITHOUT_RECORDS == set(DOCUMENTS)
    for name in (each for names in DOCUMENTS.values() for each in names):
        assert issubclass(document(name), Versioned)
        assert document(name).model_json_schema()["title"] == name.rpartition(".")[2]


def test_the_page_of_the_docs_has_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "site")
    reference = importlib.import_module("reference")
    names = {found.__name__ for found in reference.documents()}
    assert {name.rpartition(".")[2] for each in DOCUMENTS.values() for name in each} <= names
    assert "FailureDocument" in names


def printed(*arguments: object) -> str:
    done = CliRunner().invoke(cli, list(map(str, arguments)), catch_exceptions=False)
    return done.stdout


CALM = [1_000_000, 1_001_000, 999_000]


@pytest.mark.parametrize("kind", ["latencies", "counts", "accuracies"])
def test_comparisons(kind: str, tmp_path: Path) -> None:
    made = {
        "latencies": lambda: made_result(made_model("m.tflite", CALM)),
        "counts": lambda: made_counts({"m.tflite": 1_000_000}),
        "accuracies": lambda: made_evaluation({"m.tflite": [True, False] * 20}),
    }
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    before = made[kind]()
    before.save(a)
    before.model_copy(update={"started": datetime.now(timezone.utc)}).save(b)
    compared = document("report.documents.ComparisonDocument")
    (one,) = compared.parse(printed("compare", a, b, "--json"), "it").model_dump()["comparisons"]
    assert [file["name"] for file in one["files"]] == ["m.tflite"]
    gated = document("report.documents.GateDocument")
    found = gated.parse(printed("gate", a, "--baseline", b, "--json"), "it").model_dump()
    assert found["gates"][0]["files"][0]["outcome"] == found["outcome"]


def test_history(tmp_path: Path) -> None:
    history = History(SQLiteFile(tmp_path / "history.db"))
    history.add(made_result(made_model("m.tflite", CALM)), None)
    history.add(made_counts({"m.tflite": 1_000_000}), None)
    text = printed("history", "--json", "--store", tmp_path / "history.db")
    found = document("report.documents.HistoryDocument").parse(text, "it").model_dump()
    assert [entry["instructions"] for entry in found["entries"]] == [1_000_000, None]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("models", "resnet*"), "report.network_documents.NetworksDocument"),
        (("cost", "resnet8"), "report.network_documents.CostDocument"),
        (("cost", "--conv", "8,8,3"), "report.network_documents.ConvolutionsDocument"),
        (
            ("cost", "--conv", "8,8,3", "--size", "16"),
            "report.network_documents.ConvolutionsDocument",
        ),
        (("devices", "probe", "local"), "report.documents.ProbeDocument"),
    ],
)
def test_what_is_printed(arguments: tuple[str, ...], name: str) -> None:
    text = printed(*arguments, "--json")
    parsed = document(name).parse(text, "it")
    assert json.loads(parsed.model_dump_json()) == json.loads(text)


def test_an_empty_cache(tmp_path: Path) -> None:
    text = printed("cache", "ls", "--json", "--cache", tmp_path)
    assert json.loads(text) == {"schema_version": 1, "results": []}


def test_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["history", "--json", "--store", str(tmp_path / "none" / "x.txt"), "--run", "1"]
    monkeypatch.setattr(sys, "argv", ["edgeconv", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    text = capsys.readouterr().out
    found = document("report.documents.FailureDocument").parse(text, "it").model_dump()
    assert found["exit_code"] == ended.value.code != 0
    assert found["error"]["message"]
