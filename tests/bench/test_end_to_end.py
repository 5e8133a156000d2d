"""``bench --end-to-end``: from a camera's frame to the decoded answer, and each step's time."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgeconv.bench.end_to_end import NAMES, EndToEndResult, measure_end_to_end
from edgeconv.bundle import Bundle, Format
from edgeconv.cli.bench_command import command
from edgeconv.cli.report_command import command as report
from edgeconv.companion.write import run_script
from edgeconv.device import open_device
from edgeconv.errors import EdgeconvError, MeasurementError, UsageError
from edgeconv.export import export
from edgeconv.export.runtimes import encode
from edgeconv.preprocessing import Preprocessing
from edgeconv.runner.end_to_end import STEPS, EndToEnd
from edgeconv.runner.inputs import structured
from edgeconv.runner.request import Request, RunnerError
from support.scripted_device import QUICK
from support.standalone import only

pytestmark = pytest.mark.slow

HOW = Preprocessing(resize=40, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
FRAME = (160, 120)
SLEEPING = """
import time
import numpy as np

def picture(pixels):
    assert pixels.shape == (120, 160, 3) and pixels.dtype == np.uint8
    time.sleep(0.001)
    return "image"

def prepare(image):
    time.sleep(0.002)
    return {prepared}

def run(name, compute, arrays):
    assert name == "m.tflite" and arrays == ["array"]
    time.sleep(0.003)
    outputs = compute(["fed"])
    time.sleep(0.004)
    return outputs

def decode({parameters}):
    assert ({parameters}) == {got}
    time.sleep(0.006)
"""


class Sleeping:
    """A model whose every part takes its time."""

    def feed(self, arrays: list[Any]) -> None:
        assert arrays == ["fed"]
        time.sleep(0.001)

    def inference(self) -> Callable[[], object]:
        return lambda: time.sleep(0.005)

    def outputs(self) -> list[tuple[str, Any]]:
        time.sleep(0.001)
        return [("y", "output")]


def request(script: Path) -> Any:
    """The fields that matter here."""
    fields = dict.fromkeys(Request.__dataclass_fields__)
    fields |= {"script": str(script), "script_file": "m.tflite", "frame": FRAME, "seed": 0}
    return Request(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prepared", "parameters", "got"),
    [
        ('"array"', "outputs", '["output"]'),
        ('("array", (0, 0, 4, 3))', "outputs, image, place", '(["output"], "image", (0, 0, 4, 3))'),
    ],
)
def test_each_step_has_its_own_time(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepared: str,
    parameters: str,
    got: str,
) -> None:
    """By a clock of the test's own: on a busy machine a sleep of 2 ms took 12."""
    now = 0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += round(1e9 * seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now)
    script = tmp_path / "run.py"
    script.write_text(SLEEPING.format(prepared=prepared, parameters=parameters, got=got))
    around = EndToEnd(Sleeping(), request(script))  # type: ignore[arg-type]
    for _ in range(5):
        around()
    steps = around.steps(4)
    assert tuple(steps) == STEPS == NAMES
    assert [steps[name] / 1e6 for name in STEPS] == [1, 2, 4, 5, 5, 6]
    assert list(tmp_path.iterdir()) == [script]


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("from PIL import Nothing", "does not import", ""),
        ("raise ModuleNotFoundError('no', name='PIL')", "no Pillow under", "install pillow there"),
        ("import nowhere", "No module named 'nowhere'", ""),
    ],
)
def test_what_the_script_needs(tmp_path: Path, line: str, message: str, hint: str) -> None:
    script = tmp_path / "run.py"
    script.write_text(line)
    with pytest.raises(RunnerError, match=message) as caught:
        EndToEnd(Sleeping(), request(script))  # type: ignore[arg-type]
    assert caught.value.hint == hint


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 5)
    )
    return export(
        network,
        out=tmp_path_factory.mktemp("end to end") / "out",
        input_size=(3, 24, 32),
        preprocessing=HOW,
        calibration="random",
    )


def files_of(bundle: Bundle, format: Format | None = None) -> list[Path]:
    found = [a for a in bundle.manifest.artifacts if format in (None, a.format)]
    return [bundle.file(artifact) for artifact in found]


