"""What is written for a device, by the runtimes that it has."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torch import nn

from edgeconv.bundle import Bundle, Manifest
from edgeconv.errors import CaptureError, EdgeconvError, UnsupportedOperator, UsageError
from edgeconv.export import Format, Precision, Target, export
from edgeconv.export.inspect.runtimes import (
    highest_opset,
    lowest_onnxruntime,
    lowest_tflite_runtime,
    older_release,
    refused_by,
    tflite_release,
)
from edgeconv.export.request import ExportRequest, ResolvedRequest
from edgeconv.export.target import (
    caution,
    demand_loadable,
    resolve_request,
    slow_float16,
    slow_int8,
)
from edgeconv.models.randomize import randomize_

pytestmark = pytest.mark.slow

ONNX, TFLITE = Format.ONNX, Format.TFLITE
INT16 = [Precision.INT16X8]
SHAPE = (3, 8, 8)
PROVISION = "run `edgeconv devices provision ssh://pi`, which installs the current runtimes"


def target(device: str = "ssh://pi", bits: int = 64, **runtimes: str) -> Target:
    named = {name.replace("_", "-"): version for name, version in runtimes.items()}
    return Target(device=device, architecture="aarch64", bits=bits, python="3.11.2", runtimes=named)


BOTH = target(ai_edge_litert="2.3.0", onnxruntime="1.31.1")
OLD_BOTH = target(tflite_runtime="2.14.0", onnxruntime="1.17.3")
ONLY_ONNX = target(onnxruntime="1.17.3")
ONLY_TFLITE = target(tflite_runtime="2.14.0")
LITERT = "ai-edge-litert==2.3.0"
OLD = "tflite-runtime==2.14.0"


def asks(
    formats: list[Format] | None = None,
    precisions: list[Precision] | None = None,
    *,
    model: str = "network",
    opset: int | None = None,
    runtime: str | None = None,
) -> ExportRequest:
    """A request that lacks nothing else."""
    return ExportRequest(
        model,
        formats=formats,
        precisions=precisions,
        calibration="random",
        opset=opset,
        runtime=runtime,
    )


def resolved(there: Target | None, asked: ExportRequest) -> ResolvedRequest:
    return resolve_request(replace(asked, target=there))


def network() -> nn.Module:
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.GELU(), nn.Flatten(), nn.Linear(256, 5)
    return randomize_(nn.Sequential(*layers), shape=SHAPE)


@pytest.mark.parametrize(
    ("there", "asked", "formats", "highest", "runtime"),
    [
        (None, asks(), (ONNX, TFLITE), 23, None),
        (None, asks([TFLITE], runtime="tflite-runtime==2.7"), (TFLITE,), 23, "tflite-runtime==2.7"),
        (BOTH, asks(), (ONNX, TFLITE), 23, LITERT),
        (BOTH, asks([ONNX]), (ONNX,), 23, None),
        (BOTH, asks([TFLITE]), (TFLITE,), 23, LITERT),
        (ONLY_TFLITE, asks(), (TFLITE,), 23, OLD),
        (ONLY_TFLITE, asks(opset=19), (TFLITE,), 23, OLD),
        (ONLY_ONNX, asks(), (ONNX,), 20, None),
        (ONLY_ONNX, asks(opset=20), (ONNX,), 20, None),
        (OLD_BOTH, asks(), (ONNX, TFLITE), 20, OLD),
        # A format that is open goes where another one holds what was stated.
        (OLD_BOTH, asks(precisions=INT16), (TFLITE,), 23, OLD),
        (target(onnxruntime="1.14.0"), asks(), (ONNX,), 18, None),
        (target(onnxruntime="1.16.0rc1"), asks(), (ONNX,), 19, None),
        (target(onnxruntime="1.18.1"), asks(precisions=INT16), (ONNX,), 21, None),
        (target(tflite_runtime="2.5.0.post1"), asks(), (TFLITE,), 23, "tflite-runtime==2.5.0"),
        (target(onnxruntime="1.10.0", tflite_runtime="2.14.0"), asks(), (TFLITE,), 23, OLD),
        # LiteRT is what the device takes where both are installed.
        (target(tflite_runtime="2.14.0", ai_edge_litert="2.3.0"), asks(), (TFLITE,), 23, LITERT),
        # The older of the release that was stated and the one that is there.
        (BOTH, asks(runtime=OLD), (ONNX, TFLITE), 23, OLD),
        (ONLY_TFLITE, asks(runtime=LITERT), (TFLITE,), 23, OLD),
        (target(tflite_runtime="2.7.0"), asks(runtime=OLD), (TFLITE,), 23, "tflite-runtime==2.7.0"),
    ],
)
def test_what_is_chosen(
    there: Target | None,
    asked: ExportRequest,
    formats: tuple[Format, ...],
    highest: int,
    runtime: str | None,
) -> None:
    choice = resolved(there, asked)
    assert (choice.formats, choice.highest_opset, choice.runtime) == (formats, highest, runtime)
    assert (choice.note is None) == (there is None)


@pytest.mark.parametrize(
    ("there", "asked", "words"),
    [
        (target(), asks(), ["onnxruntime is not installed", "nor tflite-runtime", PROVISION]),
        (target("local"), asks(), ["local cannot run", "install a current onnxruntime there"]),
        (target("local:/py"), asks([TFLITE]), ["install a current ai-edge-litert there with pip"]),
        (ONLY_ONNX, asks([TFLITE]), ["nor tflite-runtime", PROVISION, "pass only --format onnx"]),
        (ONLY_ONNX, asks([ONNX, TFLITE]), ["cannot run TFLite files", PROVISION]),
        (ONLY_ONNX, asks(runtime=OLD), ["cannot run TFLite files", "leave --runtime out"]),
        (
            ONLY_TFLITE,
            asks([ONNX]),
            ["onnxruntime is not", PROVISION, "pass only --format tflite"],
        ),
        (OLD_BOTH, asks(opset=21), ["1.17.3 loads opsets up to 20, not 21", "pass --opset 20"]),
        (BOTH, asks(opset=99), ["opset must be from 18 to 23, not 99"]),
        (ONLY_ONNX, asks(opset=21), ["not 21", "pass --opset 20"]),
        (ONLY_ONNX, asks(precisions=INT16), ["int16x8 needs 21", "choose another --precision"]),
        (OLD_BOTH, asks([ONNX], INT16), ["int16x8 needs 21", "pass only --format tflite"]),
        (target(onnxruntime="1.10.0"), asks(), ["1.10.0 loads no opset 18", PROVISION]),
        (target(onnxruntime="unknown"), asks(), ["unknown loads no opset 18", PROVISION]),
        (target(tflite_runtime="2.1"), asks(), ["nothing is known about tflite-runtime==2.1"]),
        (
            target(bits=32, tflite_runtime="2.14.0"),
            asks([ONNX]),
            ["for 32-bit systems\nhint: pass only --f"],
        ),
        (target(bits=32), asks(), ["for 32-bit systems, and neither", PROVISION]),
    ],
)
def test_what_is_refused(there: Target, asked: ExportRequest, words: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        resolved(there, asked)
    for word in words:
        assert word in f"{refused.value.message}\nhint: {refused.value.hint}"


def test_a_runtime_that_does_not_work_is_not_there() -> None:
    reason = "tflite-runtime 2.14.0 does not import with NumPy 2.1.0"
    broken = target().model_copy(update={"unusable": {"tflite-runtime": reason}})
    with pytest.raises(UsageError, match=reason):
        resolved(broken, asks([TFLITE]))
    both = broken.model_copy(update={"runtimes": {"onnxruntime": "1.20.0"}})
    choice = resolved(both, asks())
    assert choice.formats == (ONNX,)
    assert f"no TFLite: {reason}" in str(choice.note)


@pytest.mark.parametrize(
    ("there", "asked", "note"),
    [
        (
            BOTH,
            asks(),
            "for ssh://pi (aarch64): ONNX up to opset 20 for onnxruntime 1.31.1; "
            "TFLite for ai-edge-litert 2.3.0",
        ),
        (
            BOTH,
            asks([ONNX], opset=23),
            "for ssh://pi (aarch64): ONNX up to opset 23 for onnxruntime 1.31.1",
        ),
        (
            ONLY_TFLITE,
            asks(),
            "for ssh://pi (aarch64): TFLite for tflite-runtime 2.14.0; "
            "no ONNX: onnxruntime is not installed",
        ),
        (
            target(onnxruntime="1.15.1"),
            asks([ONNX]),
            "for ssh://pi (aarch64): ONNX up to opset 18 for onnxruntime 1.15.1",
        ),
        (
            target(onnxruntime="1.31.1"),
            asks([ONNX], model="m.onnx"),
            "for ssh://pi (aarch64): ONNX up to opset 23 for onnxruntime 1.31.1",
        ),
        (
            target(onnxruntime="1.31.1"),
            asks([ONNX], INT16),
            "for ssh://pi (aarch64): ONNX up to opset 21 for onnxruntime 1.31.1",
        ),
    ],
)
def test_the_note(there: Target, asked: ExportRequest, note: str) -> None:
    assert resolved(there, asked).note == note


VERSIONS = st.from_regex(r"[0-9]{1,2}(\.[0-9]{1,2}){0,4}[a-z0-9.+-]{0,5}", fullmatch=True)
TARGETS = st.builds(
    Target,
    device=st.sampled_from(["local", "ssh://pi", "emulated:pi4"]),
    architecture=st.just("aarch64"),
    bits=st.sampled_from([32, 64]),
    python=st.just("3.11.2"),
    runtimes=st.dictionaries(
        st.sampled_from(["onnxruntime", "ai-edge-litert", "tflite-runtime"]), VERSIONS
    ),
)
REQUESTS = st.builds(
    asks,
    formats=st.none() | st.lists(st.sampled_from(Format), min_size=1, unique=True),
    precisions=st.none() | st.lists(st.sampled_from(Precision), min_size=1, unique=True),
    opset=st.none() | st.integers(18, 23),
    runtime=st.sampled_from([None, OLD, LITERT, "tflite-runtime==2.7"]),
)


def chosen(there: Target, asked: ExportRequest) -> tuple[ResolvedRequest | None, UsageError | None]:
    try:
        return resolved(there, asked), None
    except UsageError as refused:
        return None, refused


@given(TARGETS, REQUESTS)
def test_whatever_is_there_the_choice_runs_or_one_line_says_why_not(
    there: Target, asked: ExportRequest
) -> None:
    choice, refusal = chosen(there, asked)
    if choice is None:
        assert refusal is not None
        assert refusal.message.isprintable()
        assert refusal.hint
        assert refusal.hint.isprintable()
        return
    assert choice.formats
    assert asked.formats is None or choice.formats == tuple(asked.formats)
    assert str(choice.note).isprintable()
    if ONNX in choice.formats:
        loads = highest_opset(there.runtimes["onnxruntime"])
        assert loads is not None
        assert max(choice.highest_opset, asked.opset or 0) <= loads
    if TFLITE in choice.formats:
        assert choice.runtime is not None
        tflite_release(choice.runtime)
        assert {"ai-edge-litert", "tflite-runtime"} & there.runtimes.keys()


@pytest.mark.parametrize(
    ("version", "opset"),
    [("1.0", 11), ("1.14.0", 18), ("1.15.1", 18), ("1.17.3", 20), ("1.31.1", 26), ("0.5", None)],
)
def test_the_highest_opset_of_a_release(version: str, opset: int | None) -> None:
    assert highest_opset(version) == opset


def test_a_release_loads_its_highest_opset() -> None:
    """With the IR version that goes with it, which is the one that is written."""
    for release in ("1.14", "1.16", "1.17", "1.18", "1.21", "1.23"):
        opset = highest_opset(release)
        assert opset is not None
        ir_version = helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
        assert lowest_onnxruntime(opset, ir_version) == f"onnxruntime {release}"


def test_the_older_release_loads_less() -> None:
    old, new = "tflite-runtime 2.14.0", "ai-edge-litert 1.0.1"
    assert older_release(new, old) == older_release(old, new) == old
    assert refused_by(old, {"FULLY_CONNECTED": 12})
    assert not refused_by(new, {"FULLY_CONNECTED": 12})


@pytest.mark.parametrize(
    ("there", "runtime", "words", "absent"),
    [
        (None, "tflite-runtime==2.7", ["install tflite-runtime 2.8.0 or later on the device"], []),
        # Not the target's fault: an older release was stated.
        (ONLY_TFLITE, "tflite-runtime==2.7", ["on the device, or replace"], ["ssh://pi"]),
        (
            target(tflite_runtime="2.7.0"),
            "tflite-runtime==2.7.0",
            ["ssh://pi needs tflite-runtime 2.8.0 or later", PROVISION, "or replace the operator"],
            ["--format"],
        ),
        (
            target(tflite_runtime="2.7.0", onnxruntime="1.20.0"),
            "tflite-runtime==2.7.0",
            ["or pass only --format onnx"],
            [],
        ),
        (target(bits=32, tflite_runtime="2.7.0"), "tflite-runtime==2.7.0", [PROVISION], []),
    ],
)
def test_an_operator_that_the_target_does_not_load(
    there: Target | None, runtime: str, words: list[str], absent: list[str]
) -> None:
    with pytest.raises(UnsupportedOperator) as refused:
        demand_loadable("m.tflite", {"CONV_2D": 3, "GELU": 1}, runtime, there)
    message = f"{refused.value.message}\nhint: {refused.value.hint}"
    assert message.startswith("m.tflite: tflite-runtime 2.7.0 does not load GELU version 1")
    assert all(word in message for word in words)
    assert not any(word in message for word in absent)


def test_the_node_of_an_operator_that_the_target_does_not_load() -> None:
    origins = {"CONV_2D": "c (Conv)", "SIGN": "block/erf (Erf)"}
    message = "does not load GELU version 1, SIGN version 1 for block/erf \\(Erf\\)\nhint: install"
    operators = {"CONV_2D": 3, "GELU": 1, "SIGN": 1}
    with pytest.raises(UnsupportedOperator, match=message):
        demand_loadable("m.tflite", operators, "tflite-runtime==2.7", None, origins)


@pytest.mark.parametrize(
    ("architecture", "features", "formats", "precisions", "warned"),
    [
        ("x86_64", ("AVX2", "AVX-512"), [ONNX], [Precision.INT8], True),
        ("x86_64", ("AVX2", "AVX-VNNI"), [ONNX], [Precision.INT8], False),
        ("x86_64", ("AVX-512 VNNI",), [ONNX], [Precision.INT8], False),
        ("x86_64", ("AVX2",), [TFLITE], [Precision.INT8], False),
        ("x86_64", ("AVX2",), [ONNX], [Precision.FLOAT32], False),
        ("aarch64", ("NEON",), [ONNX], [Precision.INT8], False),
    ],
)
def test_int8_kernels_that_saturate(
    architecture: str,
    features: tuple[str, ...],
    formats: list[Format],
    precisions: list[Precision],
    warned: bool,
) -> None:
    there = BOTH.model_copy(update={"architecture": architecture, "features": features})
    assert (caution(there, formats, precisions) is not None) == warned


@pytest.mark.parametrize(
    ("runtime", "precisions", "warned"),
    [
        ("tflite-runtime==2.14", [Precision.FLOAT32, Precision.INT8], True),
        ("tflite-runtime==2.14.0", [Precision.INT8], True),
        ("tflite-runtime==2.14", [Precision.FLOAT32], False),
        ("ai-edge-litert==2.1.0", [Precision.INT8], False),
        (None, [Precision.INT8], False),
    ],
)
def test_a_runtime_that_is_slower_in_int8(
    runtime: str | None, precisions: list[Precision], warned: bool
) -> None:
    said = slow_int8(runtime, precisions)
    assert (said is not None) is warned
    if said is not None:
        assert "166 M instructions in int8 and 129 M in float32 on a Cortex-A72" in said.message
        assert "271 M and 289 M on a 32-bit Raspberry Pi 3" in said.message
        assert "--precision float32" in said.hint


@pytest.mark.parametrize(
    ("architecture", "features", "formats", "precisions", "warned"),
    [
        ("aarch64", ("NEON", "fp16 arithmetic"), [ONNX, TFLITE], [Precision.FLOAT16], True),
        ("aarch64", ("NEON", "fp16 arithmetic"), [TFLITE], [Precision.FLOAT16], False),
        ("aarch64", ("NEON", "fp16 arithmetic"), [ONNX], [Precision.FLOAT32], False),
        ("aarch64", ("NEON",), [ONNX], [Precision.FLOAT16], False),
        ("x86_64", ("fp16 arithmetic",), [ONNX], [Precision.FLOAT16], False),
    ],
)
def test_cores_on_which_onnx_runtime_is_slower_in_float16(
    architecture: str,
    features: tuple[str, ...],
    formats: list[Format],
    precisions: list[Precision],
    warned: bool,
) -> None:
    there = BOTH.model_copy(update={"architecture": architecture, "features": features})
    assert (slow_float16(there, formats, precisions) is not None) == warned


def test_what_no_32_bit_runtime_loads() -> None:
    there = target(bits=32, tflite_runtime="2.14.0")
    with pytest.raises(
        UnsupportedOperator, match=r"needs ai-edge-litert 1\.0\.1 or later\nhint: replace"
    ):
        demand_loadable("m.tflite", {"FULLY_CONNECTED": 12}, OLD, there)


def test_an_export_for_an_old_onnxruntime(tmp_path: Path) -> None:
    """Opset 18 has no Gelu; int16x8 would need 21, so that TFLite alone has it."""
    there = target(onnxruntime="1.15.1", tflite_runtime="2.14.0")
    bundle = export(network(), out=tmp_path / "out", input_size=SHAPE, target=there)
    manifest = bundle.manifest
    assert manifest.target == there
    assert Manifest.model_validate_json(manifest.model_dump_json()).target == there
    onnx_file, tflite_file = manifest.artifacts
    assert onnx_file.opset == 18
    assert onnx_file.lowest_runtime == "onnxruntime 1.14"
    versions = {name: [version] for name, version in tflite_file.operators.items()}
    assert lowest_tflite_runtime(versions).startswith("tflite-runtime")


def test_a_file_keeps_its_opset_where_the_target_loads_it(tmp_path: Path) -> None:
    for opset, there, written in (
        (18, target(onnxruntime="1.17.3"), 18),
        (21, target(onnxruntime="1.31.1"), 21),
        (21, target(onnxruntime="1.17.3"), 20),
    ):
        path = tmp_path / "relu.onnx"
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
        result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
        node = helper.make_node("Relu", ["x"], ["y"])
        graph = helper.make_graph([node], "g", [value], [result])
        opsets = [helper.make_opsetid("", opset)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
        bundle = export(path, out=tmp_path / "out", target=there, force=True)
        assert [artifact.opset for artifact in bundle.manifest.artifacts] == [written]


def test_a_file_whose_operators_the_target_does_not_have(tmp_path: Path) -> None:
    made = export(network(), out=tmp_path / "made", input_size=SHAPE, formats=[ONNX])
    path = made.file(made.manifest.artifacts[0])
    words = (
        r"has opset 20, which cannot be converted to 18: No Previous Version of Gelu exists"
        r"(; |\nhint: )export it anew with opset 18, install a later onnxruntime on the device, or "
    )
    both = target(onnxruntime="1.15.1", tflite_runtime="2.14.0")
    with pytest.raises(CaptureError, match=words):
        export(path, out=tmp_path / "out", target=both)
    assert not (tmp_path / "out").exists()
    bundle = export(path, out=tmp_path / "out", target=both, formats=[TFLITE])
    assert "GELU" in bundle.manifest.artifacts[0].operators


def test_a_manifest_from_before_there_were_targets_is_read(tmp_path: Path) -> None:
    bundle = export(network(), out=tmp_path / "out", input_size=SHAPE, formats=[ONNX])
    path = bundle.path / "manifest.json"
    plain = json.loads(path.read_text())
    assert plain.pop("target") is None
    plain["schema_version"] = 1
    for field in ("exact_sqnr_db", "operators"):
        del plain["artifacts"][0]["verification"][field]
    path.write_text(json.dumps(plain))
    assert Bundle.load(bundle.path).manifest == bundle.manifest


def test_a_target_that_lacks_an_operator(tmp_path: Path) -> None:
    there = target(tflite_runtime="2.7.0")
    with pytest.raises(
        EdgeconvError, match=r"does not load GELU version 1 for \S+ \(Gelu\), ssh://pi"
    ):
        export(network(), out=tmp_path / "out", input_size=SHAPE, target=there)
    assert not (tmp_path / "out").exists()


def test_choosing_needs_no_torch() -> None:
    program = "import sys, edgeconv.export.target; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
