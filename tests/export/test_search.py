"""``--search``, ``--max-size`` and ``--max-latency`` from the command line to the files."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import onnx_ir as ir
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn

from edgeconv.bundle import RECIPE_NAME, Bundle, Precision, sha256_of
from edgeconv.checksums import check_checksums
from edgeconv.cli import cli
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export import export
from edgeconv.export.accuracy_budget import Escalated, export_within
from edgeconv.export.capture.module import capture_module
from edgeconv.export.layer_rules import ALL_IN_INT8, LayerPrecision, LayerRule, read_layers
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions
from edgeconv.export.quantize.accuracy.escalation import Assessment, Attempt, Budget
from edgeconv.export.request import ExportRequest
from edgeconv.export.search import FrontPoint, along_front, find_front
from edgeconv.export.target import resolve_request
from edgeconv.models.randomize import randomize_, structured_input
from edgeconv.progress import no_progress

pytestmark = pytest.mark.slow

SHAPE = (2, 16, 16)


class OneWideBlock(nn.Module):
    """Channels from 1 to 1000 in the middle, all of which count behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 16, 3, padding=1), nn.ReLU())
        self.tail = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()) for _ in range(4))
        )
        self.register_buffer("factors", (1000.0 ** torch.linspace(0, 1, 16)).reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        wide = torch.maximum(h * self.factors, h.flip(1))
        out: Tensor = self.tail(wide * (1 / self.factors))
        return out


def wide_depthwise() -> nn.Sequential:
    """Channels from 1 to 1000 between depthwise layers, whose weights do not lose them."""
    network = nn.Sequential(
        nn.Conv2d(2, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.ReLU(),
        *(nn.Conv2d(16, 16, 3, padding=1) for _ in range(2)),
    )
    randomize_(network, shape=SHAPE)
    factors = (1000.0 ** torch.linspace(0, 1, 16)).reshape(-1, 1, 1, 1)
    with torch.no_grad():
        network[2].weight *= factors
        network[2].bias *= factors.flatten()
        network[4].weight /= factors
    return network


def front_of(network: nn.Module, *, int16: bool = True) -> tuple[FrontPoint, ...]:
    x = structured_input((16, *SHAPE)).numpy()
    graph = optimize(capture_module(network, (x[:1],), ["output"], 20))
    options, batches = QuantizeOptions(effort=0), [(each[None],) for each in x]
    return find_front(graph, batches, options, int16=int16, progress=no_progress)


def test_int16_is_chosen_where_it_wins() -> None:
    """It adds nothing to the weights, which float does."""
    front = front_of(wide_depthwise())
    assert front[0].name == "all in int8"
    assert front[0].sqnr_db < 10
    enough = [point for point in front if point.sqnr_db >= 20]
    cheapest = min(enough, key=lambda point: (point.outside, point.extra_bytes))
    assert {rule.precision for rule in cheapest.rules} == {LayerPrecision.INT16}
    assert cheapest.extra_bytes == 0
    assert cheapest.outside < 0.5


def test_int16_can_be_left_out() -> None:
    front = front_of(wide_depthwise(), int16=False)
    precisions = {rule.precision for point in front for rule in point.rules}
    assert precisions == {LayerPrecision.FLOAT32}


def test_something_is_left_in_int8_everywhere() -> None:
    """The network with everything in float is the most accurate one, and no int8 file."""
    front = front_of(wide_depthwise(), int16=False)
    assert front[-1].rules
    assert max(point.outside for point in front) < 1


def test_what_is_in_float_in_any_case_counts_as_outside_int8() -> None:
    x = structured_input((16, *SHAPE)).numpy()
    graph = optimize(capture_module(wide_depthwise(), (x[:1],), ["output"], 20))
    rule = LayerRule(name="6", precision=LayerPrecision.FLOAT32)
    options, batches = QuantizeOptions(effort=0, layers=(rule,)), [(each[None],) for each in x]
    plain = find_front(graph, batches, options, int16=False, progress=no_progress)[0]
    height, width = SHAPE[1:]
    by_layer = [2 * 9 * 16, 0, 9 * 16, 0, 9 * 16, 0, 16 * 9 * 16, 16 * 9 * 16]
    work = [height * width * (products + 16) for products in by_layer]
    assert plain.name == "all in int8"
    assert plain.outside == pytest.approx(work[6] / sum(work))


def test_a_layer_stays_beside_its_clip_that_int16_lacks() -> None:
    """The layer was put into int16 and its Clip into float: no range is known in between."""

    class Clipped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(2, 8, 3), nn.Conv2d(8, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.second(torch.clamp(self.first(x), -0.5, 1.0))
            return y

    front = front_of(randomize_(Clipped(), shape=SHAPE))
    rules = {rule.name: rule.precision for rule in front[-1].rules}
    assert rules == {
        "first": LayerPrecision.FLOAT32,
        "clamp": LayerPrecision.FLOAT32,
        "second": LayerPrecision.INT16,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("search")
    network = OneWideBlock()
    randomize_(network, shape=SHAPE)
    x = structured_input((32, *SHAPE)).numpy()
    ir.save(optimize(capture_module(network, (x[:1],), ["output"], 20)), path / "network.onnx")
    np.savez(path / "train.npz", x=x)
    return path


def run(folder: Path, out: Path, *options: str) -> Result:
    """Run the command."""
    network, data = str(folder / "network.onnx"), str(folder / "train.npz")
    fixed = ["export", network, "--calibration", data, "-o", str(out), "--effort", "0"]
    return CliRunner().invoke(cli, [*fixed, *options], standalone_mode=False)


def invoke(folder: Path, out: Path, *options: str) -> str:
    """What the command prints; it raises what it raises."""
    result = run(folder, out, *options)
    if result.exception is not None:
        raise result.exception
    return result.output


def int8_files(bundle: Path) -> dict[str, str]:
    artifacts = Bundle.load(bundle).manifest.artifacts
    return {a.path: sha256_of(bundle / a.path) for a in artifacts if a.precision is Precision.INT8}


def worst_db(bundle: Path) -> float:
    artifacts = Bundle.load(bundle).manifest.artifacts
    figures = [a.verification for a in artifacts if a.precision is Precision.INT8]
    return min(figure.sqnr_db for figure in figures if figure is not None)


def test_the_block_that_loses_everything_leaves_int8(folder: Path, tmp_path: Path) -> None:
    output = invoke(folder, tmp_path / "out", "--search", "--min-sqnr", "20")
    assert "blocks outside int8" in output
    rows = [line for line in output.splitlines() if " of 8 in " in line]
    assert rows
    assert max(map(len, rows)) <= 80
    assert worst_db(tmp_path / "out") >= 20
    rules = read_layers(tmp_path / "out" / RECIPE_NAME)
    assert {rule.name for rule in rules} == {"mul", "maximum", "mul_2"}
    bundle = Bundle.load(tmp_path / "out")
    check_checksums(bundle)
    sizes = {(a.format, a.precision): a.bytes for a in bundle.manifest.artifacts}
    for format, precision in sizes:
        if precision is Precision.INT8:
            assert sizes[format, precision] < 0.6 * sizes[format, Precision.FLOAT32]
    recipe = str(tmp_path / "out" / RECIPE_NAME)
    invoke(folder, tmp_path / "again", "--layers", recipe)
    assert int8_files(tmp_path / "again") == int8_files(tmp_path / "out")


def test_without_a_budget_the_front_is_printed_and_plain_int8_written(
    folder: Path, tmp_path: Path
) -> None:
    only = ("--precision", "int8", "--no-verify")
    output = invoke(folder, tmp_path / "out", "--search", *only)
    row = re.search(r"3 of 8 in float32 +([0-9.]+) dB +\+0 B", output)
    assert row is not None
    assert float(row[1]) >= 20
    assert "attempt" not in output  # there is no budget to meet
    invoke(folder, tmp_path / "plain", *only)
    recipe = str(tmp_path / "out" / RECIPE_NAME)
    invoke(folder, tmp_path / "again", "--layers", recipe, *only)
    assert int8_files(tmp_path / "out") == int8_files(tmp_path / "plain")
    assert int8_files(tmp_path / "again") == int8_files(tmp_path / "plain")


def test_one_that_keeps_more_and_fits_is_chosen(folder: Path, tmp_path: Path) -> None:
    only = ("--precision", "int8", "--format", "tflite")
    invoke(folder, tmp_path / "out", "--search", "--max-size", "20kB", *only)
    (file,) = Bundle.load(tmp_path / "out").manifest.artifacts
    assert file.bytes <= 20_000
    assert worst_db(tmp_path / "out") >= 20


def test_a_size_that_cannot_be_met_says_what_was_reached(folder: Path, tmp_path: Path) -> None:
    result = run(folder, tmp_path / "out", "--max-size", "1kB", "--precision", "int8", "--search")
    assert isinstance(result.exception, EdgeconvError)
    assert re.search(r"the smallest \d+(\.\d+)? kB", result.exception.message)
    # The tables are what the next try is chosen by.
    assert "blocks outside int8" in result.output
    assert re.search(r"as asked .* kB .* missed", result.output)
    assert not (tmp_path / "out").exists()


def test_a_latency_that_cannot_be_met_says_what_was_reached(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match=r"the fastest \d+(\.\d+)? µs"):
        invoke(folder, tmp_path / "out", "--max-latency", "1us", "--precision", "int8")
    assert not (tmp_path / "out").exists()


def test_a_module_is_searched_with_every_budget_at_once(tmp_path: Path) -> None:
    """At effort 1, where layers that stay in float one after the other are observed by channel."""
    x = structured_input((32, *SHAPE)).numpy()
    network = randomize_(
        nn.Sequential(OneWideBlock(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)),
        shape=SHAPE,
    )
    with torch.inference_mode():
        scores = network(torch.from_numpy(x)).numpy()
    labels = (scores - scores.mean(0)).argmax(1)
    with torch.no_grad():
        network[3].bias -= torch.from_numpy(scores.mean(0))
    request = ExportRequest(
        network,
        out=tmp_path / "out",
        input_size=SHAPE,
        calibration=x,
        labeled=(x, labels),
        search=True,
        min_sqnr=12,
        accuracy_budget=0.25,
        max_size=100_000,
        max_latency=1.0,
    )
    asked = export_within(resolve_request(request), latency=lambda files: [1e6] * len(files))
    assert asked.attempts[-1].met
    figures = asked.attempts[-1].figures
    assert figures.accuracy_drop is not None
    assert figures.accuracy_drop <= 0.25
    assert worst_db(tmp_path / "out") >= 12


def searched(network: nn.Module, out: Path, **limits: float) -> Escalated:
    """What a search at effort 0 finds, where every file takes a millisecond."""
    request = ExportRequest(
        network,
        out=out,
        input_size=SHAPE,
        calibration=structured_input((16, *SHAPE)).numpy(),
        quantization=QuantizeOptions(effort=0),
        search=True,
        **limits,
    )
    return export_within(resolve_request(request), latency=lambda files: [1e6] * len(files))


def test_limits_of_cost_alone_leave_int8_as_it_is(tmp_path: Path) -> None:
    """It keeps to them, and more room is no reason to take blocks to float32."""
    network = nn.Sequential(nn.Conv2d(SHAPE[0], 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    asked = searched(network, tmp_path / "out", max_latency=1.0, max_size=100_000)
    (plain,) = asked.attempts
    assert plain.met
    assert plain.figures.sqnr_db > 20
    assert asked.front[-1].sqnr_db > plain.figures.sqnr_db + 5
    assert read_layers(tmp_path / "out" / RECIPE_NAME) == ALL_IN_INT8


def test_int8_that_keeps_little_leaves_as_far_as_limits_allow(tmp_path: Path) -> None:
    """The cheapest network that keeps more, and one with something in int8."""
    asked = searched(wide_depthwise(), tmp_path / "out", max_latency=1.0)
    plain, chosen = (attempt.figures.sqnr_db for attempt in asked.attempts)
    assert plain < 10
    assert chosen > plain + 20


@pytest.mark.parametrize(
    ("device", "place"), [("local", "this machine"), (f"local:{sys.executable}", sys.executable)]
)
def test_latency_is_that_of_the_target(
    folder: Path, tmp_path: Path, device: str, place: str
) -> None:
    asked = ("--target", device, "--max-latency", "1s", "--precision", "int8")
    output = invoke(folder, tmp_path / "out", *asked, "--format", "tflite")
    assert place in " ".join(output.split())


def test_an_emulated_target_has_no_latency(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="emulated:pi4 is emulated"):
        invoke(folder, tmp_path / "out", "--target", "emulated:pi4", "--max-latency", "1s")


@pytest.mark.parametrize(
    "asked", [{"max_latency": 0.001}, {"max_size": 0}, {"max_latency": float("nan")}]
)
def test_wrong_limits_are_refused(folder: Path, tmp_path: Path, asked: dict[str, float]) -> None:
    with np.load(folder / "train.npz") as data, pytest.raises(UsageError):
        export(folder / "network.onnx", out=tmp_path / "out", calibration=data["x"], **asked)


@pytest.mark.parametrize("text", ["500", "1e3kB", "-1kB", "5 m", "kB"])
def test_a_size_has_a_unit(folder: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is not a size such as 5MB \(units: B, kB"):
        invoke(folder, tmp_path / "out", "--max-size", text)


@pytest.mark.parametrize(
    ("option", "text", "why"),
    [
        ("--max-size", f"{'9' * 400}MB", "the number is too large"),
        ("--max-size", "0B", "max size must be more than zero"),
        ("--max-latency", "0ms", "max latency must be more than zero"),
    ],
)
def test_a_limit_is_a_number_above_zero(
    folder: Path, tmp_path: Path, option: str, text: str, why: str
) -> None:
    with pytest.raises((click.BadParameter, UsageError), match=why):
        invoke(folder, tmp_path / "out", option, text)


def test_what_is_too_large_returns_from_repair_before_the_front_is_tried() -> None:
    budget = Budget(max_bytes=100)
    front = [front_point("1 of 2 in float32", 30.0, 50), front_point("1 of 2 in int16", 25.0, 0)]
    large = Assessment(20, None, 150, None, repaired=True)
    plain = Attempt.of("as asked", QuantizeOptions(), budget, large)

    def assess(options: QuantizeOptions) -> Assessment:
        return Assessment(12, None, 150 if options.decided().repair else 90, None)

    assert [each.name for each in along_front(plain, front, budget, assess)] == ["without repair"]
    plain = replace(plain, figures=replace(large, repaired=False))
    names = [each.name for each in along_front(plain, front, budget, assess)]
    assert "without repair" not in names  # which would be the same network
    small = Attempt.of("as asked", QuantizeOptions(), budget, Assessment(20, None, 90, None))
    assert along_front(small, front, budget, assess) == []
    demanding = Budget(min_sqnr_db=24, max_bytes=100)
    small = Attempt.of("as asked", QuantizeOptions(), demanding, small.figures)
    better = along_front(small, front, demanding, lambda options: Assessment(25, None, 90, None))
    assert [each.name for each in better] == ["1 of 2 in int16"]


def front_point(name: str, sqnr_db: float, extra_bytes: int) -> FrontPoint:
    rule = LayerRule(name="a", precision=LayerPrecision.FLOAT32)
    return FrontPoint(name, (rule,), sqnr_db, extra_bytes, 0.5)
