"""``file.py:function`` as calibration data: what it may yield, and what goes wrong in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeconv.bundle import TensorInfo
from edgeconv.errors import CaptureError, DataError, UsageError
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.data.open import open_samples
from edgeconv.export.data.samples import choose
from edgeconv.preprocessing import Preprocessing

ONE = [TensorInfo(name="image", shape=(1, 3, 4, 4), dtype="float32")]
TWO = [
    TensorInfo(name="a", shape=(1, 4), dtype="float32"),
    TensorInfo(name="b", shape=(1, 2), dtype="int64"),
]
HALF = Preprocessing(resize=None, mean=(0.5,) * 3, std=(0.25,) * 3)


def write(folder: Path, body: str) -> str:
    path = folder / "data.py"
    path.write_text(f"import numpy as np\nimport torch\n\n\n{body}\n")
    return f"{path}:samples"


@pytest.mark.parametrize(
    "element",
    [
        "np.full((3, 4, 4), i, np.float32)",
        "np.full((1, 3, 4, 4), i, np.float64)",
        "torch.full((3, 4, 4), float(i))",
        "(np.full((3, 4, 4), i, np.int16),)",
    ],
)
def test_arrays_with_or_without_a_batch_dimension(tmp_path: Path, element: str) -> None:
    spec = write(
        tmp_path,
        f"def samples():\n    i = 0\n    while True:\n        yield {element}\n        i += 1",
    )
    taken = list(choose(open_samples(spec, ONE, None), 5))
    assert [name for name, _ in taken] == ["0", "1", "2", "3", "4"]
    for index, (_, (array,)) in enumerate(taken):
        assert array.shape == (1, 3, 4, 4)
        assert array.dtype == np.float32
        assert (array == index).all()


def test_a_tuple_for_several_inputs(tmp_path: Path) -> None:
    spec = write(tmp_path, "def samples():\n    return [(np.ones(4), np.arange(2))] * 3")
    (_, sample), *_ = choose(open_samples(spec, TWO, None), 9)
    assert [array.dtype.name for array in sample] == ["float32", "int64"]
    assert [array.shape for array in sample] == [(1, 4), (1, 2)]


@pytest.mark.parametrize(
    "body",
    [
        "for i in (0, 3):\n        x = torch.arange(i, i + 3.0)[:, None, None, None]\n"
        "        yield x.expand(-1, 3, 4, 4)",
        "x = torch.arange(6.0)[:, None, None, None].expand(-1, 3, 4, 4)\n"
        "    data = torch.utils.data.TensorDataset(x, torch.zeros(6))\n"
        "    return torch.utils.data.DataLoader(data, batch_size=4)",
        "yield from ((np.full((3, 4, 4), i, np.float32), 7) for i in range(6))",
    ],
    ids=["batches", "DataLoader with labels", "samples with labels"],
)
def test_batches_and_labels_as_from_python(tmp_path: Path, body: str) -> None:
    taken = list(choose(open_samples(write(tmp_path, f"def samples():\n    {body}"), ONE, None), 5))
    assert [name for name, _ in taken] == ["0", "1", "2", "3", "4"]
    assert [array[0, 0, 0, 0] for _, (array,) in taken] == [0, 1, 2, 3, 4]
    assert all(array.shape == (1, 3, 4, 4) for _, (array,) in taken)


def test_bytes_are_pixels(tmp_path: Path) -> None:
    spec = write(tmp_path, "def samples():\n    yield np.full((3, 4, 4), 255, np.uint8)")
    samples = open_samples(spec, ONE, HALF)
    ((_, (array,)),) = choose(samples, 4)
    assert np.allclose(array, 2.0)
    assert samples.pixels


def test_the_record_names_and_hashes_what_was_taken(tmp_path: Path) -> None:
    spec = write(tmp_path, "def samples():\n    yield from np.ones((9, 3, 4, 4), np.float32)")
    feed = SampleBatches(open_samples(spec, ONE, None), count=6, batch=1, keep=2)
    assert len(feed) == 6
    list(feed)
    record = feed.record("mse")
    assert (record.source, record.samples, record.synthetic) == ("data.py:samples", 6, False)
    list(feed)
    assert feed.record("mse") == record


def test_a_function_is_called_once_for_all_passes(tmp_path: Path) -> None:
    spec = write(tmp_path, "def samples():\n    yield np.random.standard_normal((3, 4, 4))")
    feed = SampleBatches(open_samples(spec, ONE, None), count=4, batch=1, keep=0)
    ((first,),), ((again,),) = list(feed), list(feed)
    assert np.array_equal(first, again)


def test_what_finds_no_room_on_disk_has_to_come_again_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeconv.export.data.batches.CACHED_BYTES", 10)
    spec = write(tmp_path, "def samples():\n    yield np.random.standard_normal((3, 4, 4))")
    feed = SampleBatches(open_samples(spec, ONE, None), count=4, batch=1, keep=0)
    with pytest.raises(DataError, match="seed its random numbers"):
        list(feed)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "def samples():\n    raise ValueError('no disk\\nno more')",
            "raised ValueError: no disk\nhint: call it in Python",
        ),
        ("def samples():\n    yield np.ones((3, 4, 4))\n    1 / 0", "raised ZeroDivisionError"),
        ("def samples(path):\n    yield path", "raised TypeError"),
        ("def samples():\n    return 3", "returned a int\nhint: yield samples"),
        ("def samples():\n    pass", "returned a NoneType"),
        ("def samples():\n    yield from ()", "no usable sample"),
        ("def samples():\n    yield np.ones((3, 4, 4)), 7, 8", "has 3 arrays, the network 1 "),
        ("def samples():\n    yield np.ones((4, 4, 3))", "looks like NHWC"),
        ("def samples():\n    yield np.ones((2, 3, 4, 5))", r"\[2, 3, 4, 5\].*wants.*\[3, 4, 4\]"),
        ("def samples():\n    yield 'cat.png'", "sample 0 of data.py:samples is a path"),
        ("def samples():\n    yield [[1], [2, 3]]", "is not an array"),
        ("def samples():\n    yield np.full((3, 4, 4), np.nan)", "sample 0 .* holds NaN"),
        ("def samples():\n    yield torch.ones(3, 4, 4).to_sparse()", "is not an array"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        list(choose(open_samples(write(tmp_path, body), ONE, None), 4))
    assert "\n" not in caught.value.message + caught.value.hint


def test_what_is_no_function(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a int, not a function"):
        open_samples(write(tmp_path, "samples = 3"), ONE, None)
    with pytest.raises(UsageError, match="did you mean 'samples'"):
        open_samples(write(tmp_path, "def samples(): pass")[:-1], ONE, None)
    with pytest.raises(UsageError, match="no such file"):
        open_samples(f"{tmp_path}/nowhere.py:samples", ONE, None)
    with pytest.raises(CaptureError, match=r"importing .* raised SyntaxError"):
        open_samples(write(tmp_path, "def ("), ONE, None)
