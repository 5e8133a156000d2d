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


class _OfNetwork(_Job):
    """A network and how it is exported. ``contents`` are hashes of model, weights, calibration.

    Of a stage, ``stage_argument`` is the argument that says which one it is, and ``chain`` is the
    same for all stages of a chain and for no other job.
    """

    PLACES = frozenset({"model", "weights", "calibration", "chain"})

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
    stage_argument: str | None = None
    chain: str | None = None

    @property
    def stage(self) -> int:
        """Which stage of a chain it is; 0 of a whole network."""
        return 0 if self.stage_argument is None else int(self.args[self.stage_argument])

    def stages_before(self) -> list[ExportJob]:
        """The exports of the stages before it as float ONNX files, which give what it reads."""
        assert self.stage_argument is not None
        fields = {name: getattr(self, name) for name in _OfNetwork.model_fields}
        plain = ExportJob(
            **{
                **fields,
                "formats": (Format.ONNX,),
                "target": None,
                "precision": Precision.FLOAT32,
                "effort": 1,
                "range_method": RangeMethod.AUTO,
                "calibration": None,
                "contents": (*self.contents[:-1], None),
                "chain": None,
            }
        )
        return [
            plain.model_copy(update={"args": {**self.args, self.stage_argument: stage}})
            for stage in range(self.stage)
        ]


class CalibrateJob(_OfNetwork):
    """What a network computes on part ``index`` of ``shards`` of the calibration data."""

    kind: Literal["calibrate"] = "calibrate"
    index: int
    shards: int


class ExportJob(_OfNetwork):
    """A network becomes a bundle of one precision, the same one for any number of shards."""

    PLACES = _OfNetwork.PLACES | {"calibration_shards"}

    kind: Literal["export"] = "export"
    calibration_shards: int = 1

    def parts(self) -> list[CalibrateJob]:
        """The parts of its calibration, in their order; none where it is not divided."""
        if self.calibration_shards == 1:
            return []
        fields = {name: getattr(self, name) for name in _OfNetwork.model_fields}
        shards = self.calibration_shards
        return [CalibrateJob(**fields, index=index, shards=shards) for index in range(shards)]


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


class ExitJob(_Job):
    """What every exit of a chain says of part ``index`` of ``shards`` of the data.

    ``bundles`` are the keys of the stages' exports, ``files`` the hashes of what they wrote, and
    ``contents`` those of the data.
    """

    PLACES = frozenset({"bundles", "data", "truth"})

    kind: Literal["exit"] = "exit"
    bundles: tuple[str, ...]
    files: tuple[str, ...]
    data: Path
    truth: Path | None
    contents: tuple[str | None, ...]
    shards: int
    index: int


Job = CalibrateJob | ExportJob | MeasureJob | CountJob | ShardJob | ScoreJob | ExitJob
JOB: TypeAdapter[Job] = TypeAdapter(Annotated[Job, Field(discriminator="kind")])
