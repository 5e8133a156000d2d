"""What a part of the calibration data showed, as a file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError
from edgeconv.export.quantize.accuracy.first_pass import Surveyed
from edgeconv.export.quantize.calibration.channel_statistics import ChannelSums
from edgeconv.export.quantize.calibration.observer import Observed
from edgeconv.export.quantize.calibration.ranges.histogram import Histogram
from edgeconv.export.quantize.calibration.survey import Half, Kept, Survey

_ABOUT = "about"  # the JSON as bytes, beside the arrays
Arrays = dict[str, npt.NDArray[Any]]


def save_surveyed(path: Path, surveyed: Surveyed) -> None:
    """Write an ``.npz`` file without pickles."""
    arrays: Arrays = {}
    halves = [_packed(half, str(i), arrays) for i, half in enumerate(surveyed.survey.halves)]
    about = json.dumps({"of": surveyed.of, "halves": halves}).encode()
    arrays[_ABOUT] = np.frombuffer(about, np.uint8)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # NumPy's own stubs


def load_surveyed(path: Path) -> Surveyed:
    """Read what :func:`save_surveyed` wrote.

    Raises:
        DataError: The file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(stored[_ABOUT].tobytes())
            first, second = (
                _unpacked(half, str(i), stored) for i, half in enumerate(about["halves"])
            )
        return Surveyed(str(about["of"]), Survey((first, second)))
    except (KeyError, ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged", hint="calibrate again") from error


def merged(parts: Sequence[Surveyed]) -> Surveyed:
    """What all parts showed together.

    Raises:
        DataError: They are of different networks.
    """
    if len({part.of for part in parts}) != 1:
        raise DataError(
            "the parts of the calibration are of different networks",
            hint="let the network be the same each time it is made",
        )
    whole = parts[0].survey
    for part in parts[1:]:
        whole = whole + part.survey
    return Surveyed(parts[0].of, whole)


def _packed(half: Half, prefix: str, arrays: Arrays) -> dict[str, Any]:
    """Add the arrays of a half; what is no array is returned."""
    histograms, sums = half.observed.histograms, half.observed.sums
    arrays[f"{prefix}.extremes"] = np.array(
        [[each.minimum, each.maximum] for each in histograms.values()]
    ).reshape(-1, 2)
    arrays[f"{prefix}.counts"] = np.array([each.counts for each in histograms.values()])
    for i, each in enumerate(sums.values()):
        arrays[f"{prefix}.bounds.{i}"] = np.stack([each.low, each.high])
        arrays[f"{prefix}.squares.{i}"] = each.squares
    for i, kept in enumerate(half.kept):
        for kind, group in (("inputs", kept.inputs), ("outputs", kept.outputs)):
            arrays |= {f"{prefix}.{kind}.{i}.{j}": array for j, array in enumerate(group)}
    return {
        "batches": half.batches,
        "activations": list(histograms),
        "weights": [each.weight for each in histograms.values()],
        "channels": list(sums),
        "counts": [each.count for each in sums.values()],
        "kept": [[len(each.inputs), len(each.outputs)] for each in half.kept],
    }


def _unpacked(about: dict[str, Any], prefix: str, stored: Mapping[str, Any]) -> Half:
    def array(name: str) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = stored[f"{prefix}.{name}"]
        return found

    extremes, counted = array("extremes").tolist(), array("counts")
    histograms = {
        name: Histogram(low, high, weight, counts)
        for name, (low, high), weight, counts in zip(
            about["activations"], extremes, about["weights"], counted, strict=True
        )
    }
    sums = {}
    for i, name in enumerate(about["channels"]):
        low, high = array(f"bounds.{i}")
        sums[name] = ChannelSums(low, high, array(f"squares.{i}"), about["counts"][i])
    kept = tuple(
        Kept(
            [array(f"inputs.{i}.{j}") for j in range(inputs)],
            [array(f"outputs.{i}.{j}") for j in range(outputs)],
        )
        for i, (inputs, outputs) in enumerate(about["kept"])
    )
    return Half(about["batches"], Observed(histograms, sums), kept)
