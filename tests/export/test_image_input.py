"""Files that take the bytes of a picture compute what the network does of normalized values."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from edgeconv.bundle import Artifact, Bundle, Format, IoType, Layout, Precision, TensorInfo
from edgeconv.companion.predict import predict
from edgeconv.errors import UsageError
from edgeconv.export import export
from edgeconv.export.data.preprocess import normalize
from edgeconv.export.image_input import Normalization, enter
from edgeconv.export.tasks.evaluate import evaluate
from edgeconv.export.verify.bundle import verify_bundle
from edgeconv.preprocessing import Color, Preprocessing
from support import tflite_metadata
from support.lowering import Net, as_model
from support.runtimes import onnx_session

pytestmark = pytest.mark.slow

SIDE = 20
IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
HALF = Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)
PLAIN = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)


def classifier(channels: int = 3, padding: int = 1) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, 2, padding=padding),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Linear(72, 5),
    ).eval()


def pictures(count: int, channels: int = 3, side: int = SIDE) -> Any:
    """Smooth pictures, [N, H, W, C]."""
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 256, (count, 5, 5, channels), np.uint8)
    big = [
        [Image.fromarray(each[..., c]).resize((side, side)) for c in range(channels)]
        for each in coarse
    ]
    return np.stack([np.stack([np.asarray(c) for c in each], -1) for each in big])


def expected(network: nn.Module, picture: Any, how: Preprocessing) -> Any:
    """What PyTorch makes of one picture [1, H, W, C] that is normalized as its users do it."""
    turned = picture[..., ::-1] if how.color is Color.BGR else picture
    x = (turned / 255 - np.array(how.mean)) / np.array(how.std)
    with torch.inference_mode():
        return network(torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32))).numpy()


def computed(bundle: Bundle, artifact: Artifact, picture: Any) -> Any:
    """What a file makes of the bytes of a picture, in the type that the file takes."""
    (info,), (out,) = artifact.inputs, artifact.outputs
    given = picture if info.layout is Layout.NHWC else picture.transpose(0, 3, 1, 2)
    given = (given.astype(np.int16) - (128 if info.dtype == "int8" else 0)).astype(info.dtype)
    if artifact.format is Format.ONNX:
        session = onnx_session(bundle.file(artifact), fused=True)
        (result,) = session.run(None, {session.get_inputs()[0].name: given})
    else:
        model = Interpreter(str(bundle.file(artifact)))
        model.allocate_tensors()
        model.set_tensor(model.get_input_details()[0]["index"], given)
        model.invoke()
        result = model.get_tensor(model.get_output_details()[0]["index"])
    if out.scale is None:
        return result
    return (result.astype(np.float32) - out.zero_point) * out.scale


def assert_right(bundle: Bundle, network: nn.Module, picture: Any, how: Preprocessing) -> None:
    """Every file computes what PyTorch does: to rounding, or to 5 % of the range in int8."""
    right = expected(network, picture, how)
    for artifact in bundle.manifest.artifacts:
        bound = 1e-5 if artifact.precision is Precision.FLOAT32 else 0.05
        got = computed(bundle, artifact, picture)
        assert np.abs(got - right).max() < bound * np.ptp(right)


@pytest.mark.parametrize("how", [IMAGENET, HALF, PLAIN], ids=["imagenet", "half", "plain"])
@pytest.mark.parametrize("io", [IoType.FLOAT32, IoType.UINT8, IoType.INT8])
@pytest.mark.parametrize("word", ["image", "image:nhwc"])
def test_every_file_takes_bytes(how: Preprocessing, io: IoType, word: str, tmp_path: Path) -> None:
    network, samples = classifier(), pictures(20)
    last = word == "image:nhwc"
    bundle = export(
        network,
        out=tmp_path / "out",
        inputs=[word],
        input_size=SIDE,
        preprocessing=how.model_copy(update={"color": Color.BGR}),
        calibration=samples if last else samples.transpose(0, 3, 1, 2),
        io=io,
    )
    assert bundle.manifest.preprocessing is not None
    assert bundle.manifest.preprocessing.inside
    how = bundle.manifest.preprocessing
    assert len(bundle.manifest.artifacts) == 4
    for artifact in bundle.manifest.artifacts:
        (info,) = artifact.inputs
        assert (info.layout is Layout.NHWC) == (last or artifact.format is Format.TFLITE)
        integer = artifact.precision is Precision.INT8 and io is not IoType.FLOAT32
        assert info.dtype == (io.value if integer else "float32")
        for index in range(3):
            picture = samples[index : index + 1]
            right, got = expected(network, picture, how), computed(bundle, artifact, picture)
            if artifact.precision is Precision.FLOAT32:
                # The weights are rounded once more, and 255 steps are added up in float32.
                assert np.abs(got - right).max() < 1e-5 * np.ptp(right)
            else:
                # Calibrated 8-bit layers: 36 dB on these samples, and a border that is padded
                # with a wrong value would leave 20 dB.
                noise = ((got - right) ** 2).sum() / ((right - right.mean()) ** 2).sum()
                assert 10 * np.log10(1 / noise) > 26


def convolution(
    weights: Any, bias: Any, pads: list[int], stride: int, shape: tuple[int, ...]
) -> ir.Model:
    net = Net()
    x = net.input("x", shape)
    operands = [net.constant(array) for array in (weights, bias)]
    net.output(net.op("Conv", x, *operands, pads=pads, strides=[stride] * 2))
    return as_model(net.proto())


def run(model: ir.Model, x: Any) -> Any:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: x})[0]


numbers = st.floats(0.02, 0.9)


@settings(max_examples=40)
@given(
    mean=st.tuples(numbers, numbers, numbers),
    std=st.tuples(numbers, numbers, numbers),
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    stride=st.integers(1, 2),
    color=st.sampled_from([Color.RGB, Color.BGR]),
    layout=st.sampled_from([None, Layout.NHWC]),
    integer=st.booleans(),
    integer_io=st.booleans(),
    alike=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_normalization_is_exact_at_any_border(
    mean: Any,
    std: Any,
    pads: list[int],
    stride: int,
    color: Color,
    layout: Layout | None,
    integer: bool,
    integer_io: bool,
    alike: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    if alike:
        mean, std = mean[:1] * 3, std[:1] * 3
    how = Preprocessing(mean=mean, std=std, color=color)
    weights = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    model = convolution(weights, bias, pads, stride, (2, 3, 9, 8))
    info = TensorInfo(name="x", shape=(2, 3, 9, 8), dtype="float32", layout=Layout.NCHW)
    entrance = enter(
        model, Normalization.of(how, info, layout), integer=integer, integer_io=integer_io
    )
    bytes_ = rng.integers(0, 256, (2, 9, 8, 3), np.uint8)
    turned = bytes_[..., ::-1] if color is Color.BGR else bytes_
    right = run(model, normalize(turned.transpose(0, 3, 1, 2).copy(), how))
    x = bytes_ if layout is Layout.NHWC else bytes_.transpose(0, 3, 1, 2)
    got = run(entrance.whole, np.ascontiguousarray(x, np.float32))
    magnitude = (np.abs(weights).sum((1, 2, 3)) / min(std)).max()
    # Float32 sums of numbers of this magnitude; where integers pad, half a byte for each of at
    # most 25 of 27 taps, which at the most has the weight of all.
    rounding = 1e-5 * magnitude
    padded = 0.5 / 255 * magnitude if integer and any(pads) else 0.0
    assert np.abs(got - right).max() <= rounding + padded
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    assert np.abs(got - right)[inner].max(initial=0) <= rounding


@pytest.mark.parametrize(
    ("how", "padding", "costs"),
    [(HALF, 1, 0), (PLAIN, 1, 0), (IMAGENET, 0, 0), (IMAGENET, 1, 1)],
    ids=["equal means", "no means", "no border", "a border of three means"],
)
def test_what_it_costs(how: Preprocessing, padding: int, costs: int) -> None:
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    model = convolution(weights, np.zeros(4, np.float32), [padding] * 4, 1, (1, 3, 9, 8))
    info = TensorInfo(name="x", shape=(1, 3, 9, 8), dtype="float32")
    normalization = Normalization.of(how, info, None)
    entrance = enter(model, normalization, integer=True, integer_io=True)
    assert [node.op_type for node in entrance.graph.graph] == ["Conv"] * (1 + costs)
    # The weights on normalized values are not in the file any more.
    assert all(value.uses() for value in entrance.whole.graph.initializers.values())
    if how is HALF:  # whoever reads scale and zero point of the input finds the normalization
        assert entrance.scale == pytest.approx(1 / 127.5)
        assert entrance.zero_point in (127, 128)


def test_gray_pictures(tmp_path: Path) -> None:
    network, samples = classifier(channels=1), pictures(16, channels=1)
    how = Preprocessing(mean=0.4, std=0.3)
    bundle = export(
        network,
        out=tmp_path / "out",
        inputs=["image"],
        input_size=(1, SIDE, SIDE),
        preprocessing=how,
        calibration=samples.transpose(0, 3, 1, 2),
        io="uint8",
    )
    assert_right(bundle, network, samples[:1], how)


def test_gray_pictures_for_three_channels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Inside the files or outside: the gray value is each of the three channels."""
    network = classifier()
    how = Preprocessing(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), color=Color.GRAY)
    photo = tmp_path / "photo.png"
    Image.fromarray(pictures(1)[0]).save(photo)
    with Image.open(photo) as picture:
        gray = np.asarray(picture.convert("L"), np.float32)[None, None].repeat(3, 1) / 255
    x = (gray - np.array(how.mean).reshape(3, 1, 1)) / np.array(how.std).reshape(3, 1, 1)
    with torch.inference_mode():
        wanted = np.sort(network(torch.from_numpy(x.astype(np.float32))).numpy()[0])[:-6:-1]
    for name, inputs in (("inside", ["image"]), ("outside", [])):
        bundle = export(
            network, out=tmp_path / name, inputs=inputs, input_size=SIDE, preprocessing=how,
            precisions=["float32"],
        )  # fmt: skip
        for artifact in bundle.manifest.artifacts:
            predict(bundle, photo, artifact.path)
            said = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
            np.testing.assert_allclose(said, wanted, rtol=1e-4, atol=1e-5)
            if artifact.format is Format.TFLITE:  # three channels are RGB to every reader
                (graph,) = tflite_metadata.read(bundle.file(artifact))["subgraph_metadata"]
                (given,) = graph["input_tensor_metadata"]
                assert given["content"]["content_properties"]["color_space"] == 1
        assert "gray in each of three channels" in (bundle.path / "README.md").read_text()


