"""``export`` from Python: what people have at hand, as they have it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

from edgeconv.bundle import Bundle, Format, Layout, Precision, TensorInfo
from edgeconv.errors import CaptureError, DataError, EdgeconvError, MismatchedData, UsageError
from edgeconv.export import Preprocessing, QuantizeOptions, RangeMethod, export
from edgeconv.export.capture.resolve import resolve
from edgeconv.export.data.objects import as_array, object_samples
from edgeconv.export.quiet import quiet_python
from edgeconv.export.request import ExportRequest
from edgeconv.export.tasks.evaluate import evaluate
from edgeconv.models.randomize import randomize_, structured_input
from support.runtimes import run_onnx

pytestmark = pytest.mark.slow

SHAPE = (3, 8, 8)
X = structured_input((12, *SHAPE))


@pytest.fixture(scope="module")
def small() -> nn.Module:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 4),
    )  # fmt: skip
    return randomize_(network, shape=SHAPE)


def test_choices_are_strings() -> None:
    asked = ExportRequest("resnet8", formats=["tflite"], precisions="float16", layout="nchw")
    assert asked.formats == (Format.TFLITE,)
    assert asked.precisions == (Precision.FLOAT16,)
    assert QuantizeOptions(range_method="minmax").range_method is RangeMethod.MINMAX
    assert ExportRequest("resnet8", input_size=64).size == (64, 64)
    assert ExportRequest("resnet8", formats="ONNX", layout="NCHW").layout is Layout.NCHW


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formats": ["tflit"]}, r"formats: 'tflit' is none of onnx, tflite\nhint: .*'tflite'"),
        ({"precisions": "int4"}, r"precisions: 'int4' is none of float32, .*int16x8\n"),
        ({"formats": 3}, r"formats is a int\nhint: pass a list of 'onnx', 'tflite'"),
        ({"precisions": ["fp16"]}, r"hint: did you mean 'float16'\?$"),
        (
            {"precisions": [torch.half]},
            r"torch\.float16 is none of .*\nhint: did you mean 'float16'",
        ),
        ({"output": "softmax"}, r"hint: did you mean 'probabilities'\?$"),
        ({"layout": "chwn"}, r"layout: 'chwn' is none of nchw, nhwc"),
    ],
)
def test_a_wrong_value_says_the_right_ones(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ExportRequest("resnet8", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": 8.0}, r"size is 8\.0\nhint: pass a whole number"),
        ({"batch": "2"}, r"batch is '2'\nhint: pass a whole number"),
        ({"inputs": "x:1,4"}, r"is 'x:1,4'\nhint: pass \['x:1,4'\]"),
        ({"task": max}, r"hint: pass a name; a metric of your own is a function in a file"),
        ({"accuracy_budget": "1%"}, r"hint: pass a number: 0\.01 is one percentage point"),
        ({"max_size": "1MB"}, r"hint: pass a whole number of bytes"),
        ({"weights": {}}, r"weights is {}\nhint: pass a file, or load them yourself"),
    ],
)
def test_a_value_of_a_wrong_type(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        export("resnet8", out=tmp_path / "b", **options)


class Picky(nn.Module):
    """Knows in which mode its parts are, and in which type its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Dropout(0.5)
        self.second.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def test_the_callers_module_stays_as_it_is(tmp_path: Path) -> None:
    network = Picky().half()
    network.first.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    weights = tmp_path / "w.pt"
    torch.save(Picky().state_dict(), weights)
    export(network, out=tmp_path / "b", input_size=SHAPE, formats="onnx", weights=weights)
    assert [module.training for module in network.modules()] == [True, True, False]
    assert not network.first.weight.requires_grad
    for name, value in network.state_dict().items():
        assert value.dtype == torch.float16
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    "wrap",
    [
        *(torch.compile, nn.DataParallel, AveragedModel),
        *(nn.Module.half, nn.Module.double, nn.Module.bfloat16),
    ],
)
def test_wrapped_networks_and_other_types(
    wrap: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(5, 4), nn.ReLU())
    network = wrap(plain)
    with caplog.at_level(logging.WARNING, "edgeconv"):
        bundle = export(network, out=tmp_path / "b", formats="onnx")
    x = np.random.default_rng(0).standard_normal((1, 5)).astype(np.float32)
    (got,) = run_onnx(bundle.file(bundle.manifest.artifacts[0]), x).values()
    with torch.inference_mode():
        wanted = nn.Sequential(*plain).float()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    assert bundle.manifest.artifacts[0].path == "Sequential_float32.onnx"
    changes = wrap not in (torch.compile, nn.DataParallel, AveragedModel)
    assert ("it is exported in float32" in caplog.text) == changes