def test_what_was_computed_is_what_the_bundle_computes_from_that_frame(bundle: Bundle) -> None:
    """The first output of each file, to the bit: of the frame, prepared as run.py does."""
    from ai_edge_litert.interpreter import Interpreter

    files = files_of(bundle)
    result = measure_end_to_end(files, QUICK, FRAME, open_device("local"))
    pixels = structured(np.random.RandomState(0), "frame", [120, 160, 3], "uint8")
    script: dict[str, Any] = {"__name__": "run"}
    exec(run_script(bundle.manifest, bundle.path), script)
    array = script["prepare"](script["picture"](pixels))
    assert array.shape == (1, 3, 24, 32)
    assert len(result.models) == len(files) == 4
    for model, file in zip(result.models, files, strict=True):
        assert model.file.name == str(file)
        assert len(model.steps) == len(model.processes) == 3
        assert len({run.outputs[0].sha256 for run in model.processes}) == 1
        # The medians of parts need not add up to the median of the whole, but nearly do.
        assert sum(model.steps_ns.values()) == pytest.approx(model.total_ns.value, rel=0.3)
        assert min(model.steps_ns.values()) > 0
    for artifact in bundle.manifest.artifacts:
        if artifact.format is Format.TFLITE:
            interpreter = Interpreter(str(bundle.file(artifact)), num_threads=1)
            interpreter.allocate_tensors()
            taken = artifact.inputs[0]
            fed = encode(np.ascontiguousarray(array.transpose(0, 2, 3, 1)), taken)
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], fed)
            interpreter.invoke()
            got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
            model = result.models[files.index(bundle.file(artifact))]
            digest = hashlib.sha256(got.tobytes()).hexdigest()
            assert model.processes[0].outputs[0].sha256 == digest


def test_rows_json_and_page(bundle: Bundle, tmp_path: Path) -> None:
    out, page = tmp_path / "r.json", tmp_path / "r.html"
    quick = ["--runs", "5", "--seconds", "0", "--warmup", "0", "--frame", "160x120", "-q"]
    arguments = [str(bundle.path), "--end-to-end", "--runtime", "litert", *quick, "-o", str(out)]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    names = [line[0] for line in lines if line and line[0] in NAMES]
    assert names == [*NAMES, *NAMES]
    assert "from a synthetic RGB frame of 160x120 to the decoded answer" in done.output
    result = EndToEndResult.load(out)
    assert result.frame == FRAME
    done = CliRunner().invoke(report, [str(out), "-o", str(page)])
    assert done.exit_code == 0
    assert "From frame to answer" in page.read_text()
    fields = json.loads(out.read_text())
    assert fields["kind"] == "end-to-end"
    assert list(fields["models"][0]["steps_ns"]) == list(NAMES)
    fields["models"][0]["steps"].pop()
    out.write_text(json.dumps(fields))
    with pytest.raises(EdgeconvError, match="processes without steps"):
        EndToEndResult.load(out)


def test_on_tflite_runtime_2_14(bundle: Bundle, tmp_path: Path) -> None:
    """Without Pillow a clear line; with it all steps."""
    python = os.environ.get("EDGECONV_TFLITE214", "")
    if not python:
        pytest.skip("EDGECONV_TFLITE214 names no Python with tflite_runtime 2.14")
    file = next(f for f in files_of(bundle, Format.TFLITE) if "int8" in f.name)
    packages = only(tmp_path / "packages", "PIL")
    run = "import sys, runpy; sys.path.append({!r}); runpy.run_path(sys.argv[-1], None, '__main__')"
    wrapped = tmp_path / "python"
    more = shlex.quote(run.format(str(packages)))
    wrapped.write_text(f'#!/bin/sh\nexec {shlex.quote(python)} -I -c {more} "$@"\n')
    wrapped.chmod(0o755)
    try:
        result = measure_end_to_end([file], QUICK, FRAME, open_device(f"local:{wrapped}"))
    except MeasurementError as error:
        if "_imaging" in error.message:
            pytest.skip("that Python cannot import this one's Pillow")
        raise
    (model,) = result.models
    assert model.processes[0].runtime_version == "2.14.0"
    assert min(model.steps_ns.values()) > 0
    with pytest.raises(MeasurementError, match="there is no Pillow under") as caught:
        measure_end_to_end([file], QUICK, FRAME, open_device(f"local:{python}"))
    assert caught.value.hint == "install pillow there"


def test_a_bundle_without_images_is_refused(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    made = export(network, out=tmp_path / "out", input_size=(6,), precisions=["float32"])
    with pytest.raises(UsageError, match="does not take one image"):
        measure_end_to_end(files_of(made), QUICK, FRAME, open_device("local"))


def test_a_file_outside_of_a_bundle_is_refused(pair: list[Path]) -> None:
    with pytest.raises(UsageError, match="is in no bundle"):
        measure_end_to_end(pair, QUICK, FRAME, open_device("local"))


@pytest.mark.parametrize(
    "more",
    [
        ["--end-to-end", "--together"],
        ["--end-to-end", "--inputs", "x.npz"],
        ["--end-to-end", "--threads", "1,2"],
        ["--end-to-end", "--device", "emulated:pi3"],
        ["--frame", "100x100"],
    ],
)
def test_what_it_does_not_go_with(pair: list[Path], more: list[str]) -> None:
    done = CliRunner().invoke(command, [*map(str, pair), *more])
    assert isinstance(done.exception, UsageError)


@pytest.mark.parametrize("size", ["640", "0x4", "640x480x3", "9000x4", "x", "-1x4", "٣x4"])
def test_frames_of_no_size(pair: list[Path], size: str) -> None:
    done = CliRunner().invoke(command, [*map(str, pair), "--end-to-end", "--frame", size])
    assert done.exit_code == 2
    assert "is not a size such as 640x480" in done.output
