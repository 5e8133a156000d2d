"""Networks with any number and type of inputs, and any form of outputs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from onnx import TensorProto, helper
from torch import nn

from edgeconv.bundle import Bundle, Format
from edgeconv.cli import cli
from edgeconv.errors import CaptureError, UsageError
from edgeconv.export import InputSpec, export
from edgeconv.export.capture.arguments import read_arrays
from edgeconv.export.capture.input_shape import FixedArgument, parse_input
from edgeconv.export.capture.outputs import named_outputs
from edgeconv.limits import LimitExceeded
from support.runtimes import run_onnx, run_tflite

pytestmark = pytest.mark.slow

ONNX = ["onnx"]


@dataclass
class Result:
    scores: torch.Tensor
    nothing: torch.Tensor | None
    parts: dict[str, torch.Tensor]


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


class Mixed(nn.Module):
    """Token ids, a list of images, an optional mask, and arguments that are no tensors."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(30, 8)
        self.linear = nn.Linear(8, 3)
        self.convolution = nn.Conv2d(3, 3, 3)

    def forward(
        self,
        ids: torch.Tensor,
        images: list[torch.Tensor],
        *,
        mask: torch.Tensor | None = None,
        flip: bool = False,
        scale: float = 1.0,
    ) -> Result:
        y = self.linear(self.embedding(ids).mean(1))
        y = y + self.convolution(images[0] - images[1]).mean((2, 3))
        if mask is not None:
            y = torch.where(mask, y, -y)
        return Result(y * scale, None, {"sum": y.sum(1), "turned": y.flip(1) if flip else 2 * y})


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "ids": rng.integers(0, 30, (2, 5)),
        "images.0": rng.standard_normal((2, 3, 8, 8)).astype(np.float32),
        "images.1": rng.standard_normal((2, 3, 8, 8)).astype(np.float32),
        "mask": rng.random((2, 3)) > 0.5,
    }


def wanted(flip: bool = False, scale: float = 1.0) -> list[np.ndarray]:
    a = {name: torch.from_numpy(array) for name, array in arrays().items()}
    with torch.inference_mode():
        images = [a["images.0"], a["images.1"]]
        result = Mixed().eval()(a["ids"], images, mask=a["mask"], flip=flip, scale=scale)
    return [t.numpy() for t in (result.scores, result.parts["sum"], result.parts["turned"])]


def check(bundle: Bundle, expected: list[np.ndarray]) -> None:
    assert [o.name for o in bundle.manifest.outputs] == ["scores", "parts_sum", "parts_turned"]
    assert [i.name for i in bundle.manifest.inputs] == list(arrays())
    for artifact in bundle.manifest.artifacts:
        is_onnx = artifact.format is Format.ONNX
        path, feeds = bundle.file(artifact), arrays()
        if is_onnx:
            got = run_onnx(path, feeds)
        else:
            feeds = {n: a.transpose(0, 2, 3, 1) if a.ndim == 4 else a for n, a in feeds.items()}
            got = run_tflite(path, feeds)
        for name, theirs in zip(("scores", "parts_sum", "parts_turned"), expected, strict=True):
            # Rounding of float32 in sums of a few dozen terms.
            np.testing.assert_allclose(got[name], theirs, rtol=1e-5, atol=1e-6)


def test_stated_inputs_of_every_kind(tmp_path: Path) -> None:
    inputs = ["ids:2,5:int64", "images.0:2,3,8,8", "images.1:2x3x8x8", "mask:2,3:bool"]
    bundle = export(Mixed(), out=tmp_path / "b", inputs=[*inputs, "flip=true", "scale=0.5"])
    check(bundle, wanted(flip=True, scale=0.5))


def test_an_example_from_python(tmp_path: Path) -> None:
    a = {name: torch.from_numpy(array) for name, array in arrays().items()}
    call = {"ids": a["ids"], "images": [a["images.0"], a["images.1"]], "mask": a["mask"]}
    check(export(Mixed(), out=tmp_path / "b", example=call, formats=ONNX), wanted())
    reference = np.load(tmp_path / "b" / "reference.npz")
    np.testing.assert_array_equal(reference["input_0"][0], arrays()["ids"])