@pytest.mark.parametrize("io", ["float32", "uint8"])
def test_a_network_that_is_quantized_already(io: str, tmp_path: Path) -> None:
    """Its own integers stay: what normalizes is in front of them."""
    first = export(
        classifier(), out=tmp_path / "first", input_size=SIDE, preprocessing=IMAGENET,
        calibration=pictures(16).transpose(0, 3, 1, 2), precisions=["int8"], formats=["onnx"],
    )  # fmt: skip
    (file,) = (first.file(artifact) for artifact in first.manifest.artifacts)

    def again() -> Bundle:
        return export(file, out=tmp_path / "again", preprocessing=IMAGENET, inputs=["image"], io=io)

    if io == "uint8":
        with pytest.raises(UsageError, match=r"quantized already, and its integers are not .*\n.*"):
            again()
        return
    session = onnx_session(file, fused=True)
    samples = pictures(4)
    mean, std = np.array(IMAGENET.mean), np.array(IMAGENET.std)
    bundle = again()
    for artifact in bundle.manifest.artifacts:
        for sample in samples:
            x = ((sample / 255 - mean) / std).astype(np.float32).transpose(2, 0, 1)[None]
            (wanted,) = session.run(None, {session.get_inputs()[0].name: x})
            # A normalized value between two integers may be rounded the other way: a step or two.
            got = computed(bundle, artifact, sample[None])
            assert np.abs(got - wanted).max() < 0.05 * np.ptp(wanted)


