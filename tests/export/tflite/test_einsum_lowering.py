"""Einsum against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite import lower
from support.lowering import Net, as_model, check, operators, smooth

SIZES = dict(zip("bhijkc", (2, 3, 4, 5, 6, 7), strict=True))


def shape(term: str) -> tuple[int, ...]:
    return tuple(SIZES[label] for label in term)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(
    ("a", "b", "result"),
    [
        ("ij", "jk", "ik"),
        ("ij", "kj", "ki"),
        ("bhic", "bhjc", "bhij"),
        ("bihc", "bjhc", "bhij"),
        ("bhij", "bjhc", "bihc"),
        ("bchi", "ck", "bkhi"),
        ("i", "j", "ij"),
        ("bij", "jc", "bi"),
        ("bij", "bij", "b"),
        ("ij", "ij", ""),
    ],
)
def test_two_operands(a: str, b: str, result: str, constant: bool) -> None:
    net = Net()
    feeds = {"x": smooth(shape(a)), "y": smooth(shape(b), 1)}
    x = net.input("x", shape(a))
    y = net.constant(feeds.pop("y")) if constant else net.input("y", shape(b))
    net.output(net.op("Einsum", x, y, equation=f"{a}, {b} -> {result}"))
    names = operators(check(net, feeds))
    if constant and a == "bchi":
        assert set(names) == {"FULLY_CONNECTED", "RESHAPE"}, "a 1x1 convolution of a map"


@pytest.mark.parametrize("equation", ["bij->bji", "bij->b", "bij->ij", "bij", "...j->...", "bij->"])
def test_one_operand(equation: str) -> None:
    net = Net()
    net.output(net.op("Einsum", net.input("x", shape("bij")), equation=equation))
    check(net, {"x": smooth(shape("bij"))})


@pytest.mark.parametrize("equation", ["...ij,...jk", "...ij,...jk->...ik"])
def test_an_ellipsis(equation: str) -> None:
    net = Net()
    x, y = net.input("x", shape("bhij")), net.input("y", shape("bhjk"))
    net.output(net.op("Einsum", x, y, equation=equation))
    check(net, {"x": smooth(shape("bhij")), "y": smooth(shape("bhjk"), 1)})


@pytest.mark.parametrize(
    "equation",
    [
        "ij,jk,kc->ic",
        "bhi,bij,bjk,kc->bhc",
        "i,i,i->",
        "i,j,k",
        "...ij,jk,...ik->...j",
        "ij,ij,ij->ij",
        "ii->i",
        "bjj->b",
        "jbj,j->bj",
        "iii->i",
    ],
)
def test_operands_in_pairs_and_diagonals(equation: str) -> None:
    net, feeds = Net(), {}
    for index, term in enumerate(equation.partition("->")[0].split(",")):
        feeds[f"x{index}"] = smooth(shape(term.replace("...", "bh")), index)
        net.input(f"x{index}", feeds[f"x{index}"].shape)
    net.output(net.op("Einsum", *feeds, equation=equation))
    check(net, feeds)


def test_operands_that_broadcast() -> None:
    net = Net()
    x, y = net.input("x", (2, 1, 4, 5)), net.input("y", (1, 3, 5, 6))
    net.output(net.op("Einsum", x, y, equation="...ij,...jk->...ik"))
    check(net, {"x": smooth((2, 1, 4, 5)), "y": smooth((1, 3, 5, 6), 1)})


@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        ("ij,jk->ik", ["ij", "kc"], "axes of one label have 5 and 6 elements"),
    ],
)
def test_refusals(equation: str, shapes: list[str], message: str) -> None:
    net = Net()
    inputs = [net.input(f"x{index}", shape(term)) for index, term in enumerate(shapes)]
    net.output(net.op("Einsum", *inputs, equation=equation))
    with pytest.raises(UnsupportedOperator, match=message):
        lower(as_model(net.proto()))


def test_attention_needs_no_transposes_of_its_own() -> None:
    net = Net()
    heads = [net.input(name, shape("bihc")) for name in ("q", "k", "v")]
    scores = net.op("Softmax", net.op("Einsum", *heads[:2], equation="bihc,bjhc->bhij"), axis=-1)
    net.output(net.op("Einsum", scores, heads[2], equation="bhij,bjhc->bihc"))
    feeds = {name: smooth(shape("bihc"), seed) for seed, name in enumerate("qkv")}
    names = operators(check(net, feeds))
    assert names.count("BATCH_MATMUL") == 2
    assert np.isin(names, ["BATCH_MATMUL", "SOFTMAX", "TRANSPOSE", "RESHAPE"]).all()
