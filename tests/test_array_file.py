"""Rows of ``.npy`` and ``.npz`` files are what NumPy reads, and memory does not hold the file."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeconv.array_file import open_arrays
from edgeconv.errors import DataError

numbers = hnp.arrays(
    st.sampled_from(["f4", "f8", "f2", "u1", "i8", ">f4", "?"]),
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4),
)


@given(numbers, st.booleans(), st.sampled_from(["npy", "npz", "compressed"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_rows_are_those_of_numpy(
    tmp_path: Path, array: np.ndarray, fortran: bool, kind: str
) -> None:
    array = np.asfortranarray(array) if fortran else array
    path = tmp_path / f"x.{kind[:3]}"
    if kind == "npy":
        np.save(path, array)
    else:
        path = tmp_path / "x.npz"
        (np.savez if kind == "npz" else np.savez_compressed)(path, other=np.arange(3), x=array)
    stored = open_arrays(path)["x"]
    assert (stored.shape, stored.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(stored.whole(), array)
    for index in range(len(array)):
        np.testing.assert_array_equal(stored.row(index), array[index : index + 1])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_large_file_is_not_loaded(tmp_path: Path, save: object) -> None:
    path = tmp_path / "x.npz"
    save(path, x=np.zeros((200, 64, 1024), np.float32))  # type: ignore[operator]
    tracemalloc.start()
    stored = open_arrays(path)["x"]
    for index in range(len(stored)):
        stored.row(index)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000  # of 52 million bytes


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_a_file_that_was_cut(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind}"
    (np.save if kind == "npy" else np.savez)(path, np.ones((8, 100)))
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(DataError, match="not a readable NumPy file"):
        open_arrays(path)


def test_scalars_and_objects_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.float32(3))
    np.save(tmp_path / "b.npy", np.array([{}, 1], dtype=object))
    np.save(tmp_path / "c.npy", np.zeros(3, [("ä", "f4")]))
    for name in "abc":
        with pytest.raises(DataError):
            open_arrays(tmp_path / f"{name}.npy")


@pytest.mark.parametrize("order", ["True", "False"])
def test_a_negative_shape(order: str, tmp_path: Path) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': {order}, 'shape': (-5, 3)}}\n".encode()
    begin = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (tmp_path / "x.npy").write_bytes(begin + bytes(60))
    with pytest.raises(DataError, match=r"its shape is \[-5, 3\]"):
        open_arrays(tmp_path / "x.npy")
