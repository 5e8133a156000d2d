"""Hold files for every batch against the network at other batches than the one it was traced at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Artifact, Precision
from edgeconv.errors import EdgeconvError, VerificationError
from edgeconv.export.data.samples import Sample
from edgeconv.export.dynamic_batch import rows, with_batch, with_open_batch
from edgeconv.export.precision import QuantizedGraph
from edgeconv.export.verify.check_export import verified
from edgeconv.export.verify.expected import Allowances, Outputs, Probes, Quantized, Reference
from edgeconv.export.verify.operators import run_exactly
from edgeconv.export.verify.reference import Oracle

BATCHES = (1, 5)


def verified_at_batches(
    folder: Path,
    artifacts: Sequence[Artifact],
    reference: Reference,
    network_at: Callable[[int], Oracle],
    graphs: Mapping[Precision, QuantizedGraph],
) -> dict[str, EdgeconvError]:
    """Run every file at each of :data:`BATCHES`.

    Args:
        folder: Where the files are.
        artifacts: The files.
        reference: What they are held against at the traced batch.
        network_at: Gives the network itself at a batch.
        graphs: What the files of each quantized precision should compute.

    Returns:
        Why a file that is not right failed, by its path.
    """
    failures: dict[str, EdgeconvError] = {}
    for batch in BATCHES:
        at_batch = _reference(reference, network_at(batch), graphs, batch)
        for path, error in verified(folder, artifacts, at_batch)[1].items():
            failures.setdefault(
                path,
                VerificationError(
                    f"at a batch of {batch}, {error.message}",
                    hint="leave --dynamic-batch out and pass --batch, or report the network",
                ),
            )
    return failures


def _reference(
    reference: Reference,
    network: Oracle,
    graphs: Mapping[Precision, QuantizedGraph],
    batch: int,
) -> Reference:
    """The reference at another batch: the samples of the traced one, some of them repeated."""
    assert reference.network is not None
    infos = with_batch(reference.network.inputs, batch)
    sample: Sample = tuple(map(rows, reference.inputs[0], infos))
    return replace(
        reference,
        inputs=[sample],
        outputs=[network(sample)],
        quantized={
            precision: Quantized(graph.steps, _exact(graph, sample))
            for precision, graph in graphs.items()
        },
        probes=Probes([], []),
        allowances=Allowances(partial(_allowed, reference)),
        joined=(),
    )


def _allowed(reference: Reference) -> npt.NDArray[np.float64] | None:
    """The most that float32 may be off at the traced batch: others round alike."""
    *_, known = reference.allowances
    return None if known is None else np.max(known, axis=0, keepdims=True)


def _exact(graph: QuantizedGraph, sample: Sample) -> list[Outputs] | None:
    opened = replace(graph, model=with_open_batch(graph.model), fixed_scales=False)
    return run_exactly(opened, [sample]).outputs
