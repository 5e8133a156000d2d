"""The HTML page: whole, safe, and readable in a real browser at every width."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgeconv.bundle import Bundle
from edgeconv.cli.report_command import command
from edgeconv.export import export
from edgeconv.preprocessing import Preprocessing
from support.browser import looked_at
from support.profiles import PI4, conv, depthwise, made_profile, profiled
from support.results import made_classes, made_counts, made_evaluation, made_model, made_result

pytest.importorskip("matplotlib")

HOSTILE = "<script>alert(1)</script>\x1b[31m$x_1$ & 'quoted' \"names\".tflite"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    torch.manual_seed(0)
    found = []
    for width in (4, 8):
        network = nn.Sequential(
            nn.Conv2d(3, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36 * width, 5)
        )
        out = tmp_path_factory.mktemp("bundles") / f"width{width}"
        found.append(
            export(
                network,
                out=out,
                input_size=8,
                precisions=["float32", "int8"],
                calibration=np.random.default_rng(0).normal(size=(32, 3, 8, 8)).astype(np.float32),
            )
        )
    return found


def written(tmp_path: Path, *paths: Path, **options: str) -> str:
    out = tmp_path / "page.html"
    arguments = [*map(str, paths), "-o", str(out)]
    for name, value in options.items():
        arguments += [f"--{name}", value]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.stdout == f"wrote {out}\n"
    return out.read_text("utf-8")


class Tags(HTMLParser):
    """The elements of a page, which must close in the order in which they open."""

    VOID = frozenset({"meta", "link", "br", "img", "path", "use", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


def everything(bundles: list[Bundle], tmp_path: Path) -> list[Path]:
    """Bundles, and results of their files and of others."""
    models = [
        made_model(str(bundle.file(a)), [1000 * (index + 1) + 3 * process for process in range(3)])
        for bundle in bundles
        for index, a in enumerate(bundle.manifest.artifacts)
    ]
    files = [model.file for model in models]
    hashes = [a.sha256 for bundle in bundles for a in bundle.manifest.artifacts]
    models = [
        model.model_copy(update={"file": file.model_copy(update={"sha256": digest})})
        for model, file, digest in zip(models, files, hashes, strict=True)
    ]
    made_result(*models).save(tmp_path / "latency.json")
    made_counts({"a.onnx": 1000, "b.tflite": 700}).save(tmp_path / "counts.json")
    made_evaluation({"a.onnx": [True, False], "b.tflite": [True, True]}).save(
        tmp_path / "accuracy.json"
    )
    made_profile(
        profiled(
            "a.tflite",
            [
                conv("int8", 90_000),
                conv("float32", 900_000, name="head"),
                depthwise("int8", 40_000),
            ],
            board=PI4,
        )
    ).save(tmp_path / "operators.json")
    rng = np.random.default_rng(0)
    true = rng.integers(0, 5, 60)
    said = np.where(rng.random(60) < 0.8, true, rng.integers(0, 5, 60))
    changed = np.where(np.arange(60) % 6 == 5, (said + 1) % 5, said)
    made_classes(
        true.tolist(),
        {
            "a_float32.onnx": said.tolist(),
            "a_int8_with_a_rather_long_name.tflite": changed.tolist(),
        },
        classes=5,
        labels=("cat", HOSTILE, "a very long name of a class that goes on", "dog", "eel"),
        pictured=np.flatnonzero(said != changed).tolist(),
    ).save(tmp_path / "classes.json")
    names = ("latency", "counts", "accuracy", "operators", "classes")
    results = [tmp_path / f"{name}.json" for name in names]
    return [*(bundle.path for bundle in bundles), *results]


def test_everything_on_one_page(bundles: list[Bundle], tmp_path: Path) -> None:
    page = written(tmp_path, *everything(bundles, tmp_path))
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings[0] == "Accuracy against cost"
    assert [bundles[0].path.name in headings[1], bundles[1].path.name in headings[2]] == [True] * 2
    assert headings[3:] == [
        "Latency on local",
        "Instructions on an emulated Raspberry Pi 4 (cortex-a72)",
        "Accuracy on 2 samples of digits.npz",
        "Operators on ssh://pi",
        "Accuracy on 60 samples of digits.npz",
    ]
    # 3·3·3·8 weights and 8 biases of the second network's convolution.
    assert ">224</td>" in page
    tags = parsed(page)
    # The front, what two calibrations saw, the latencies, a roofline and two confusion matrices.
    assert sum(tag == "svg" for tag, _ in tags.seen) == 7
    assert sum(tag == "img" for tag, _ in tags.seen) == 10


def test_nothing_is_fetched_and_nothing_runs(bundles: list[Bundle], tmp_path: Path) -> None:
    tags = parsed(written(tmp_path, *everything(bundles, tmp_path)))
    assert not {"script", "iframe", "object"} & {tag for tag, _ in tags.seen}
    for _, attributes in tags.seen:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "src", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,", "data:image/png;"))


def test_names_of_others_are_only_text(tmp_path: Path) -> None:
    made_result(made_model(HOSTILE, [1000, 1001, 1002])).save(tmp_path / "r.json")
    page = written(tmp_path, tmp_path / "r.json", title=HOSTILE)
    tags = parsed(page)
    assert not any(tag == "script" for tag, _ in tags.seen)
    assert "\x1b" not in page
    assert page.count("&lt;script&gt;") >= 3
    assert "$x_1$" in page  # no formula


@pytest.mark.slow
def test_preprocessing_inside_is_said_in_words(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = export(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)),
        out=tmp_path / "out",
        input_size=8,
        formats=["onnx"],
        preprocessing=Preprocessing(mean=(0.5,) * 3, std=(0.25,) * 3),
        inputs=["image"],
        labels=("cat", "dog"),
    )
    page = written(tmp_path, made.path)
    assert "std 0.250 0.250 0.250, inside the files, which take bytes<" in page
    assert "2: cat, dog<" in page


def test_two_pages_of_the_same_are_equal(bundles: list[Bundle], tmp_path: Path) -> None:
    paths = everything(bundles, tmp_path)
    assert written(tmp_path, *paths) == written(tmp_path, *paths)


@pytest.mark.parametrize("content", ["", "{}", '{"schema_version": 2, "kind": "sonnet"}', "[1]"])
def test_what_is_no_result(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)
    result = CliRunner().invoke(command, [str(tmp_path / "r.json")])
    assert result.exception is not None
    assert "r.json" in str(result.exception)


def test_a_place_that_cannot_be_written(bundles: list[Bundle], tmp_path: Path) -> None:
    out = tmp_path / "none" / "page.html"
    result = CliRunner().invoke(command, [str(bundles[0].path), "-o", str(out)])
    assert "its folder does not exist" in str(result.exception)


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_in_a_browser(bundles: list[Bundle], tmp_path: Path, width: int) -> None:
    """Nothing overflows, and the console stays empty: a refused request would be an error there."""
    written(tmp_path, *everything(bundles, tmp_path))
    looked_at(tmp_path, width)