def test_an_example_in_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "inputs.npz", **arrays())
    spec = f"{__file__}:Mixed"
    options = ["--example", str(tmp_path / "inputs.npz"), "--format", "onnx", "--name", "mine"]
    done = CliRunner().invoke(cli, ["export", spec, "-o", str(tmp_path / "b"), *options])
    assert done.exit_code == 0, done.output
    bundle = Bundle.load(tmp_path / "b")
    assert [a.path for a in bundle.manifest.artifacts] == ["mine_float32.onnx"]
    check(bundle, wanted())


@pytest.mark.parametrize("where", ["beside", "attribute", "lightning"])
def test_what_the_author_says(where: str, tmp_path: Path) -> None:
    body = "import torch\nfrom torch import nn\nnet = nn.Bilinear(3, 4, 2)\n"
    body += {
        "beside": "def example_inputs():\n    return torch.ones(2, 3), torch.ones(2, 4)\n",
        "attribute": "net.example_inputs = torch.ones(2, 3), torch.ones(2, 4)\n",
        "lightning": "net.example_input_array = torch.ones(2, 3), torch.ones(2, 4)\n",
    }[where]
    (tmp_path / "file.py").write_text(body)
    bundle = export(f"{tmp_path}/file.py:net", out=tmp_path / "b", formats=ONNX)
    assert [i.shape for i in bundle.manifest.inputs] == [(2, 3), (2, 4)]
    assert bundle.manifest.artifacts[0].path == "file_float32.onnx"


def test_another_batch_than_the_authors(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    network.example_inputs = lambda: torch.ones(5, 3)
    bundle = export(network, out=tmp_path / "b", batch=4, formats=ONNX)
    assert bundle.manifest.inputs[0].shape == (4, 3)


def test_a_list_and_a_number_by_position(tmp_path: Path) -> None:
    class Sum(nn.Module):
        def forward(self, xs: list[torch.Tensor], times: int) -> torch.Tensor:
            return xs[0] + times * xs[1]

    example = ([torch.ones(1, 4), torch.full((1, 4), 2.0)], 3)
    bundle = export(Sum(), out=tmp_path / "b", example=example, formats=ONNX)
    feeds = {"xs.0": np.float32([[1, 2, 3, 4]]), "xs.1": np.float32([[1, 1, 2, 2]])}
    (got,) = run_onnx(bundle.file(bundle.manifest.artifacts[0]), feeds).values()
    assert got.tolist() == [[4, 5, 9, 10]]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["id:2,5"], r"takes no 'id': .*ids, images.*\nhint: did you mean 'ids'\?"),
        (["ids:2,5:int64"], r"also needs 'images'\nhint: add inputs=..images:SHAPE"),
        (["ids:2,5:float8"], r"unknown type"),
        (["ids:2,0"], r"empty dimension"),
        (["ids"], r"is not NAME:SHAPE"),
        (["ids:2,5:int64", "ids:2,5:int64"], r"stated twice"),
    ],
)
def test_inputs_that_do_not_fit(inputs: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        export(Mixed(), out=tmp_path / "b", inputs=inputs)
    assert not (tmp_path / "b").exists()


def test_two_ways_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="inputs and input_size exclude each other"):
        export(Mixed(), out=tmp_path / "b", inputs=["ids:1,5"], input_size=8)
    with pytest.raises(UsageError, match="batch contradicts inputs"):
        export(Mixed(), out=tmp_path / "b", inputs=["ids:1,5"], batch=2)


def test_how_inputs_are_written() -> None:
    assert parse_input("a.b:1,16:int64") == InputSpec("a.b", (1, 16), "int64")
    assert parse_input("x:") == InputSpec("x", ())
    values = ["t=true", "n=none", "i=-3", "f=0.5", "s=mean"]
    assert [parse_input(text) for text in values] == [
        FixedArgument("t", True),
        FixedArgument("n", None),
        FixedArgument("i", -3),
        FixedArgument("f", 0.5),
        FixedArgument("s", "mean"),
    ]


def test_names_of_outputs() -> None:
    t = torch.zeros(1)
    assert list(named_outputs(t)) == ["output"]
    assert list(named_outputs((t, [t, None, t]))) == ["output_0", "output_1_0", "output_1_2"]
    assert list(named_outputs({"a": t, "b": {"a": t}, "a_": t})) == ["a", "b_a", "a_"]
    assert list(named_outputs(Pair(t, t))) == ["left", "right"]
    assert list(named_outputs({"a": (t, t), "a_0": t})) == ["a_0", "a_1", "a_0_"]
    for nothing in (None, (), 3):
        with pytest.raises(CaptureError):
            named_outputs(nothing)


