"""Which labeled samples are taken: all of an object's, and of folders some of every class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset

from edgeconv.errors import DataError
from edgeconv.export.data.classes import open_classes
from support.manifests import made_manifest

X = np.arange(24, dtype=np.float32).reshape(12, 2)
Y = np.arange(12) % 3
PAIRS = [(x, int(y)) for x, y in zip(X, Y, strict=True)]
BATCHES = [(X[i : i + 5], Y[i : i + 5]) for i in (0, 5, 10)]


class Batches:
    """Yields batches, and states no length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(BATCHES)


class Stream(IterableDataset[Any]):
    """States no length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(PAIRS)


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        PAIRS,
        BATCHES,
        Batches(),
        DataLoader(PAIRS, batch_size=5),  # type: ignore[arg-type]  # a list is a dataset
        DataLoader(BATCHES, batch_size=None),  # type: ignore[arg-type]
        DataLoader(Stream(), batch_size=5),
        DataLoader(Stream(), batch_size=None),
    ],
    ids=["arrays", "pairs", "batches", "iterable", "loader", "loader-of-batches", "stream", "one"],
)
def test_every_sample_of_an_object_counts(data: Any) -> None:
    """Of a list of batches as many samples were read as it has batches."""
    labeled = open_classes(data, None, made_manifest((1, 2), (1, 3)), 3)
    assert labeled.total == 12
    assert [label for _, label in labeled.pairs] == Y.tolist()
    assert [sample[0][0, 0] for sample, _ in labeled.spread(4)] == [0, 6, 12, 18]


def folders(path: Path, names: tuple[str, ...], each: int = 4) -> Path:
    for name in names:
        (path / name).mkdir(parents=True)
        for index in range(each):
            Image.new("RGB", (8, 8)).save(path / name / f"{index}.png")
    return path


def test_some_samples_of_every_class(tmp_path: Path) -> None:
    """The first ones would be of the first class alone."""
    data = folders(tmp_path / "data", ("a", "b", "c"))
    labeled = open_classes(data, None, made_manifest((1, 3, 8, 8), (1, 3)), 3)
    assert [label for _, label in labeled.spread(3)] == [0, 1, 2]
    assert len(list(labeled.spread(100))) == 12


def test_folders_whose_accents_were_taken_apart_are_labels(tmp_path: Path) -> None:
    """As some file systems do; they were taken in sorted order."""
    data = folders(tmp_path / "data", ("e\u0301t\u00e9", "a"), 1)
    manifest = made_manifest((1, 3, 8, 8), (1, 2), labels=("\u00e9t\u00e9", "a"))
    assert [label for _, label in open_classes(data, None, manifest, 2).pairs] == [1, 0]


def test_a_folder_that_is_no_label_beside_others_that_are(tmp_path: Path) -> None:
    """All were taken in sorted order, because of one capital letter."""
    data = folders(tmp_path / "data", ("cat", "Dog", "bird"), 1)
    manifest = made_manifest((1, 3, 8, 8), (1, 3), labels=("dog", "cat", "bird"))
    with pytest.raises(
        DataError, match=r"Dog is named after no label .*\nhint: did you mean 'dog'"
    ):
        open_classes(data, None, manifest, 3)
    (data / "Dog").rename(data / "dog")
    labeled = open_classes(data, None, manifest, 3)
    assert [label for _, label in labeled.pairs] == [2, 1, 0]
    shouted = manifest.model_copy(update={"labels": ("DOG", "CAT", "BIRD")})
    with pytest.raises(DataError, match=r"bird is a label of the bundle in another spelling"):
        open_classes(data, None, shouted, 3)
    unnamed = manifest.model_copy(update={"labels": ("n01", "n02", "n03")})
    assert [label for _, label in open_classes(data, None, unnamed, 3).pairs] == [0, 1, 2]