def test_a_network_that_does_not_begin_with_a_convolution(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(512, 5))
    samples = pictures(16)
    bundle = export(
        network.eval(),
        out=tmp_path / "out",
        inputs=["image"],
        input_size=SIDE,
        preprocessing=IMAGENET,
        calibration=samples.transpose(0, 3, 1, 2),
        io="uint8",
    )
    assert_right(bundle, network, samples[:1], IMAGENET)


def test_an_onnx_file_of_channels_last(tmp_path: Path) -> None:
    """As Keras makes them: the network itself has the channels last."""
    net = Net()
    rng = np.random.default_rng(0)
    x = net.op("Transpose", net.input("x", (1, SIDE, SIDE, 3)), perm=[0, 3, 1, 2])
    weights = net.constant(rng.normal(size=(5, 3, 3, 3)).astype(np.float32))
    y = net.op("Relu", net.op("Conv", x, weights, pads=[1, 1, 1, 1]))
    net.output(net.op("Flatten", net.op("GlobalAveragePool", y)))
    (tmp_path / "net.onnx").write_bytes(net.proto().SerializeToString())
    samples = pictures(16)
    bundle = export(
        tmp_path / "net.onnx",
        out=tmp_path / "out",
        inputs=["image"],
        preprocessing=IMAGENET.model_copy(update={"color": Color.BGR}),
        calibration=samples,
        io="uint8",
    )
    normalized = normalize(samples[:1, :, :, ::-1].copy(), IMAGENET, 3)
    session = ort.InferenceSession(str(tmp_path / "net.onnx"))
    (right,) = session.run(None, {"x": normalized})
    for artifact in bundle.manifest.artifacts:
        assert artifact.inputs[0].layout is Layout.NHWC
        got = computed(bundle, artifact, samples[:1])
        bound = 1e-5 if artifact.precision is Precision.FLOAT32 else 0.05
        assert np.abs(got - right).max() < bound * np.ptp(right)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in the folders of five classes."""
    path = tmp_path_factory.mktemp("pictures")
    for index, picture in enumerate(pictures(20, side=31)):
        place = path / f"class{index % 5}"
        place.mkdir(exist_ok=True)
        Image.fromarray(picture).save(place / f"{index}.png")
    return path


@pytest.fixture(scope="module")
def bundles(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """The same network on pictures, and on normalized values."""
    out = tmp_path_factory.mktemp("both")
    how = IMAGENET.model_copy(update={"color": Color.BGR})
    options: dict[str, Any] = {
        "input_size": SIDE,
        "preprocessing": how,
        "calibration": folder,
        "io": "uint8",
        "name": "net",
        "labels": ["a", "b", "c", "d", "e"],
    }
    return (
        export(classifier(), out=out / "bytes", inputs=["image"], **options),
        export(classifier(), out=out / "values", **options),
    )


@pytest.mark.slow
def test_pictures_mean_the_same_everywhere(
    bundles: tuple[Bundle, Bundle], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, _ = bundles
    assert all(figures.passed for figures in verify_bundle(ours).artifacts.values())
    for one, other in zip(*(evaluate(b, folder).results for b in bundles), strict=True):
        assert one.path == other.path
        # A different rounding of the input may move a sample in int8; none in float.
        assert abs(one.figures[0].value - other.figures[0].value) <= ("int8" in one.path) * 0.1
    photo = folder / "class1" / "1.png"
    said = []
    for bundle in bundles:
        predict(bundle, photo, "net_float32.onnx")
        said.append([float(line.split()[0]) for line in capsys.readouterr().out.splitlines()])
    assert said[0] == pytest.approx(said[1], rel=1e-4)
    artifact = next(a for a in ours.manifest.artifacts if a.path == "net_int8.tflite")
    predict(ours, photo, artifact.path)
    lines = dict(reversed(line.split()) for line in capsys.readouterr().out.splitlines())
    assert ours.manifest.preprocessing is not None
    picture = Image.open(photo).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    right = computed(ours, artifact, np.asarray(picture)[None])[0]
    assert [float(lines[name]) for name in "abcde"] == pytest.approx(right.tolist(), rel=1e-5)
    script = (ours.path / "pictures.py").read_text()
    assert "mean" not in script.replace("meaning", "")
    assert "[..., ::-1]" not in script.split("def frames")[0]
    assert "Scale, mean and standard deviation are inside" in (ours.path / "README.md").read_text()


@pytest.mark.slow
def test_on_tflite_runtime_2_14(
    bundles: tuple[Bundle, Bundle], tflite214: Callable[[bytes, Any], Any]
) -> None:
    ours, _ = bundles
    for artifact in ours.manifest.artifacts:
        if artifact.format is Format.TFLITE:
            picture = pictures(1).astype(artifact.inputs[0].dtype)
            data = ours.file(artifact).read_bytes()
            (got,) = tflite214(data, {artifact.inputs[0].name: picture}).values()
            out = artifact.outputs[0]
            if out.scale is not None:
                got = (got.astype(np.float32) - out.zero_point) * out.scale
            right = computed(ours, artifact, pictures(1))
            assert np.abs(got - right).max() <= max(1e-5 * np.ptp(right), 1.001 * (out.scale or 0))


@pytest.mark.parametrize("precision", ["float16", "int8-dynamic", "int16x8"])
@pytest.mark.slow
def test_other_precisions(precision: str, tmp_path: Path) -> None:
    network, samples = classifier(), pictures(20)
    bundle = export(
        network,
        out=tmp_path / "out",
        inputs=["image"],
        input_size=SIDE,
        preprocessing=IMAGENET,
        calibration=samples.transpose(0, 3, 1, 2),
        precisions=[precision],
        opset=21,
    )
    for artifact in bundle.manifest.artifacts:
        right = expected(network, samples[:1], IMAGENET)
        got = computed(bundle, artifact, samples[:1])
        assert np.abs(got - right).max() < 0.05 * np.ptp(right)


@pytest.mark.slow
def test_every_batch(tmp_path: Path) -> None:
    network, samples = classifier(), pictures(20)
    bundle = export(
        network,
        out=tmp_path / "out",
        inputs=["image:nhwc"],
        input_size=SIDE,
        preprocessing=IMAGENET,
        calibration=samples,
        dynamic_batch=True,
        formats=["onnx"],
        io="uint8",
    )
    (artifact, _) = bundle.manifest.artifacts
    got = computed(bundle, artifact, samples[:3])
    right = np.concatenate([expected(network, samples[i : i + 1], IMAGENET) for i in range(3)])
    assert np.abs(got - right).max() < 1e-5 * np.ptp(right)


@pytest.mark.slow
def test_synthetic_pictures_are_bytes(tmp_path: Path) -> None:
    bundle = export(
        classifier(), out=tmp_path / "out", inputs=["image"], input_size=SIDE, preprocessing=HALF
    )
    inputs = np.load(tmp_path / "out" / "reference.npz")["input_0"]
    assert (inputs == np.rint(inputs)).all()
    assert inputs.min() >= 0
    assert 100 < inputs.max() <= 255
    shutil.rmtree(bundle.path)


def test_notices(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples = pictures(8).transpose(0, 3, 1, 2)
    options: dict[str, Any] = {"input_size": SIDE, "force": True, "formats": ["onnx"]}
    with caplog.at_level(logging.WARNING):
        export(
            classifier(),
            out=tmp_path / "out",
            preprocessing=HALF,
            io="uint8",
            calibration=samples,
            **options,
        )
    assert "take normalized values" in caplog.text
    assert 'pass inputs=["image"]' in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        export(
            classifier(),
            out=tmp_path / "out",
            inputs=["image"],
            preprocessing=HALF,
            io="uint8",
            calibration=((samples / 255 - 0.5) / 0.5).astype(np.float32),
            **options,
        )
    assert "take normalized values" not in caplog.text
    assert "and the files take bytes" in caplog.text


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (nn.Linear(4, 2), {"input_size": (4,)}, r"on one gray or color image, and .* \[1, 4\]"),
        (nn.Conv2d(4, 2, 3), {"input_size": (4, 8, 8)}, r"'input' of \[1, 4, 8, 8\]"),
        (classifier(), {"example": np.zeros((1, 3, 8, 8), np.float32)}, "is normalized already"),
        (
            classifier(),
            {"input_size": 8, "io": "int16", "precisions": ["int16x8"], "calibration": "random"},
            "does not go with io=.int16",
        ),
    ],
)
def test_refusals(network: nn.Module, options: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        export(network, out=tmp_path / "out", inputs=["image"], **options)
    assert not (tmp_path / "out").exists()
