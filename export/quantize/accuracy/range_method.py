"""Choose the range method by measurement, for this network and these samples.

No method is best everywhere. On clean data min-max clips nothing and is often the best, but a
single outlier in a few samples ruins it (benchmarks/results/calibration_ranges.md).
"""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from edgeconv.export.data.samples import Batches
from edgeconv.export.quantize.accuracy.score import SqnrScorer
from edgeconv.export.quantize.calibrated import draft
from edgeconv.export.quantize.calibration.clip_inputs import clip_inputs
from edgeconv.export.quantize_options import QuantizeOptions, RangeMethod
from edgeconv.progress import Progress

# Entropy was best on none of the networks that it was measured on, or by less than chance.
_CANDIDATES = (RangeMethod.MINMAX, RangeMethod.PERCENTILE, RangeMethod.MSE)


def choose_range_method(
    model: ir.Model,
    batches: Batches,
    judge: SqnrScorer,
    options: QuantizeOptions,
    progress: Progress,
) -> QuantizeOptions:
    """Replace AUTO in ``options`` by the method with the best SQNR.

    Each candidate is calibrated on all ``batches``, without the passes that improve accuracy.
    """
    if options.range_method is not RangeMethod.AUTO:
        return options
    candidates = [replace(options, range_method=method) for method in _CANDIDATES]
    scores = []
    for candidate in candidates:
        clipped = clip_inputs(model, batches, candidate, progress)
        scores.append(judge.balanced_db(draft(model, clipped, candidate, progress).to_qdq()[0]))
    return candidates[scores.index(max(scores))]
