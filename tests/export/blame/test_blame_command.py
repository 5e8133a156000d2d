"""``edgeconv blame`` from the command line: table, JSON, plot, refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from edgeconv.cli import cli
from edgeconv.errors import EdgeconvError
from edgeconv.report.stacked import WIDTH
from support.blame_graphs import data, float_bundle, save, weights
from support.command_line import as_printed

pytestmark = pytest.mark.slow


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(
        cli, ["blame", *map(str, arguments)], catch_exceptions=False, standalone_mode=False
    )
    return result.output


def test_a_model_and_its_plot(tmp_path: Path) -> None:
    model, samples = save(tmp_path / "small.onnx", weights()), data(tmp_path / "data.npz")
    plot, page = tmp_path / "plot.svg", tmp_path / "page.html"
    output = run(model, "--data", samples, "--limit", "2", "--plot", plot, "--html", page)
    lines = output.splitlines()
    assert lines[0].startswith("small.onnx: int8 keeps ")
    assert " dB at the output, over 12 samples of data.npz (ranges: " in lines[0]
    assert " ".join(lines[1].split()).startswith("layer operator alone noise in place")
    assert [line.split()[1] for line in lines[2:4]] == ["Conv", "Conv"]
    assert "█" in lines[2]
    assert max(map(len, lines[1:4])) <= WIDTH
    assert any(line.startswith(f"{lines[2].split()[0]}: ") for line in lines[4:])  # its reason
    assert any(line.startswith("1 more layers make ") for line in lines[4:])
    assert "<h2>Where small.onnx loses accuracy in int8</h2>" in page.read_text("utf-8")
    root = ElementTree.fromstring(plot.read_text(encoding="utf-8"))
    titles = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert [title[0] for title in titles] == ["a", "b", "c"]


def test_a_bundle_as_json(tmp_path: Path) -> None:
    bundle = float_bundle(tmp_path, weights())
    output = run(bundle.path, "--data", data(tmp_path / "data.npz"), "--range", "mse", "--json")
    found = json.loads(output)
    assert found["schema_version"] == 1
    assert found["method"] == "mse"
    assert found["file_sqnr_db"] is None
    assert {layer["name"] for layer in found["layers"]} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--plot", "plot.png"], "the plot is an SVG\nhint: name it plot.svg"),
        (["--weights", "w.safetensors"], "--weights does not apply to .*: a bundle is complete"),
        (["--model-arg", "a=1"], "--model-arg does not apply to .*: a bundle is complete"),
    ],
)
def test_refusals(tmp_path: Path, options: list[str], message: str) -> None:
    bundle = float_bundle(tmp_path, weights())
    with pytest.raises(EdgeconvError) as refused:
        run(bundle.path, "--data", data(tmp_path / "data.npz"), *options)
    assert re.search(message, as_printed(refused.value))
