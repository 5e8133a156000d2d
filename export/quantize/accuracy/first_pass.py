"""The first pass over the calibration data, which may be divided into parts that run anywhere."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import onnx_ir as ir

from edgeconv.export.data.samples import Batches
from edgeconv.export.quantize.accuracy.segments import find_segments
from edgeconv.export.quantize.calibration.survey import Survey, survey
from edgeconv.export.quantize.needs import Watch
from edgeconv.export.quantize.plan import plan
from edgeconv.export.quantize_options import QuantizeOptions, RangeMethod
from edgeconv.progress import Progress, no_progress

# Each half keeps so many samples to judge on, and so many where layers learn from them, too.
_JUDGED_ON, _LEARNED_FROM = 16, 64


@dataclass(frozen=True)
class Surveyed:
    """What a pass found, and what it was a pass of.

    Attributes:
        of: The digest of the pass.
        survey: What it found.
    """

    of: str
    survey: Survey


@dataclass(frozen=True)
class FirstPass:
    """What is observed of a network, from which all its versions are made.

    Attributes:
        watch: The graph to run.
        names: The activations to observe.
        by_channel: Those among them whose channels are observed one by one.
        counting: Whether values are counted; otherwise only extremes are found.
        keeping: How many samples each half keeps to be judged on.
    """

    watch: Watch
    names: list[str]
    by_channel: set[str]
    counting: bool
    keeping: int

    @classmethod
    def of(cls, model: ir.Model, options: QuantizeOptions, *, judging: bool) -> FirstPass:
        """The pass that a float graph needs by the options, which are decided."""
        watch = Watch(model, options)
        by_channel: set[str] = set()
        if options.equalization or options.bias_absorption:
            quantized = {str(value.name) for value in plan(model.graph, options).activations}
            for segment in find_segments(model.graph):
                by_channel |= segment.carriers & quantized
        watched = [name for members in watch.groups.values() for name in members]
        return cls(
            watch,
            list(dict.fromkeys([*watched, *sorted(by_channel)])),
            by_channel,
            counting=options.range_method is not RangeMethod.MINMAX,
            keeping=(_LEARNED_FROM if options.learns else _JUDGED_ON) if judging else 0,
        )

    def survey(
        self, batches: Batches, progress: Progress = no_progress, part: range | None = None
    ) -> Survey:
        """Run it over the batches, or over those of a part.

        Raises:
            DataError: An activation is NaN or infinite.
        """
        return survey(
            self.watch.model,
            self.names,
            batches,
            counting=self.counting,
            by_channel=self.by_channel,
            keeping=self.keeping,
            progress=progress,
            part=part,
        )

    def surveyed(self, batches: Batches, progress: Progress, index: int, parts: int) -> Surveyed:
        """Run it over one of so many consecutive parts of the batches."""
        first, end = (len(batches) * place // parts for place in (index, index + 1))
        return Surveyed(self.digest(), self.survey(batches, progress, range(first, end)))

    def digest(self) -> str:
        """A hash of the graph and of what is observed of it."""
        what = [self.names, sorted(self.by_channel), self.counting, self.keeping]
        hashed = hashlib.sha256(json.dumps(what).encode())
        hashed.update(ir.to_proto(self.watch.model).SerializeToString(deterministic=True))
        return hashed.hexdigest()
