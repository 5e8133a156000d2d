"""The keys of jobs: they follow the content, and nothing else."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

import pytest

from edgeconv.bench.result import BenchOptions
from edgeconv.bundle import Target
from edgeconv.sweep import contents, jobs
from edgeconv.sweep.candidates import candidates
from edgeconv.sweep.jobs import JOB, ExportJob, MeasureJob, ScoreJob
from edgeconv.sweep.plan import Exports, Models, Plan
from edgeconv.sweep.software import software_of


def export_of(folder: Path, **changes: object) -> ExportJob:
    folder.mkdir(exist_ok=True)
    (folder / "net.onnx").write_bytes(b"a network")
    (folder / "data.npz").write_bytes(b"some data")
    plan = Plan(
        model=(Models(name=(f"{folder}/net.onnx",)),),
        export=Exports(precisions=("int8",), calibration=f"{folder}/data.npz"),
    )
    (job,) = candidates(plan)
    return job.model_copy(update=changes)


def test_where_files_lie_does_not_matter(tmp_path: Path) -> None:
    assert export_of(tmp_path / "a").key() == export_of(tmp_path / "b").key()


@pytest.mark.parametrize("name", ["net.onnx", "data.npz"])
def test_what_files_hold_matters(tmp_path: Path, name: str) -> None:
    before = export_of(tmp_path)
    (tmp_path / name).write_bytes(b"something else")
    plan = Plan(
        model=(Models(name=(f"{tmp_path}/net.onnx",)),),
        export=Exports(precisions=("int8",), calibration=f"{tmp_path}/data.npz"),
    )
    (after,) = candidates(plan)
    assert after.key() != before.key()


def test_every_option_matters(tmp_path: Path) -> None:
    job = export_of(tmp_path)
    changes = {
        "args": {"a": 1},
        "input_size": 3,
        "pretrained": True,
        "formats": ("onnx",),
        "target": Target(device="d", architecture="a", bits=64, python="3.11", runtimes={}),
        "precision": "int16x8",
        "effort": 2,
        "range_method": "mse",
        "calibration_size": 7,
        "contents": ("x",),
        "stage_argument": "a",
    }
    assert set(changes) | ExportJob.PLACES | {"kind"} == set(ExportJob.model_fields)
    others = {JOB.validate_python({**dict(job), name: new}).key() for name, new in changes.items()}
    assert len(others | {job.key()}) == len(changes) + 1


def test_versions_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = export_of(tmp_path).key()
    monkeypatch.setattr(jobs, "tools", lambda: "another edgeconv")
    assert export_of(tmp_path).key() != before


def test_the_versions_count_every_source_and_package(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {folder.name for folder in contents._own_folders()}
    assert folders == {"edgeconv", "export", "models"}
    assert not any(contents._version(name) == "none" for name in contents._TOOLS)


def test_a_measurement_is_of_the_files_and_not_of_the_export() -> None:
    job = MeasureJob(bundle="a", files=("f",), device="pi", software="s", options=BenchOptions())
    same = job.model_copy(update={"bundle": "b"})
    assert same.key() == job.key()
    assert job.model_copy(update={"files": ("g",)}).key() != job.key()
    assert job.model_copy(update={"device": "other"}).key() != job.key()
    assert job.model_copy(update={"software": "other"}).key() != job.key()


def test_the_software_of_a_device_names_the_runtimes_with_their_versions() -> None:
    found = software_of("local").split(", ")
    assert found[0] == f"Python {platform.python_version()}"
    for package in ("numpy", "ai-edge-litert", "onnxruntime"):
        assert f"{package} {importlib.metadata.version(package)}" in found


def test_the_shards_of_a_score_differ() -> None:
    job = ScoreJob(
        bundle="a", files=("f",), data=Path("d"), truth=None, task="t", contents=("c",), shards=5
    )
    assert len({part.key() for part in job.parts()}) == 5
    moved = job.model_copy(update={"data": Path("elsewhere")})
    assert [part.key() for part in moved.parts()] == [part.key() for part in job.parts()]


def test_an_index_of_shards_counts_their_contents(tmp_path: Path) -> None:
    index = tmp_path / "model.bin.index.json"
    index.write_text('{"weight_map": {"w": "one.bin"}}')
    (tmp_path / "one.bin").write_text("one")
    before = contents.content_of_weights(index)
    (tmp_path / "one.bin").write_text("other")
    assert contents.content_of_weights(index) != before


def test_a_folder_counts_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "1").write_text("one")
    before = contents.content_of(tmp_path)
    (tmp_path / "x" / "1").rename(tmp_path / "x" / "2")
    renamed = contents.content_of(tmp_path)
    (tmp_path / "x" / "2").write_text("two")
    assert len({before, renamed, contents.content_of(tmp_path)}) == 3
