"""A network that draws random numbers is refused by the name of the operator, in every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgeconv.errors import UnsupportedOperator
from edgeconv.export import Format, export

SHAPE = (1, 8)
FORMATS = pytest.mark.parametrize("form", list(Format))


def saved(
    path: Path, *nodes: onnx.NodeProto, ratio: float = 0.4, functions: tuple[str, ...] = ()
) -> Path:
    """A graph from x to y with the constants ``ratio`` and ``train``."""
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)],
        [
            numpy_helper.from_array(np.float32(ratio), "ratio"),
            numpy_helper.from_array(np.array(True), "train"),
        ],
    )
    of_own = [
        helper.make_function("own", name, ["x", "ratio", "train"], ["y"], [dropout()], domains[:1])
        for name in functions
    ]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=8, functions=of_own), path)
    return path


def dropout(result: str = "y") -> onnx.NodeProto:
    return helper.make_node("Dropout", ["x", "ratio", "train"], [result], name="drop")


def branch(node: onnx.NodeProto) -> onnx.GraphProto:
    (result,) = node.output
    value = helper.make_tensor_value_info(result, TensorProto.FLOAT, SHAPE)
    return helper.make_graph([node], result, [], [value])


@FORMATS
def test_dropout_in_training(tmp_path: Path, form: Format) -> None:
    path = saved(tmp_path / "n.onnx", dropout())
    with pytest.raises(UnsupportedOperator, match=r"drop \(Dropout\): .*random.*\n.*EVAL"):
        export(path, out=tmp_path / "out", formats=[form], precisions=["float32"])


def test_dropout_in_training_in_a_branch(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "n.onnx",
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "ratio"], ["c"]),
        helper.make_node(
            "If",
            ["c"],
            ["y"],
            then_branch=branch(dropout("then")),
            else_branch=branch(helper.make_node("Abs", ["x"], ["else"])),
        ),
    )
    with pytest.raises(UnsupportedOperator, match=r"drop \(Dropout\): it draws random"):
        export(path, out=tmp_path / "out", formats=["onnx"], precisions=["float32"])


def test_dropout_in_training_in_a_function(tmp_path: Path) -> None:
    call = helper.make_node("Own", ["x", "ratio", "train"], ["y"], domain="own")
    path = saved(tmp_path / "n.onnx", call, functions=("Own",))
    with pytest.raises(UnsupportedOperator, match=r"drop\S* \(Dropout\): it draws random"):
        export(path, out=tmp_path / "out", formats=["onnx"], precisions=["float32"])


def test_dropout_of_nothing_is_no_random_number(tmp_path: Path) -> None:
    path = saved(tmp_path / "n.onnx", dropout(), ratio=0)
    export(path, out=tmp_path / "out", formats=["onnx"], precisions=["float32"])


@FORMATS
@pytest.mark.parametrize("kind", ["RandomNormalLike", "RandomUniformLike", "Bernoulli"])
def test_operators_that_draw(tmp_path: Path, kind: str, form: Format) -> None:
    nodes = (
        helper.make_node("Sigmoid", ["x"], ["p"]),
        helper.make_node(kind, ["p"], ["drawn"], name="noise"),
        helper.make_node("Add", ["p", "drawn"], ["y"]),
    )
    path = saved(tmp_path / "n.onnx", *nodes)
    with pytest.raises(UnsupportedOperator, match=rf"noise \({kind}\): it draws random numbers"):
        export(path, out=tmp_path / "out", formats=[form], precisions=["float32"])


class Noisy(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand_like(x)


@FORMATS
def test_a_module_that_draws(tmp_path: Path, form: Format) -> None:
    with pytest.raises(UnsupportedOperator, match=r"\(RandomUniformLike\): it draws random"):
        export(
            Noisy().eval(),
            out=tmp_path / "out",
            inputs=["x:1,8"],
            formats=[form],
            precisions=["float32"],
        )
