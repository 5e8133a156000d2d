"""Calibrations in shards: the files are to the byte those of one pass over the data."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from edgeconv.export.quantize.accuracy import first_pass
from edgeconv.export.quantize.calibration.survey import Survey, survey
from edgeconv.models.randomize import randomize_, structured_input
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.candidates import candidates
from edgeconv.sweep.estimate import estimate
from edgeconv.sweep.plan import Plan, read_plan
from edgeconv.sweep.run import sweep
from edgeconv.sweep.work import is_done, run_job
from support.archives import write_webdataset

# The networks and sweeps of the module are made once.
pytestmark = pytest.mark.slow

SIDE = 16
SOURCE = """
from torch import nn

def separable():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )
"""
PLAN = """
[[model]]
name = "nets.py:separable"
input_size = {side}
weights = "separable.safetensors"

[export]
precisions = {precisions}
efforts = {efforts}
calibration = "{calibration}"
calibration_size = 21
calibration_shards = {shards}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, and 30 pictures in folders of classes and as a WebDataset."""
    made = tmp_path_factory.mktemp("calibration")
    write_network(made)
    for index in range(30):
        pixels = structured_input((1, 3, 20, 24), seed=index).numpy()[0].transpose(1, 2, 0)
        place = made / "photos" / f"class{index % 4}"
        place.mkdir(parents=True, exist_ok=True)
        scaled = np.clip(128 + 60 * pixels, 0, 255).astype(np.uint8)
        Image.fromarray(scaled).save(place / f"{index}.png")
    write_webdataset(made / "photos", made / "shards", 3)
    return made


def write_network(folder: Path) -> None:
    (folder / "nets.py").write_text(SOURCE)
    named: dict[str, object] = {}
    exec(SOURCE, named)
    network: nn.Module = named["separable"]()  # type: ignore[operator]
    save_file(
        randomize_(network, shape=(3, SIDE, SIDE)).state_dict(), folder / "separable.safetensors"
    )


def plan_in(
    folder: Path,
    shards: int,
    *,
    efforts: str = "[0, 1]",
    precisions: str = '["int8"]',
    calibration: str = "photos",
) -> Plan:
    path = folder / "plan.toml"
    text = PLAN.format(
        side=SIDE, shards=shards, efforts=efforts, precisions=precisions, calibration=calibration
    )
    path.write_text(text)
    return read_plan(path)


def files_of(plan: Plan, cache: Cache, workers: int) -> Iterator[tuple[str, bytes]]:
    """Every file of every bundle of a sweep."""
    result = sweep(plan, cache, workers=workers)
    assert result.rows
    for row in result.rows:
        assert row.failures == ()
        assert row.bundle is not None
        for file in sorted(row.bundle.iterdir()):
            yield f"{row.network.effort} {row.network.precision} {file.name}", file.read_bytes()


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, bytes]:
    """The files without shards."""
    plan = plan_in(folder, 1)
    return dict(files_of(plan, Cache(folder / "alone"), 0))


def test_in_threads(folder: Path, alone: dict[str, bytes]) -> None:
    cache = Cache(folder / "threads")
    plan = plan_in(folder, 3)
    found = dict(files_of(plan, cache, 0))
    assert found.keys() == alone.keys()
    assert sum(name.endswith(".tflite") for name in found) == 2
    assert [name for name in found if found[name] != alone[name]] == []
    parts = [part for job in candidates(plan) for part in job.parts()]
    assert len(parts) == 6
    assert all(is_done(part, cache) for part in parts), "the parts were made, and are sound"


@pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="Dask is not installed (extra sweep)"
)
def test_on_dask(folder: Path, alone: dict[str, bytes]) -> None:
    found = dict(files_of(plan_in(folder, 5, efforts="[1]"), Cache(folder / "dask"), 2))
    assert [name for name in found if found[name] != alone[name]] == []


def test_on_a_webdataset(folder: Path) -> None:
    one, three = (
        dict(
            files_of(
                plan_in(folder, shards, efforts="[1]", calibration="shards/shard-{000..002}.tar"),
                Cache(folder / f"web{shards}"),
                0,
            )
        )
        for shards in (1, 3)
    )
    assert one == three


def test_the_number_of_shards_is_no_part_of_the_key(folder: Path) -> None:
    keys = [{job.key() for job in candidates(plan_in(folder, shards))} for shards in (1, 3)]
    assert keys[0] == keys[1]


def test_done_parts_are_not_done_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[range | None] = []

    def noted(*arguments: Any, part: range | None, **options: Any) -> Survey:
        passes.append(part)
        return survey(*arguments, part=part, **options)

    monkeypatch.setattr(first_pass, "survey", noted)
    plan = plan_in(folder, 4, efforts="[0]", precisions='["int16x8"]')
    cache = Cache(tmp_path / "cache")
    (job,) = candidates(plan)
    parts = job.parts()
    assert run_job(parts[2], cache) is None
    before = cache.find("calibrate", parts[2].key())
    assert before is not None
    planned = {kind.name: (kind.jobs, kind.done) for kind in estimate(plan, [job], cache)}
    assert planned == {"calibrate": (4, 1), "export": (1, 0)}
    changed = (before / "surveyed.npz").stat().st_mtime_ns
    shown: list[tuple[int, int]] = []
    sweep(plan, cache, lambda _, *done: shown.append(done), workers=0)
    assert shown == [(done, 5) for done in range(1, 6)]
    ends = sorted(part.stop for part in passes if part is not None)
    assert ends == [5, 10, 15, 21], "each part once, and no pass over all of the data"
    assert len(passes) == 4
    assert (before / "surveyed.npz").stat().st_mtime_ns == changed
    planned = {kind.name: (kind.jobs, kind.done) for kind in estimate(plan, [job], cache)}
    assert planned == {"export": (1, 1)}


def test_a_part_that_fails_says_why(folder: Path, tmp_path: Path) -> None:
    write_network(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"no picture")
    (row,) = sweep(plan_in(tmp_path, 2, efforts="[0]"), Cache(tmp_path / "cache"), workers=0).rows
    assert row.file is None
    assert "photos holds no usable sample" in row.failures[0]
