"""The jobs of a sweep: pure functions of what their keys hash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, TypeAdapter

from edgeconv.bench.result import BenchOptions
from edgeconv.bundle import Format, Precision, Target
from edgeconv.export.quantize_options import RangeMethod
from edgeconv.sweep.contents import digest, tools
from edgeconv.versioned import Record

Value = str | int | float | bool


class _Job(Record):
    """A job. Its key hashes all fields but those of ``PLACES``, which say where content lies."""

    PLACES: ClassVar[frozenset[str]] = frozenset()

    def key(self) -> str:
        """The name of its result in the cache."""
        fields = self.model_dump(mode="json", exclude=set(self.PLACES))
        return digest(tools(), json.dumps(fields, sort_keys=True))


class ExportJob(_Job):
    """A network becomes a bundle of one precision. ``contents`` are hashes of what PLACES name."""

    PLACES = frozenset({"model", "weights", "calibration"})

    kind: Literal["export"] = "export"
    model: str
    args: dict[str, Value]
    input_size: int | str | None
    weights: str | None
    pretrained: bool
    formats: tuple[Format, ...] | None
    target: Target | None
    precision: Precision
    effort: int
    range_method: RangeMethod
    calibration: str | None
    calibration_size: int
    contents: tuple[str | None, ...]


class _OfBundle(_Job):
    """``bundle`` is the key of the export, ``files`` are the hashes of what it wrote."""

    PLACES = frozenset({"bundle"})

    bundle: str
    files: tuple[str, ...]


class MeasureJob(_OfBundle):
    """Latencies of all files of a bundle on a device.

    ``software`` is what runs there: a board whose runtime was updated measures again.
    """

    kind: Literal["measure"] = "measure"
    device: str
    software: str
    options: BenchOptions


class CountJob(_OfBundle):
    """Instructions of all files of a bundle on an emulated board."""

    kind: Literal["count"] = "count"
    device: str


class _OnData(_OfBundle):
    """``contents`` are hashes of the data and of what else a task reads; it has so many shards."""

    PLACES = frozenset({"bundle", "data", "truth"})

    data: Path
    truth: Path | None
    task: str
    contents: tuple[str | None, ...]
    shards: int


class ShardJob(_OnData):
    """What a task counts on part ``index`` of ``shards`` of the data."""

    kind: Literal["shard"] = "shard"
    index: int


class ScoreJob(_OnData):
    """The figures of all shards together."""

    kind: Literal["score"] = "score"

    def parts(self) -> list[ShardJob]:
        """The shards, in their order."""
        fields = {**dict(self), "kind": "shard"}
        return [ShardJob(**{**fields, "index": index}) for index in range(self.shards)]


Job = ExportJob | MeasureJob | CountJob | ShardJob | ScoreJob
JOB: TypeAdapter[Job] = TypeAdapter(Annotated[Job, Field(discriminator="kind")])
