"""Parts of networks, and outputs whose size depends on the data."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgeconv.bundle import OPEN, Bundle
from edgeconv.cli.export_command import command
from edgeconv.errors import CaptureError, UnsupportedOperator, UsageError
from edgeconv.export import export
from edgeconv.export.runtimes import open_runner
from edgeconv.export.verify.bundle import verify_bundle
from edgeconv.report.bundle import print_bundle
from support.runtimes import run_onnx

Array = npt.NDArray[np.float32]
RNG = np.random.default_rng(0)
# Two kernels sum 27 and 8 products in different orders.
ROUNDING = 1e-5


def reals(*shape: int) -> Array:
    return (RNG.standard_normal(shape) * 0.3).astype(np.float32)


def detector(path: Path) -> Path:
    """Boxes and scores of a convolution, the best of them, and where the features are not zero."""
    constants = {
        **{"w": reals(8, 3, 3, 3), "wb": reals(4, 8, 1, 1), "ws": reals(2, 8, 1, 1)},
        **{"sb": np.array([1, 4, 64]), "ss": np.array([1, 2, 64]), "most": np.array([10])},
        **{"iou": np.array([0.5], np.float32), "least": np.array([0.52], np.float32)},
        **{"two": np.array([2]), "axis": np.array([1])},
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "stem", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["features"]),
        helper.make_node("Conv", ["features", "wb"], ["b"]),
        helper.make_node("Conv", ["features", "ws"], ["s"]),
        helper.make_node("Reshape", ["b", "sb"], ["columns"]),
        helper.make_node("Transpose", ["columns"], ["boxes"], "to_boxes", perm=[0, 2, 1]),
        helper.make_node("Reshape", ["s", "ss"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"], "to_scores"),
        helper.make_node(
            "NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], ["chosen"], "nms"
        ),
        helper.make_node("NonZero", ["features"], ["places"]),
        helper.make_node("Gather", ["chosen", "two"], ["rows"], axis=1),
        helper.make_node("Squeeze", ["rows", "axis"], ["row"]),
        helper.make_node("Gather", ["boxes", "row"], ["best"], axis=1),
    ]
    outputs = [
        helper.make_tensor_value_info("chosen", TensorProto.INT64, ["k", 3]),
        helper.make_tensor_value_info("places", TensorProto.INT64, [4, "n"]),
        helper.make_tensor_value_info("best", TensorProto.FLOAT, [1, "k", 4]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def outputs(bundle: Bundle, x: Array) -> dict[str, list[Array]]:
    found = {}
    for artifact in bundle.manifest.artifacts:
        file = bundle.file(artifact)
        runner = open_runner(
            file, artifact.format, artifact.inputs, artifact.outputs, bundle.manifest
        )
        found[artifact.path] = runner.run([x])
    return found


def test_results_of_any_size_pass_through_to_onnx(tmp_path: Path) -> None:
    path = detector(tmp_path / "n.onnx")
    bundle = export(path, out=tmp_path / "out", formats=["onnx"])
    shapes = {info.name: info.shape for info in bundle.manifest.outputs}
    assert shapes == {"chosen": (OPEN, 3), "places": (4, OPEN), "best": (1, OPEN, 4)}
    (artifact,) = bundle.manifest.artifacts
    assert artifact.verification is not None
    assert artifact.verification.passed
    assert verify_bundle(Bundle.load(tmp_path / "out")).artifacts[artifact.path].passed
    for _ in range(3):
        x = reals(1, 3, 8, 8) * 4
        expected = run_onnx(path, {"x": x})
        assert len(expected["chosen"]) > 0
        for name, got in zip(shapes, outputs(bundle, x)[artifact.path], strict=True):
            np.testing.assert_allclose(got, expected[name], atol=ROUNDING)


def test_the_rest_of_such_a_network_becomes_int8(tmp_path: Path) -> None:
    path = detector(tmp_path / "n.onnx")
    np.save(tmp_path / "x.npy", reals(24, 3, 8, 8))
    bundle = export(
        path,
        out=tmp_path / "out",
        formats=["onnx"],
        precisions=["int8"],
        calibration=tmp_path / "x.npy",
        verify=False,  # which boxes are chosen depends on ties between rounded scores
    )
    kinds = {node.op_type for node in onnx.load(tmp_path / "out" / "n_int8.onnx").graph.node}
    assert {"QuantizeLinear", "NonMaxSuppression"} <= kinds
    reasons = bundle.manifest.artifacts[0].float_fallback
    assert any("depends on the data" in each for each in reasons)


def test_tflite_refuses_them_and_shows_where_to_cut(tmp_path: Path) -> None:
    path = detector(tmp_path / "n.onnx")
    with pytest.raises(UnsupportedOperator, match=r"nms \(NonMaxSuppression\)") as caught:
        export(path, out=tmp_path / "out")
    assert "--cut-outputs boxes,scores, or pass only --format onnx" in caught.value.hint


@pytest.mark.parametrize("names", [["boxes", "scores"], ["to_boxes", "to_scores"]])
def test_the_part_before_becomes_both_formats(tmp_path: Path, names: list[str]) -> None:
    path = detector(tmp_path / "n.onnx")
    bundle = export(path, out=tmp_path / "out", cut_outputs=names)
    assert [info.name for info in bundle.manifest.outputs] == ["boxes", "scores"]
    x = reals(1, 3, 8, 8)
    whole = onnx.load(path)
    for name in ("boxes", "scores"):
        whole.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    expected = run_onnx(whole.SerializeToString(), {"x": x})
    files = outputs(bundle, x)
    assert len(files) == 2
    for boxes, scores in files.values():
        np.testing.assert_allclose(boxes, expected["boxes"], atol=ROUNDING)
        np.testing.assert_allclose(scores, expected["scores"], atol=ROUNDING)


def test_what_is_cut_off_may_be_foreign(tmp_path: Path) -> None:
    path = detector(tmp_path / "n.onnx")
    model = onnx.load(path)
    model.graph.node.append(
        helper.make_node("Draw", ["best"], ["picture"], "draw", domain="some.where")
    )
    model.opset_import.append(helper.make_opsetid("some.where", 1))
    model.graph.output.append(helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1]))
    onnx.save(model, path)
    bundle = export(path, out=tmp_path / "out", cut_outputs=["scores"])
    assert len(bundle.manifest.artifacts) == 2


def test_a_near_name_is_suggested(tmp_path: Path) -> None:
    path = detector(tmp_path / "n.onnx")
    with pytest.raises(UsageError, match="no node or computed tensor 'boxs'") as caught:
        export(path, out=tmp_path / "out", cut_outputs=["boxs"])
    assert "did you mean 'boxes'" in caught.value.hint
    with pytest.raises(UsageError, match="no node or computed tensor 'x'"):  # an input
        export(path, out=tmp_path / "out", cut_outputs=["x"])
    with pytest.raises(UsageError, match=r"pass \['boxes'\]"):
        export(path, out=tmp_path / "out", cut_outputs="boxes")
    assert not (tmp_path / "out").exists()


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(x).tanh())
        return logits


def test_modules_are_cut_by_the_names_of_their_graph(tmp_path: Path) -> None:
    network = Two().eval()
    with pytest.raises(UsageError, match="'tanh_1'") as caught:
        export(network, out=tmp_path / "out", input_size=(6,), cut_outputs=["tanh_1"])
    assert "'tanh'" in caught.value.hint
    bundle = export(network, out=tmp_path / "out", input_size=(6,), cut_outputs=["tanh"])
    x = reals(1, 6)
    with torch.no_grad():
        expected = network.body(torch.from_numpy(x)).tanh().numpy()
    for (got,) in outputs(bundle, x).values():
        np.testing.assert_allclose(got, expected, atol=ROUNDING)


@pytest.mark.parametrize(
    ("names", "words"),
    [(["tanh"], "against the part of the network that was exported"), ([], "against PyTorch:")],
)
def test_what_the_files_are_held_against_is_no_file_of_the_users(
    names: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = export(Two().eval(), out=tmp_path / "out", input_size=(6,), cut_outputs=names)
    print_bundle(bundle)
    assert words in " ".join(capsys.readouterr().out.split())


def test_the_command_line_takes_names_with_commas(tmp_path: Path) -> None:
    path, out = detector(tmp_path / "n.onnx"), tmp_path / "out"
    arguments = [str(path), "-o", str(out), "--cut-outputs", "boxes, scores", "--json"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert [info.name for info in Bundle.load(out).manifest.outputs] == ["boxes", "scores"]


def test_a_batch_norm_that_loses_its_statistics_is_refused(tmp_path: Path) -> None:
    """ONNX Runtime dies of it."""
    names = ("scale", "bias", "mean", "variance")
    norm = helper.make_node(
        "BatchNormalization", ["x", *names], ["y", "", ""], "norm", training_mode=1
    )
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in ("x", "y")]
    constants = [numpy_helper.from_array(np.ones(3, np.float32), name) for name in names]
    graph = helper.make_graph([norm], "g", info[:1], info[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.save(model, tmp_path / "n.onnx")
    with pytest.raises(CaptureError, match=r"norm \(BatchNormalization\) is in training mode"):
        export(tmp_path / "n.onnx", out=tmp_path / "out")


def test_constants_are_not_offered(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["head_0"], "head_0_node", value_floats=[1.0, 2.0]),
        helper.make_node("Neg", ["head_0"], ["head_1"], "head_1_node"),
        helper.make_node("Shape", ["x"], ["head_2"], "head_2_node"),
        helper.make_node("Add", ["x", "head_1"], ["head_sum"], "head_sum_node"),
        helper.make_node("Relu", ["head_sum"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(each, TensorProto.FLOAT, [1, 2]) for each in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y])
    path = tmp_path / "n.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path
    )
    for wrong in ("head_3", "nothing of the kind"):
        with pytest.raises(UsageError) as caught:
            export(path, out=tmp_path / "out", cut_outputs=[wrong])
        assert not re.search(r"head_\d", caught.value.hint.replace(wrong, ""))
    assert "one of its 4 nodes and tensors, such as 'head_sum', 'y'" in caught.value.hint
