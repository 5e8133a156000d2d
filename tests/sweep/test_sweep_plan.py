"""What a plan says, what it comes to, and how wrong ones are refused."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.bundle import Precision
from edgeconv.errors import UsageError
from edgeconv.export.quantize_options import RangeMethod
from edgeconv.limits import LimitExceeded
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.candidates import candidates
from edgeconv.sweep.chains import stages_of_chains
from edgeconv.sweep.contents import content_of
from edgeconv.sweep.estimate import estimate
from edgeconv.sweep.plan import EXAMPLE, Exports, Models, Plan, read_plan
from edgeconv.units import bytes_of, seconds_of


def written(folder: Path, text: str) -> Path:
    path = folder / "plan.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_example_is_a_plan(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, EXAMPLE))
    # Two widths, two sizes, two precisions.
    assert len(candidates(plan)) == 8


def test_all_that_the_example_mentions_can_be_written(tmp_path: Path) -> None:
    whole = re.sub(r"^# (?=\[|\w+ = )", "", EXAMPLE, flags=re.M)
    plan = read_plan(written(tmp_path, whole.replace('"validation"', '"v.npz"')))
    assert plan.question.max_latency == pytest.approx(0.033)
    assert plan.question.max_size == 5_000_000
    assert plan.evaluate is not None
    assert plan.evaluate.data == tmp_path / "v.npz"
    assert plan.model[0].weights == f"{tmp_path}/trained/{{name}}-{{width_mult}}.safetensors"


MODEL = '[[model]]\nname = "resnet8"\n'
STAGES = "args = {{ stage = {} }}\n"
EXITS = "[early_exit]\n"
DATA = "[evaluate]\ndata = 'test.npz'\n"
COSTS = "[count]\ndevices = ['emulated:pi4']\n"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", "model: it is missing"),
        ("model = []", "model: the list is empty"),
        (MODEL + "sizes = 3", "model.0.sizes: there is no such key"),
        (MODEL + "[export]\nprecisions = ['int4']", "export.precisions.0: Input should be"),
        (MODEL + "[export]\nprecisions = ['int8']", "export.calibration: int8 needs"),
        (MODEL + "[export]\nefforts = [1, 1]", "export.efforts: 1 is listed twice"),
        (MODEL + "[export]\nefforts = [true]", "export.efforts.0: Input should be a valid integer"),
        (MODEL + "[measure]\ndevices = ['local']\nruns = true", "measure.runs: Input should be a"),
        (MODEL + "[export]\nefforts = [9]", "export.efforts.0: Input should be less"),
        (MODEL + "args = { width_mult = [] }", "model.0.args: width_mult: the list is empty"),
        (MODEL + "[measure]\ndevices = []", "measure.devices: the list is empty"),
        (MODEL + "[measure]\ndevices = ['local']\nseconds = nan", "measure.seconds: "),
        (MODEL + "[count]\ndevices = ['local']", "count.devices.0: String should match"),
        (MODEL + "[question]\nmax_latency = 33", "33 is not a duration such as 33ms"),
        (MODEL + "[question]\nmax_size = '5 parsecs'", "'5 parsecs' is not a size such as 5MB"),
        (MODEL + "[question]\nmax_latency = '3ms'", "question.max_latency: nothing is measured"),
        (MODEL + "[question]\nmax_latency = '-3ms'", "'-3ms' is not a duration"),
        (MODEL + EXITS, "early_exit: thresholds are found on classified data"),
        (MODEL + EXITS + DATA + "task = 'regression'", "early_exit: thresholds are found on"),
        (MODEL + EXITS + DATA, "early_exit: no stage has a cost"),
        (MODEL + EXITS + DATA + COSTS, "early_exit: no model has the argument stage"),
        (MODEL + STAGES.format("[0]") + EXITS + DATA + COSTS, "stage is not the stages of a"),
        (MODEL + STAGES.format("[1, 2]") + EXITS + DATA + COSTS, "stage is not the stages of a"),
        (MODEL + STAGES.format("[false, true]") + EXITS + DATA + COSTS, "stage is not the stages"),
        (MODEL + EXITS + "confidence = ['hope']", "early_exit.confidence.0: Input should be"),
        ("[[model]\n", "is not TOML"),
        ("[model]\nname = 'm'", "model: Input should be a list"),
        ("[[model]]\nname = ''", "model.0.name.0: String should have"),
        (MODEL + "[export]\nprecisions = 'int8'", "export.precisions: Input should be a list"),
        (MODEL + "args = { w = [[1]] }", "model.0.args.w.0: an argument is a text, a finite"),
        (MODEL + "args = { w = inf }", "model.0.args.w.0: an argument is a text, a finite"),
        (MODEL + "input_size = 0", "model.0.input_size.0: '0' is not a size"),
        (MODEL + "input_size = ['4x-2']", "model.0.input_size.0: '4x-2' is not a size"),
        (MODEL + "input_size = true", "model.0.input_size.0: a size is a whole number"),
        (MODEL + f"[question]\nmax_size = '{'9' * 400}MB'", "max_size: the number is too large"),
    ],
)
def test_wrong_plans(tmp_path: Path, text: str, key: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_plan(path)
    assert key in caught.value.message
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_what_files_are_missing(tmp_path: Path) -> None:
    for text in (
        '[[model]]\nname = "net.onnx"',
        MODEL + 'weights = "w.safetensors"',
        MODEL + "[export]\nprecisions = ['int8']\ncalibration = 'c.npz'",
    ):
        with pytest.raises(UsageError, match=r"/(net.onnx|w.safetensors|c.npz) does not exist"):
            candidates(read_plan(written(tmp_path, text)))


def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe would be waited for, and a folder's files would all be read."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for weights in ("pipe", "folder"):
        plan = read_plan(written(tmp_path, MODEL + f'weights = "{weights}"'))
        with pytest.raises(UsageError, match=f"/{weights} is no file"):
            candidates(plan)
    with pytest.raises(UsageError, match="/pipe is no file"):
        content_of(tmp_path / "pipe")


@pytest.mark.parametrize("spec", ["no_such_package.nets:net", "a..b:net", ":net"])
def test_a_module_that_is_not_there_fails_in_its_export(tmp_path: Path, spec: str) -> None:
    (job,) = candidates(read_plan(written(tmp_path, f'[[model]]\nname = "{spec}"')))
    assert job.model == spec


def test_a_plan_of_too_many_exports_is_refused_before_they_are_made(tmp_path: Path) -> None:
    values = list(range(4000))
    plan = read_plan(written(tmp_path, MODEL + f"args = {{ a = {values}, b = {values} }}"))
    with pytest.raises(LimitExceeded, match=r"the plan has 16\.0 M exports, and the limit is"):
        candidates(plan)


def test_the_decoder_of_a_detector_lies_beside_the_plan(tmp_path: Path) -> None:
    text = MODEL + "[evaluate]\ndata = 'v'\ntask = 'detection:own.py:decode'"
    evaluate = read_plan(written(tmp_path, text)).evaluate
    assert evaluate is not None
    assert evaluate.task == f"detection:{tmp_path}/own.py:decode"


def test_an_estimate_names_data_that_is_missing(tmp_path: Path) -> None:
    for data in ("test.npz", "s-{0..1}.tar"):
        plan = read_plan(written(tmp_path, MODEL + f"[evaluate]\ndata = '{data}'"))
        with pytest.raises(UsageError, match=r"(test\.npz does not exist|s-0\.tar: no such file)"):
            estimate(plan, [], Cache(tmp_path / "c"))


def test_a_pattern_stands_for_networks_and_one_without_any_is_refused(tmp_path: Path) -> None:
    found = candidates(read_plan(written(tmp_path, '[[model]]\nname = "resnet1?"')))
    assert "resnet18" in {job.model for job in found}
    with pytest.raises(UsageError, match="no network matches 'zzz\\*'"):
        candidates(read_plan(written(tmp_path, '[[model]]\nname = "zzz*"')))


def test_a_pattern_of_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = read_plan(written(tmp_path, '[[model]]\nname = ["timm:net_*", "timm:other"]'))
    stand_in = ModuleType("timm")
    stand_in.list_models = lambda: ["net_b", "net_a", "a_net_c"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", stand_in)
    found = [job.model for job in candidates(plan)]
    assert found == ["timm:net_b", "timm:net_a", "timm:other"]
    nothing = read_plan(written(tmp_path, '[[model]]\nname = "timm:zzz*"'))
    with pytest.raises(UsageError, match="no network matches 'timm:zzz\\*'"):
        candidates(nothing)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match="needs timm") as caught:
        candidates(plan)
    assert "edgeconv[timm]" in caught.value.hint


@pytest.mark.slow
def test_each_target_is_asked_and_tried(tmp_path: Path) -> None:
    text = MODEL + f"[export]\ntargets = ['local', 'local:{sys.executable}']"
    jobs = candidates(read_plan(written(tmp_path, text)))
    targets = [job.target for job in jobs]
    assert [target and target.device for target in targets] == ["local", f"local:{sys.executable}"]
    assert targets[0] is not None
    assert "ai-edge-litert" in targets[0].runtimes
    assert len({job.key() for job in jobs}) == 2
    assert all(job.formats is None for job in jobs)
    nowhere = read_plan(written(tmp_path, MODEL + "[export]\ntargets = ['nowhere']"))
    with pytest.raises(UsageError, match="no device 'nowhere'"):
        candidates(nowhere)


def test_weights_follow_the_arguments(tmp_path: Path) -> None:
    for width in ("0.5", "1"):
        (tmp_path / f"m-{width}.safetensors").write_text(width)
    text = '[[model]]\nname = "m"\nargs = { w = [0.5, 1] }\nweights = "{name}-{w}.safetensors"'
    found = candidates(read_plan(written(tmp_path, text)))
    assert [job.weights for job in found] == [
        f"{tmp_path}/m-0.5.safetensors",
        f"{tmp_path}/m-1.safetensors",
    ]
    with pytest.raises(UsageError, match=r"\{x\} is no argument"):
        candidates(read_plan(written(tmp_path, text.replace("{w}", "{x}"))))


unique = st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True).map(tuple)


@given(
    widths=unique,
    sizes=unique,
    precisions=st.lists(st.sampled_from(Precision), min_size=1, unique=True).map(tuple),
    efforts=st.lists(st.integers(0, 3), min_size=1, unique=True).map(tuple),
    ranges=st.lists(st.sampled_from(RangeMethod), min_size=1, unique=True).map(tuple),
)
def test_every_combination_is_tried_once(
    widths: tuple[int, ...],
    sizes: tuple[int, ...],
    precisions: tuple[Precision, ...],
    efforts: tuple[int, ...],
    ranges: tuple[RangeMethod, ...],
) -> None:
    model = Models(name=("resnet8", "resnet18"), args={"width": widths}, input_size=sizes)
    export = Exports(precisions=precisions, efforts=efforts, ranges=ranges, calibration="random")
    plan = Plan(model=(model, model.model_copy(update={"name": ("resnet8",)})), export=export)
    found = candidates(plan)
    calibrated = sum(precision.calibrated for precision in precisions)
    of_one = calibrated * len(efforts) * len(ranges) + len(precisions) - calibrated
    assert len(found) == 2 * len(widths) * len(sizes) * of_one
    assert len({job.key() for job in found}) == len(found)


@given(st.integers(0, 10**6), st.sampled_from(["ns", "us", "ms", "s", "min", "h"]))
def test_durations(number: int, unit: str) -> None:
    factor = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600}[unit]
    assert seconds_of(f"{number}{unit}") == pytest.approx(number * factor)
    assert bytes_of(f"{number} kB") == 1000 * number


def test_the_stages_of_a_chain_belong_together(tmp_path: Path) -> None:
    """Whatever else varies; networks without the argument are whole."""
    text = (
        '[[model]]\nname = "mobilenet_v2_early_exit"\n'
        "args = { width_mult = [0.35, 0.5], stage = [0, 1, 2] }\n"
        + MODEL
        + "[export]\nprecisions = ['float32', 'int8']\ncalibration = 'random'\n"
    )
    jobs = candidates(read_plan(written(tmp_path, text + EXITS + DATA + COSTS)))
    chains = stages_of_chains(jobs)
    assert len(jobs) == 14
    assert len(chains) == 4
    for stages in chains.values():
        assert [job.stage for job in stages] == [0, 1, 2]
        assert len({(job.args["width_mult"], job.precision) for job in stages}) == 1
    assert [job.model for job in jobs if job.chain is None] == ["resnet8", "resnet8"]
    without = candidates(read_plan(written(tmp_path, text)))
    assert not stages_of_chains(without)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every path of a plan, as in a shell."""
    monkeypatch.setenv("HOME", "/home/ada")
    text = """
        [[model]]
        name = ["~/net.py:make", "resnet8"]
        weights = "~/w/{name}.pt"
        [export]
        precisions = ["int8"]
        calibration = "~/cal.npz"
        [evaluate]
        data = "~/v.json"
        truth = "~/truth.json"
        task = "detection:~/decode.py:boxes"
    """
    plan = read_plan(written(tmp_path, text))
    assert plan.model[0].name == ("/home/ada/net.py:make", "resnet8")
    assert plan.model[0].weights == "/home/ada/w/{name}.pt"
    assert plan.export.calibration == "/home/ada/cal.npz"
    assert plan.evaluate is not None
    assert plan.evaluate.data == Path("/home/ada/v.json")
    assert plan.evaluate.truth == Path("/home/ada/truth.json")
    assert plan.evaluate.task == "detection:/home/ada/decode.py:boxes"
    with pytest.raises(UsageError, match="there is no such home folder"):
        read_plan(written(tmp_path, MODEL + "weights = '~nobody-of-that-name/w.pt'"))