class Stem(nn.Module):
    """A stem that reshapes the image before the first convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(48, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(nn.functional.pixel_unshuffle(x, 4))


def test_a_first_convolution_on_no_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "edgeconv"):
        bundle = export(Stem(), out=tmp_path / "b", input_size=16, formats=ONNX)
    assert bundle.manifest.inputs[0].shape == (1, 3, 16, 16)
    assert "is taken for 1×3×16×16, on which it runs" in caplog.text
    bundle = export(nn.Conv2d(5, 2, 3), out=tmp_path / "c", input_size=16, formats=ONNX)
    assert bundle.manifest.inputs[0].shape == (1, 5, 16, 16)
    with pytest.raises(UsageError, match="1×3×15×15 and 1×48×15×15 were tried"):
        export(Stem(), out=tmp_path / "d", input_size=15)


def open_file(path: Path) -> Path:
    """An .onnx file with two inputs of open sizes."""
    rows = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("a", ["N", "K"]), ("b", ["K", "M"]), ("y", ["N", "M"]))
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["y"])], "g", rows[:2], rows[2:]
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def test_each_input_of_a_file_its_own_shape(tmp_path: Path) -> None:
    path = open_file(tmp_path / "net.onnx")
    bundle = export(path, out=tmp_path / "b", inputs=["a:2,3", "b:3,4"], formats=ONNX)
    assert [i.shape for i in bundle.manifest.inputs] == [(2, 3), (3, 4)]
    np.savez(tmp_path / "e.npz", a=np.ones((1, 3), np.float32), b=np.ones((3, 5), np.float32))
    bundle = export(path, out=tmp_path / "c", example=tmp_path / "e.npz", formats=ONNX)
    assert bundle.manifest.outputs[0].shape == (1, 5)
    np.testing.assert_array_equal(np.load(tmp_path / "c" / "reference.npz")["input_0"][0], 1)
    with pytest.raises(UsageError, match=r"has no input 'c': it has 'a', 'b'"):
        export(path, out=tmp_path / "d", inputs=["a:2,3", "c:3,4"])
    with pytest.raises(UsageError, match="has 2 dimensions, and 3 are stated"):
        export(path, out=tmp_path / "d", inputs=["a:2,3,1"])


def test_an_open_dimension_that_becomes_one_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "edgeconv"):
        export(open_file(tmp_path / "net.onnx"), out=tmp_path / "b", inputs=["b:3,4", "a:1,3"])
        assert "open" not in caplog.text
        with pytest.raises(UsageError, match=r'inputs=\["a:SHAPE"\]'):
            export(tmp_path / "net.onnx", out=tmp_path / "c", inputs=["b:3,4"])
    single = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [single], [out])
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "one.onnx")
    with caplog.at_level(logging.WARNING, "edgeconv"):
        export(tmp_path / "one.onnx", out=tmp_path / "d", formats=ONNX)
    assert "leaves the first dimension of 'x' open; it is 1" in caplog.text


def test_an_example_that_unpacks_to_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "e.npz", x=np.zeros((1, 3, 64, 64), np.float32))
    monkeypatch.setenv("EDGECONV_MAX_UNPACKED_BYTES", "1000")
    with pytest.raises(LimitExceeded, match="unpacks to"):
        read_arrays(tmp_path / "e.npz")


@pytest.mark.parametrize(("samples", "warned"), [(1, False), (5, True)])
def test_the_number_of_samples_in_an_example_is_the_batch(
    samples: int, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    export(
        nn.Linear(3, 2),
        example=torch.zeros(samples, 3),
        formats=["onnx"],
        out=tmp_path / "out",
    )
    assert (f"so the files take {samples} samples at once" in caplog.text) == warned
    assert ("dynamic_batch=True" in caplog.text) == warned


@pytest.mark.parametrize(
    ("written", "meant"),
    [("int", "int64"), ("long", "int64"), ("float", "float32"), ("boolean", "bool")],
)
def test_other_names_of_types(written: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{meant}'"):
        parse_input(f"tokens:1,8:{written}")
