"""What was exported, and how."""

from __future__ import annotations

from edgeconv.bundle import Precision
from edgeconv.export.quantize_options import RangeMethod
from edgeconv.sweep.jobs import ExportJob, Value
from edgeconv.versioned import Record


class Network(Record):
    """What was exported, and how. Of a chain, ``args`` leave out which stage it is."""

    model: str
    args: dict[str, Value]
    input_size: int | str | None
    weights: str | None
    precision: Precision
    effort: int
    range_method: RangeMethod
    target: str | None = None

    @classmethod
    def of(cls, job: ExportJob) -> Network:
        """That of a job."""
        fields = {name: getattr(job, name) for name in cls.model_fields.keys() - {"target"}}
        target = None if job.target is None else job.target.device
        args = {name: value for name, value in job.args.items() if name != job.stage_argument}
        return cls(**{**fields, "args": args, "target": target})
