"""Operators of attention that only ONNX Runtime has, against ONNX Runtime itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.bundle import Layout
from edgeconv.errors import CaptureError
from edgeconv.export.capture.onnx_file import capture_file
from edgeconv.export.passes import optimize
from edgeconv.export.tflite import lower
from support.runtimes import run_onnx, run_tflite

pytestmark = pytest.mark.slow

Array = npt.NDArray[Any]
BATCH, TOKENS, HEADS, DEPTH = 2, 5, 3, 4
WIDTH = HEADS * DEPTH


def reals(*shape: int) -> Array:
    rng = np.random.default_rng(sum(shape))
    return rng.standard_normal(shape).astype(np.float32)


def integers(values: Any) -> Array:
    return np.array(values, np.int32)


X16 = reals(BATCH, TOKENS, 16)
X, OTHER = reals(BATCH, TOKENS, WIDTH), reals(BATCH, 7, WIDTH)
WEIGHTS = {"w": reals(WIDTH, 3 * WIDTH), "b": reals(3 * WIDTH)}
PADDED = integers([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
CACHES = {
    name: function(np.arange(9)[:, None] * [[1.0, 0.3]]).astype(np.float32)
    for name, function in (("cos", np.cos), ("sin", np.sin))
}
WIDE_CACHES = {name: np.tile(cache, (1, 4)) for name, cache in CACHES.items()}
Case = tuple[str, str, str, Mapping[str, Array], Mapping[str, Array], Mapping[str, Any]]
N = {"num_heads": HEADS}
CASES: dict[str, Case] = {
    "attention": ("Attention", "x w b", "y", {"x": X}, WEIGHTS, N),
    "mask": ("Attention", "x w b m", "y", {"x": X, "m": PADDED}, WEIGHTS, N),
    "lengths": ("Attention", "x w b m", "y", {"x": X, "m": integers([3, 5])}, WEIGHTS, N),
    "mask of pairs": (
        *("Attention", "x w b m", "y", {"x": X}),
        {**WEIGHTS, "m": np.tril(np.ones((BATCH, TOKENS, TOKENS), np.int32))},
        N,
    ),
    "added": (
        *("Attention", "x w b - - a", "y", {"x": X, "a": reals(BATCH, HEADS, TOKENS, TOKENS)}),
        *(WEIGHTS, {**N, "scale": 0.3}),
    ),
    "causal": ("Attention", "x w b", "y", {"x": X}, WEIGHTS, {**N, "unidirectional": 1}),
    "widths": (
        *("Attention", "x w b", "y", {"x": X}),
        {"w": reals(WIDTH, 30), "b": reals(30)},
        {**N, "qkv_hidden_sizes": [12, 12, 6]},
    ),
    "apart": (
        *("MultiHeadAttention", "q k v b", "y", {"q": X, "k": OTHER, "v": 2 * OTHER}),
        *({"b": reals(3 * WIDTH)}, N),
    ),
    "masked apart": (
        *("MultiHeadAttention", "q k v - m", "y", {"q": X, "k": X + 1, "v": 2 * X, "m": PADDED}),
        *({}, {**N, "mask_filter_value": -1e9}),
    ),
    "causal apart": (
        *("MultiHeadAttention", "q k v", "y", {"q": X, "k": X + 1, "v": 2 * X}),
        *({}, {**N, "unidirectional": 1}),
    ),
    "heads first": (
        *("MultiHeadAttention", "q k v", "y", {"q": X}),
        {"k": reals(BATCH, HEADS, 6, DEPTH), "v": reals(BATCH, HEADS, 6, DEPTH) * 2},
        N,
    ),
    "states": (
        *("MultiHeadAttention", "q k v", "y p s", {"q": X, "k": OTHER, "v": 2 * OTHER}),
        *({}, N),
    ),
    "turned": (
        *("RotaryEmbedding", "x p cos sin", "y", {"x": X}),
        {"p": np.array([[0, 1, 2, 3, 4], [2, 3, 4, 5, 6]]), **CACHES},
        {},
    ),
    "turned in pairs": (
        *("RotaryEmbedding", "x p cos sin", "y", {"x": reals(BATCH, HEADS, TOKENS, DEPTH)}),
        *({"p": np.array([3]), **CACHES}, {"interleaved": 1}),
    ),
    "turned in part": (
        *("RotaryEmbedding", "x p cos sin", "y", {"x": reals(BATCH, TOKENS, 18)}),
        {"p": np.array([1]), **CACHES},
        {**N, "rotary_embedding_dim": 4},
    ),
    "embedded": (
        *("EmbedLayerNormalization", "i s w p t g b m", "y n e"),
        {"i": integers([[0, 3, 2, 9], [1, 1, 4, 5]]), "m": integers([[1, 1, 1, 0], [1, 1, 1, 1]])},
        {
            **{"w": reals(10, WIDTH), "p": reals(8, WIDTH), "t": reals(2, WIDTH)},
            **{"g": reals(WIDTH), "b": reals(WIDTH), "s": integers([[0, 0, 1, 1]] * 2)},
        },
        {"epsilon": 1e-5},
    ),
    "grouped": (
        *("GroupQueryAttention", "q k v - - l t", "y k2 v2"),
        {"q": reals(BATCH, TOKENS, 32), "k": X16, "v": 2 * X16},
        {"l": integers([4, 4]), "t": integers(5)},
        {"num_heads": 4, "kv_num_heads": 2},
    ),
    "grouped, of three tokens, bounded": (
        *("GroupQueryAttention", "q k v - - l t - - - a", "y k2 v2"),
        {
            "q": reals(BATCH, TOKENS, 32),
            "k": X16,
            "v": 2 * X16,
            "a": reals(BATCH, 1, TOKENS, TOKENS),
        },
        {"l": integers([4, 4]), "t": integers(5)},
        {"num_heads": 4, "kv_num_heads": 2, "local_window_size": 3, "softcap": 1.5},
    ),
    # As ONNX Runtime's builder of language models states what is not used.
    "grouped, all stated": (
        *("GroupQueryAttention", "q k v - - l t", "y k2 v2"),
        {"q": reals(BATCH, TOKENS, 32), "k": X16, "v": 2 * X16},
        {"l": integers([4, 4]), "t": integers(5)},
        {
            **{"num_heads": 4, "kv_num_heads": 2, "local_window_size": -1, "softcap": 0.0},
            "smooth_softmax": 0,
        },
    ),
    "grouped and turned": (
        *("GroupQueryAttention", "q - - - - l t cos sin", "y k2 v2"),
        {"q": reals(BATCH, TOKENS, 128)},
        {"l": integers([4, 4]), "t": integers(5), **WIDE_CACHES},
        {"num_heads": 4, "kv_num_heads": 2, "do_rotary": 1},
    ),
    "sampled": (
        *("GridSample", "x g", "y", {"x": reals(1, 2, 5, 6), "g": reals(1, 4, 3, 2) / 2}),
        *({}, {"mode": "bilinear", "padding_mode": "border"}),
    ),
    "sampled by cubes": (
        *("GridSample", "x g", "y", {"x": reals(1, 2, 5, 6), "g": reals(1, 4, 3, 2) / 2}),
        *({}, {"mode": "bicubic", "align_corners": 1}),
    ),
}


def saved(path: Path, case: Case, opset: int = 17, free: bool = False) -> Path:
    operator, inputs, outputs, feeds, constants, attributes = case
    names = [[("" if name == "-" else name) for name in text.split()] for text in (inputs, outputs)]
    node = helper.make_node(operator, *names, name="n", domain="com.microsoft", **attributes)
    types = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in feeds.items()}
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(
                name, types[name], ["b", *array.shape[1:]] if free else array.shape
            )
            for name, array in feeds.items()
        ],
        [
            helper.make_tensor_value_info(
                name, TensorProto.INT32 if (operator, name) == EMBEDDED else TensorProto.FLOAT, None
            )
            for name in names[1]
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def read(path: Path, feeds: Mapping[str, Array]) -> ir.Model:
    batch = next(iter(feeds.values())).shape[0]
    return capture_file(path, None, input_size=None, batch=batch).graph


EMBEDDED = "EmbedLayerNormalization", "n"


@pytest.mark.parametrize("name", CASES)
def test_files_compute_what_onnx_runtime_computes(name: str, tmp_path: Path) -> None:
    feeds = CASES[name][3]
    path = saved(tmp_path / "n.onnx", CASES[name])
    expected = run_onnx(path, feeds)
    graph = optimize(read(path, CASES[name][3]))
    onnx_file = ir.to_proto(graph).SerializeToString()
    tflite_file = lower(graph, layout=Layout.NCHW).data
    for outputs in (run_onnx(onnx_file, feeds), run_tflite(tflite_file, feeds)):
        for each, wanted in expected.items():
            # float32 of sums of a dozen products.
            np.testing.assert_allclose(outputs[each], wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["mask", "apart", "turned", "embedded"])
def test_an_open_batch(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "n.onnx", CASES[name], free=True)
    feeds = CASES[name][3]
    graph = optimize(read(path, CASES[name][3]))
    got = run_onnx(ir.to_proto(graph).SerializeToString(), feeds)
    for each, wanted in run_onnx(path, feeds).items():
        np.testing.assert_allclose(got[each], wanted, atol=1e-5)


def test_opsets_before_the_operators_of_the_standard(tmp_path: Path) -> None:
    for name in ("sampled", "embedded", "causal"):
        path = saved(tmp_path / "n.onnx", CASES[name], opset=13)
        graph = optimize(read(path, CASES[name][3]))
        got = run_onnx(ir.to_proto(graph).SerializeToString(), CASES[name][3])
        for each, wanted in run_onnx(path, CASES[name][3]).items():
            np.testing.assert_allclose(got[each], wanted, atol=1e-5)


def test_a_cache_is_refused_by_name(tmp_path: Path) -> None:
    past = {"k": reals(BATCH, HEADS, 3, DEPTH), "o": reals(BATCH, HEADS, 3, DEPTH)}
    case = ("MultiHeadAttention", "x x x - - - k o", "y p s", {"x": X, **past}, {}, N)
    path = saved(tmp_path / "n.onnx", case)
    with pytest.raises(CaptureError, match=r"n \(MultiHeadAttention\): it reads keys") as refusal:
        read(path, {"x": X})
    assert refusal.value.hint == "export without a cache"


def test_a_window_of_no_token_is_refused(tmp_path: Path) -> None:
    operator, inputs, outputs, feeds, constants, attributes = CASES["grouped"]
    case = (operator, inputs, outputs, feeds, constants, {**attributes, "local_window_size": 0})
    with pytest.raises(
        CaptureError, match=r"n \(GroupQueryAttention\): its local_window_size is 0"
    ):
        read(saved(tmp_path / "n.onnx", case), feeds)
