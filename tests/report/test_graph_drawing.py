"""``inspect --svg`` and ``--html``: the rows, regions and lanes of a file, and a real browser."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgeconv.cli.inspect_command import command
from edgeconv.errors import UsageError
from edgeconv.export import export
from edgeconv.export.inspect.drawn import DrawnNode, Region, drawn_nodes
from edgeconv.export.quantize_options import QuantizeOptions
from edgeconv.report.graph_drawing import graph_page, graph_svg, lanes
from support.browser import looked_at

HOSTILE = "</title><script>alert(1)</script>\x1b[31m & 'quoted' \"names\""


def node(name: str, *sources: int, region: Region = Region.INTEGER) -> DrawnNode:
    return DrawnNode("CONV_2D", name, "1×8×8×16 int8", region, sources)


def test_branches_lie_side_by_side() -> None:
    """A line keeps its lane until its last reader, and no node lies on the line of another."""
    nodes = [node("a"), node("b", 0), node("c", 0), node("d", 1, 2), node("e", 3), node("f", 4, 0)]
    found = lanes(nodes)
    assert found[:3] == [0, 1, 2]
    for row, each in enumerate(nodes):
        for source in each.sources:
            between = range(source + 1, row)
            assert all(found[other] != found[source] for other in between)


def test_names_are_escaped() -> None:
    text = graph_svg([node(HOSTILE), node("b", 0, region=Region.FLOAT)], HOSTILE)
    root = ET.fromstring(text)
    assert "script" not in {each.tag.split("}")[1] for each in root.iter()}
    assert "<script>" in "".join(root.itertext())
    assert "\x1b" not in text


def test_five_hundred_operators_take_no_time() -> None:
    """Dense connections, the worst case of a real network: each row reads eight others."""
    nodes = [node(str(row), *range(max(0, row - 8), row)) for row in range(500)]
    begin = time.perf_counter()
    ET.fromstring(graph_svg(nodes, "large"))
    assert time.perf_counter() - begin < 3


class Branches(nn.Module):
    """Two branches, and an Elu that stays in float when it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.left = nn.Conv2d(8, 8, 3, padding=1)
        self.right = nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).relu()
        return nn.functional.relu(self.left(x) + self.right(x))


@pytest.mark.slow
def test_regions_of_real_files(tmp_path: Path) -> None:
    samples = torch.linspace(-1, 1, 4 * 3 * 8 * 8).reshape(4, 3, 8, 8).numpy()
    options = QuantizeOptions(keep_float=frozenset({"right"}))
    made = export(
        Branches(),
        out=tmp_path / "out",
        input_size=8,
        calibration=samples,
        quantization=options,
    )
    for artifact in made.manifest.artifacts:
        rows = drawn_nodes(made.file(artifact))
        computing = [row for row in rows if row.region is not Region.BORDER]
        floats = {row.name for row in computing if row.region is Region.FLOAT}
        if artifact.precision.value == "float32":
            assert len(floats) == len(computing)
        else:
            assert 0 < len(floats) < len(computing)
            assert any("right" in name for name in floats)
        (last,) = (row for row in rows if row.operator == "output")
        assert len(last.sources) == 1
        assert max(len(row.sources) for row in rows) == 2  # the sum of the branches
        svg, page = tmp_path / "g.svg", tmp_path / "g.html"
        arguments = [str(made.file(artifact)), "--svg", str(svg), "--html", str(page)]
        CliRunner().invoke(command, arguments, catch_exceptions=False)
        root = ET.fromstring(svg.read_text("utf-8"))
        shapes = [
            each for each in root.iter() if each.get("class") == "float" and "r" in each.attrib
        ]
        assert len(shapes) == len(floats) + 1  # and the legend
        assert "://" not in page.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    done = CliRunner().invoke(command, [str(made.path), "--svg", str(tmp_path / "b.svg")])
    assert isinstance(done.exception, UsageError)


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_in_a_browser(tmp_path: Path, width: int) -> None:
    """The page itself never scrolls sideways, and the console stays empty."""
    nodes = [node(f"{HOSTILE}{row}", *range(max(0, row - 3), row)) for row in range(60)]
    (tmp_path / "page.html").write_text(graph_page(nodes, HOSTILE), "utf-8")
    looked_at(tmp_path, width)
