"""Refuses samples that no network could use, before one is built and traced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeconv.errors import MismatchedData, NoSamples, UsageError
from edgeconv.near_names import near_paths
from edgeconv.tar_file import is_tar

SYNTHETIC = "random"
"""What stands for synthetic samples in the place of a path."""
_WITHOUT_DATA = f"for synthetic inputs, say '{SYNTHETIC}'"


def refuse_unusable(calibration: Any, labeled: Any, truth: Any) -> None:
    """Refuse data that is missing or empty, or has other labels than samples.

    What only the network says is not looked at, and neither is what takes long: the content of
    archives, and what a function or an iterator yields.

    Args:
        calibration: The samples to calibrate on, or None.
        labeled: The samples that decide about a budget, or None.
        truth: The path of what is true of them, or None.

    Raises:
        UsageError: Nothing is at a path.
        DataError: What is there holds no samples or is damaged, or has other labels than samples.
    """
    if calibration is not None:
        refuse_missing(calibration)
        _refuse_empty(calibration)
    if labeled is not None:
        refuse_missing(labeled, "pass labeled samples")
        _refuse_empty(labeled)
        _refuse_other_labels(labeled)
    if truth is not None:
        refuse_missing(truth, "pass what is true of the labeled samples")
        if Path(truth).is_dir() and not any(Path(truth).iterdir()):
            raise NoSamples(
                f"{truth} is an empty folder", hint="pass what is true of the labeled samples"
            )


def _refuse_empty(data: Any) -> None:
    if not isinstance(data, (str, Path)):
        if hasattr(data, "__getitem__") and _rows(data) == 0:
            raise NoSamples(f"the {type(data).__name__} is empty", hint="pass one with samples")
        return
    path = Path(data)
    if path.is_dir():
        from edgeconv.export.data.images import demand_images  # it imports Pillow

        demand_images(path)
    elif (counts := _stored_rows(path)) is not None and not any(counts.values()):
        raise NoSamples(f"{path} holds no samples", hint="store at least one sample")


def _refuse_other_labels(data: Any) -> None:
    """Refuse ``y`` of an ``.npz`` file, or the last of a tuple, if all beside it has other rows."""
    samples: set[int | None]
    if isinstance(data, (str, Path)):
        counts = _stored_rows(Path(data)) or {}
        name, labels = str(data), counts.pop("y", None)
        samples, hint = set(counts.values()), "store a row of y for each row of x"
    elif isinstance(data, tuple) and data:
        *arrays, last = map(_rows, data)
        # The label of a single sample, which may lack the dimension that counts samples.
        name, labels = "the tuple", None if last == 1 else last
        samples, hint = set(arrays), "give a label for each sample"
    else:
        return
    if labels is not None and len(samples) == 1 and samples.isdisjoint({labels, None}):
        raise MismatchedData(f"{name} has {samples.pop()} samples and {labels} labels", hint=hint)


def _stored_rows(path: Path) -> dict[str, int] | None:
    """The rows of each array of a file; None if it is no file of arrays."""
    if path.suffix not in (".npy", ".npz") or not path.is_file():
        return None
    from edgeconv.array_file import row_counts  # it imports NumPy

    return row_counts(path)


def _rows(array: Any) -> int | None:
    """How many rows an array, a list or a dataset has; None of what has no length."""
    try:
        return len(array)
    except TypeError:
        return None


def refuse_missing(data: Any, wanted: str = _WITHOUT_DATA) -> None:
    """Refuse a path where nothing is; what is no path, or names several files, is left alone.

    Args:
        data: A path, or what else stands for samples.
        wanted: What to pass, for the hint.

    Raises:
        UsageError: Nothing is there.
    """
    if not isinstance(data, (str, Path)) or str(data) in ("", SYNTHETIC) or ".py:" in str(data):
        return
    path = Path(data)
    if not path.exists() and not is_tar(path):
        raise UsageError(f"{path}: no such file or folder", hint=near_paths(path, wanted))