def test_modules_that_cannot_be_exported() -> None:
    scripted = torch.jit.script(nn.Linear(2, 2))
    with pytest.raises(UsageError, match="is a TorchScript module"):
        resolve(scripted, args={}, input_size=None, weights=None)
    with pytest.raises(UsageError, match="meta device"):
        resolve(nn.Linear(2, 2, device="meta"), args={}, input_size=None, weights=None)
    with pytest.raises(UsageError, match=r"lazy layers .* without weights\nhint: run it"):
        resolve(nn.Sequential(nn.LazyLinear(2)), args={}, input_size=None, weights=None)
    with quiet_python():
        sparse = torch.eye(2).to_sparse(), torch.eye(2).to_sparse_csr()  # it warns of a beta
    for stored in sparse:
        network = nn.Identity()
        network.register_buffer("w", stored)
        with pytest.raises(UsageError, match=r"'w' of Identity is stored as torch\.sparse.*\nhint"):
            resolve(network, args={}, input_size=None, weights=None)


def test_onnx_models_in_memory_are_exported(tmp_path: Path) -> None:
    network, example = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval(), (torch.ones(1, 4),)
    program = torch.onnx.export(network, example, dynamo=True, verbose=False)
    assert program is not None
    for model in (program.model_proto, program.model, program):
        bundle = export(model, out=tmp_path / "b", formats="onnx", force=True)
        (artifact,) = bundle.manifest.artifacts
        assert artifact.path == "main_graph_float32.onnx"
        assert bundle.manifest.model == "main_graph.onnx"  # and not its temporary place
        (got,) = run_onnx(bundle.file(artifact), np.ones((1, 4), np.float32)).values()
        np.testing.assert_allclose(got, network(*example).detach().numpy(), atol=1e-6)


def test_a_model_in_memory_whose_weights_are_elsewhere_is_refused(tmp_path: Path) -> None:
    weight = onnx.numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    borders = [
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)]
        for name, shape in (("x", [1, 4]), ("y", [1, 3]))
    ]
    proto = onnx.helper.make_model(onnx.helper.make_graph([node], "g", *borders, [weight]))
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    loaded = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    with pytest.raises(CaptureError, match=r"keeps weights in files.*\nhint: pass the path"):
        export(loaded, out=tmp_path / "b")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear, r"a class or function.*\nhint: call it"),
        (lambda x: x, r"a class or function.*\nhint: call it"),
        ({"weight": torch.zeros(2)}, r"a dict.*\nhint: load it into a module"),
        (onnx.GraphProto(), r"of type GraphProto.*\nhint: make a model of it"),
        (nn.Linear(2, 2).forward, r"a method of a module.*\nhint: pass the module itself"),
        (b"\x08\x08", r"of type bytes.*\nhint: pass the path of its file"),
        ([nn.ReLU()], r"a list.*\nhint: call export for each"),
        (3, r"of type int.*\nhint: pass an nn\.Module"),
    ],
)
def test_objects_that_are_no_network(model: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        export(model, out=tmp_path / "b")


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (
            Image.new("RGB", (4, 4)),
            r"is a picture of type Image.*\nhint: apply the network's transf",
        ),
        (Path("photo.jpg"), r"is a path or text of type PosixPath.*\nhint: .*the folder of images"),
        (torch.zeros(2, *SHAPE), r"is 2 samples\nhint: .*torch\.cat"),
    ],
)
def test_samples_that_are_no_tensors_of_one_sample(sample: Any, message: str) -> None:
    inputs = [TensorInfo(name="x", shape=(1, *SHAPE), dtype="float32")]
    with pytest.raises(MismatchedData, match=message):
        object_samples([sample], inputs, None)


def generator() -> Iterator[np.ndarray]:
    yield from X.numpy()


