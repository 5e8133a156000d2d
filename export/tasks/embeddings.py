"""Embeddings: retrieval recall, and the cosine to the float network's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Manifest
from edgeconv.errors import DataError, Notice, UsageError
from edgeconv.evaluation import Figure
from edgeconv.export.data.classes import open_classes
from edgeconv.export.data.truth import Labeled
from edgeconv.export.tasks.task import Arrays, Rows, Scored, first_output, share

_AT = (1, 5)
_BLOCK = 1024  # queries whose similarities are in memory together


class Embeddings:
    """The first output is a vector for each sample, and samples of one class belong together.

    Each sample that shares its class is a query, and all other samples are searched by the cosine;
    recall at k is the share of queries of which one of the nearest k is of their class. A sample of
    its own class alone is only searched. Equally near samples count in the order of the data.
    """

    name = "embeddings"

    def open(self, data: Any, truth: Path | None, manifest: Manifest) -> Labeled[int]:
        """Open samples with their classes, of which there may be any number."""
        output = first_output(manifest)
        if len(output.shape) != 2 or output.shape[1] < 2 or np.dtype(output.dtype).kind != "f":
            raise UsageError(
                f"embeddings are vectors [batch, numbers], and the first output {output.name!r} is "
                f"{output.dtype} of {list(output.shape)}",
                hint="name another task with --task",
            )
        return open_classes(data, truth, manifest, None)

    def count(self, outputs: Arrays, truths: Sequence[int]) -> Rows:
        """The vectors and their classes."""
        return Rows((outputs[0].astype(np.float32), np.array(truths, np.int64)))

    def merge(self, parts: Sequence[Rows]) -> Rows:
        """All vectors."""
        return Rows.joined(parts)

    def score(self, counts: Rows, reference: Rows | None) -> Scored:
        """Recall at 1 and 5, and the mean cosine to the vectors of the float32 file."""
        vectors, classes = _unit(counts.arrays[0]), counts.arrays[1]
        places = _places(vectors, classes)
        if not len(places):
            raise DataError("no two samples are of one class", hint="pass several of each")
        figures = [share(f"recall@{k}", float((places < k).mean()), len(places)) for k in _AT]
        if reference is not None:
            expected = _unit(reference.arrays[0])
            cosines = np.sum(vectors * expected, 1)
            cosines[~vectors.any(1) & ~expected.any(1)] = 1.0  # two vectors of zeros are the same
            mean = math.fsum(cosines) / len(cosines)
            figures.append(
                Figure(
                    name="cosine to float32",
                    value=mean,
                    unit="",
                    better="higher",
                    samples=len(cosines),
                )
            )
        queries_are_all = len(places) == len(vectors)
        return Scored(tuple(figures), outcomes=places < 1 if queries_are_all else None)

    def doubts(self, counts: Rows) -> list[Notice]:
        """Vectors of zeros, which have no direction."""
        vectors = counts.arrays[0]
        zeros = int((~vectors.any(1)).sum())
        if not zeros:
            return []
        return [
            Notice(
                f"{zeros} of {len(vectors)} vectors are zero, and as near to every other one: the "
                "order of the data decides what is nearest",
                "check that the trained weights were loaded, and that the first output is the "
                "embedding",
            )
        ]


def _unit(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The vectors with length 1, in float64; a vector of zeros stays as it is."""
    wide = vectors.astype(np.float64)
    lengths = np.sqrt(np.sum(np.square(wide), 1, keepdims=True))
    return wide / np.where(lengths > 0, lengths, 1.0)


def _places(vectors: npt.NDArray[np.float64], classes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """For each query, how many samples are nearer than the first one of its class."""
    places = []
    order = np.arange(len(vectors))
    for start in range(0, len(vectors), _BLOCK):
        similar = vectors[start : start + _BLOCK] @ vectors.T
        for query, row in enumerate(similar, start):
            same = (classes == classes[query]) & (order != query)
            if not same.any():
                continue
            best = row[same].max()
            first = order[same & (row == best)].min()
            nearer = (row > best) | ((row == best) & (order < first))
            nearer[query] = False
            places.append(int(nearer.sum()))
    return np.array(places, np.int64)