class Pictures(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index >= len(X):
            raise IndexError
        return X[index], index % 4


LABELS = torch.arange(len(X)) % 4
DATA = {
    "array": X.numpy(),
    "tensor": X,
    "dict": {"input": X},
    "list": list(X.numpy()),
    "dataset": Pictures(),
    "loader": DataLoader(TensorDataset(X, LABELS), batch_size=5),
}


@pytest.mark.parametrize("kind", [*DATA, "generator"])
def test_calibration_data_of_every_kind(kind: str, small: nn.Module, tmp_path: Path) -> None:
    data = generator() if kind == "generator" else DATA[kind]
    options = QuantizeOptions(range_method="minmax", equalization=False, bias_correction=False)
    bundle = export(
        small, out=tmp_path / "b", input_size=SHAPE, calibration=data, quantization=options,
        formats=["onnx"], precisions=["int8"],
    )  # fmt: skip
    calibration = bundle.manifest.calibration
    assert calibration is not None
    assert calibration.samples + calibration.held_out == len(X)
    assert not calibration.synthetic
    # Min-max ranges do not depend on the order, so the same samples make the same file. Data that
    # comes in its own order holds other samples back than data that can be shuffled.
    digest = digests.setdefault(frozenset(calibration.names), bundle.manifest.artifacts[0].sha256)
    assert bundle.manifest.artifacts[0].sha256 == digest
    assert len(digests) <= 2


digests: dict[frozenset[str], str] = {}


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (np.zeros((4, 8, 8, 3), np.float32), MismatchedData, "looks like NHWC"),
        (np.zeros((0, *SHAPE), np.float32), DataError, "is empty"),
        ([], DataError, "is empty"),
        ([None], MismatchedData, r"is object of shape.*\nhint: give samples of that type"),
        ({"x": X, "y": X}, MismatchedData, "has no 'input', it has 'x', 'y'"),
        (3, UsageError, "cannot be read from an object of type int"),
        (
            iter([X[0], "cat"]),
            MismatchedData,
            "item 1 of the list_iterator is a path or text of type str",
        ),
    ],
)
def test_calibration_data_that_does_not_fit(
    data: Any, error: type[Exception], message: str, small: nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        export(small, out=tmp_path / "b", input_size=SHAPE, calibration=data, formats="onnx")
    assert not (tmp_path / "b").exists()


def test_tensors_of_any_kind_are_data() -> None:
    x = torch.linspace(-1, 1, 6).reshape(2, 3).requires_grad_()
    for tensor in (x, x.bfloat16(), x.half(), x[:, :2].T):
        np.testing.assert_array_equal(as_array(tensor), tensor.detach().float().numpy())


@pytest.fixture(scope="module")
def floats(small: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("floats") / "b"
    return export(small, out=out, input_size=SHAPE, formats="onnx")


def test_evaluation_data_of_every_kind(floats: Bundle, small: nn.Module, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X.numpy(), y=LABELS.numpy())
    with torch.inference_mode():
        right = (small(X).argmax(1) == LABELS).float().mean().item()
    kinds = [
        tmp_path / "d.npz",
        (X, LABELS),
        Pictures(),
        DATA["loader"],
        list(zip(X, LABELS, strict=True)),
    ]
    for data in kinds:
        found = evaluate(floats, data)
        assert found.samples == len(X)
        assert found.results[0].top1 == pytest.approx(right)
    for data, message in [
        (generator(), "several times"),
        (list(X), "no label"),
        ((X, LABELS + 9), "of class 9, and the network has 4"),
        ((X, LABELS[:3]), "labels of shape"),
    ]:
        with pytest.raises((UsageError, DataError), match=message):
            evaluate(floats, data)


def test_a_bundle_shows_itself(floats: Bundle) -> None:
    assert repr(floats).startswith("Bundle of Sequential in ")
    assert "<td>Sequential_float32.onnx</td>" in floats._repr_html_()


@pytest.mark.slow
def test_a_budget(small: nn.Module, tmp_path: Path) -> None:
    asked = {"input_size": SHAPE, "calibration": X, "formats": "onnx", "out": tmp_path / "b"}
    bundle = export(small, min_sqnr=15, accuracy_budget=0.5, labeled=(X, LABELS), **asked)
    int8 = [a for a in bundle.manifest.artifacts if a.precision is Precision.INT8]
    assert int8[0].verification is not None
    assert int8[0].verification.sqnr_db >= 15
    with pytest.raises(UsageError, match=r"0\.01 for one percentage point"):
        export(small, accuracy_budget=3, force=True, **asked)


@pytest.mark.slow
def test_what_repair_is_to_reach_is_demanded_of_the_files(small: nn.Module, tmp_path: Path) -> None:
    """Repair judges on samples of calibration, and others have less: those that verify decide."""
    asked = {"input_size": SHAPE, "calibration": X, "formats": "onnx", "out": tmp_path / "b"}
    with pytest.raises(EdgeconvError, match=r"misses the budget .* nothing was written") as caught:
        export(small, quantization=QuantizeOptions(effort=0, repair_to=150), **asked)
    assert type(caught.value) is EdgeconvError
    assert not (tmp_path / "b").exists()
    enough = QuantizeOptions(effort=0, repair_to=15)
    bundle = export(small, quantization=enough, **asked)
    int8 = [a for a in bundle.manifest.artifacts if a.precision is Precision.INT8]
    assert int8[0].verification is not None
    assert int8[0].verification.sqnr_db >= 15


def test_a_preprocessing_needs_only_what_differs(tmp_path: Path) -> None:
    how = Preprocessing(mean=0.5, std=0.25)
    bundle = export("resnet8", out=tmp_path / "b", preprocessing=how, formats="onnx", input_size=32)
    stored = bundle.manifest.preprocessing
    assert stored is not None
    assert (stored.mean, stored.std, stored.assumed) == ((0.5,) * 3, (0.25,) * 3, False)


def test_a_size_as_on_the_command_line(tmp_path: Path) -> None:
    bundle = export(nn.Linear(4, 2), input_size="1,4", out=tmp_path / "out", formats=["onnx"])
    assert bundle.manifest.inputs[0].shape == (1, 4)
    with pytest.raises(UsageError, match="'4by4' is not a size"):
        export(nn.Linear(4, 2), input_size="4by4", out=tmp_path / "b")
