"""What to write for a device: formats, opset and operator versions, by the runtimes it has.

None of this needs torch, so that what a device cannot run is refused before torch is loaded.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeconv.bundle import Format, Precision, Target
from edgeconv.errors import Notice, UnsupportedOperator, UsageError
from edgeconv.export.file_stem import file_stem
from edgeconv.export.inspect.runtimes import (
    INT8_BY_OWN_KERNELS,
    highest_opset,
    lowest_tflite_runtime,
    newest_before,
    older_release,
    refused_by,
    tflite_release,
)
from edgeconv.export.opset import DEFAULT_OPSET, INT16_OPSET, MAX_OPSET, MIN_OPSET
from edgeconv.export.quantize_options import QuantizeOptions
from edgeconv.export.request import ExportRequest, ResolvedRequest

logger = logging.getLogger(__name__)

_ONNXRUNTIME = "onnxruntime"
# In the order in which a device uses them.
_TFLITE_PACKAGES = ("ai-edge-litert", "tflite-runtime")
_NAMES = {Format.ONNX: "ONNX", Format.TFLITE: "TFLite"}


@dataclass(frozen=True)
class _Obstacle:
    """Why a device cannot run a format, and the ways around it."""

    reason: str
    ways: tuple[str, ...]


def resolve_request(asked: ExportRequest) -> ResolvedRequest:
    """Check a request, and decide what it leaves open by the runtimes of its target.

    Without a target, every format is written. Of a stated ``runtime`` and the target's, the older
    one counts, because newer releases load what it loads. Warns of a stated ``runtime`` that is
    newer than every release known.

    Raises:
        UsageError: The request is wrong, or the target cannot run what it asks for.
    """
    asked.check()
    newest = None if asked.runtime is None else newest_before(asked.runtime)
    if newest is not None:
        logger.warning(
            "%s is newer than every release known; the files are checked against %s",
            asked.runtime,
            newest,
        )
    name = file_stem(_name(asked)) if asked.name is None else asked.name
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError(f"the name {name!r} is not that of a file", hint="use letters and digits")
    resolved = ResolvedRequest(
        asked=asked,
        name=name,
        out=Path(name if asked.out is None else asked.out),
        formats=_stated_or(asked, Format),
        precisions=asked.float_precisions(),
        quantization=asked.quantization or QuantizeOptions(),
        runtime=asked.runtime,
    )
    if asked.target is not None:
        resolved = _for_target(resolved, asked.target)
    resolved.check()
    return resolved


def _name(asked: ExportRequest) -> str:
    """What the user calls the network: its specification, or the class of a module."""
    if isinstance(asked.model, (str, Path)):
        return str(asked.model)
    model: Any = asked.model  # torch is not imported here
    if hasattr(model, "graph_module"):
        # The module that was exported comes first among those that a node came from.
        stacks = (node.meta.get("nn_module_stack") or {} for node in model.graph.nodes)
        names = (str(name) for stack in stacks for _, name in stack.values())
        return next((name.rpartition(".")[2] for name in names if "." in name), "program")
    from edgeconv.export.capture.own_copy import unwrapped  # needs torch, as the module does

    return type(unwrapped(model)).__name__


def _for_target(resolved: ResolvedRequest, target: Target) -> ResolvedRequest:
    """Choose what is left open by what the target runs, and refuse what it does not run."""
    asked = resolved.asked
    obstacles = {
        format: obstacle
        for format, obstacle in (
            (Format.ONNX, _onnx_obstacle(target, asked.opset, int16=_has_int16(asked))),
            (Format.TFLITE, _tflite_obstacle(target)),
        )
        if obstacle is not None
    }
    runnable = [format for format in Format if format not in obstacles]
    if not runnable:
        raise _refusal(target, "any of the files", obstacles.values())
    for format, without in _demanded(target, asked, runnable):
        if format in obstacles:
            raise _refusal(target, f"{_NAMES[format]} files", [obstacles[format]], without)
    formats = _stated_or(asked, runnable)
    left_out = [
        f"no {_NAMES[format]}: {obstacle.reason}"
        for format, obstacle in obstacles.items()
        if asked.formats is None
    ]
    made, highest, runtime = [], MAX_OPSET, asked.runtime
    if Format.ONNX in formats:
        version = target.runtimes[_ONNXRUNTIME]
        highest = min(highest_opset(version) or MAX_OPSET, MAX_OPSET)
        made.append(f"ONNX up to opset {_last_opset(asked, highest)} for {_ONNXRUNTIME} {version}")
    if Format.TFLITE in formats:
        runtime = _older(asked.runtime, _requirement(target))
        made.append(f"TFLite for {runtime.replace('==', ' ')}")
    note = f"for {target.device} ({target.architecture}): {'; '.join((*made, *left_out))}"
    return replace(resolved, formats=formats, highest_opset=highest, runtime=runtime, note=note)


def caution(
    target: Target, formats: Sequence[Format], precisions: Sequence[Precision]
) -> str | None:
    """Say what may go wrong on a device although its runtimes load the files; None if nothing."""
    saturating = target.architecture == "x86_64" and not any("VNNI" in f for f in target.features)
    if saturating and Format.ONNX in formats and Precision.INT8 in precisions:
        return (
            f"{target.device} has no VNNI, without which ONNX Runtime's int8 kernels for x86 "
            'saturate unless a session sets session.x64quantprecision to "1"; run.py and '
            "`edgeconv bench` do"
        )
    return None


def slow_int8(runtime: str | None, precisions: Sequence[Precision]) -> Notice | None:
    """Say that a release runs some int8 networks slower, with figures; None of other releases.

    The figures are those of ``benchmarks/results/operator_forms.md`` and ``old_runtime.md`` there.

    Args:
        runtime: The release, as ``tflite-runtime==2.14``.
        precisions: What is written.
    """
    if runtime is None or Precision.INT8 not in precisions:
        return None
    if tflite_release(runtime) != INT8_BY_OWN_KERNELS:
        return None
    return Notice(
        f"{INT8_BY_OWN_KERNELS} runs int8 slower than float32 on 64-bit systems: MobileNetV2 takes "
        "166 M instructions in int8 and 129 M in float32 on a Cortex-A72, and 271 M and 289 M on a "
        "32-bit Raspberry Pi 3",
        "pass --precision float32 for speed, or measure both precisions with `edgeconv bench`",
    )


def slow_float16(
    target: Target, formats: Sequence[Format], precisions: Sequence[Precision]
) -> Notice | None:
    """Say that ONNX Runtime takes longer for float16 on cores with fp16 arithmetic, with figures.

    They are those of ``benchmarks/results/float16_instructions.md``. Other cores compute such a
    file in float32.

    Args:
        target: The device.
        formats: The formats that are written.
        precisions: What is written.
    """
    if Format.ONNX not in formats or Precision.FLOAT16 not in precisions:
        return None
    if target.architecture != "aarch64" or not target.half_arithmetic:
        return None
    return Notice(
        "ONNX Runtime is no faster with float16 on cores with fp16 arithmetic, and often slower: "
        "on a Cortex-A76 ResNet-18 of 64x64 pixels takes 69 M instructions, as in float32, and "
        "MobileNetV2 106 M instead of 23 M",
        "take the float16 ONNX file for its size only; for speed pass --precision int8, or "
        "--format tflite, whose float16 files LiteRT computes in half precision there",
    )


def demand_loadable(
    file: str,
    operators: Mapping[str, int],
    runtime: str,
    target: Target | None,
    origins: Mapping[str, str] | None = None,
) -> None:
    """Refuse a TFLite file that a release does not load.

    Args:
        file: The name of the file, for the message.
        operators: Builtin operator name to the highest version in the file.
        runtime: The release, as ``tflite-runtime==2.14``.
        target: The device that the file is for, if one was stated.
        origins: Builtin operator name to the node of the network that it was written for.

    Raises:
        UnsupportedOperator: The release lacks an operator.
    """
    release = tflite_release(runtime)
    refused = [_with_node(what, origins or {}) for what in refused_by(release, operators)]
    if not refused:
        return
    lowest = lowest_tflite_runtime({name: [version] for name, version in operators.items()})
    failing = f"{file}: {release} does not load {', '.join(refused)}"
    if target is None or runtime != _requirement(target):
        raise UnsupportedOperator(
            failing,
            hint=f"install {lowest} or later on the device, or replace the operator in the network",
        )
    ways = ["replace the operator in the network"]
    if _onnx_obstacle(target) is None:
        ways.insert(0, "pass only --format onnx")
    if target.bits == 64 or lowest.startswith(_TFLITE_PACKAGES[1]):
        ways.insert(0, _installation(target, _TFLITE_PACKAGES[0]))
    raise UnsupportedOperator(
        f"{failing}, {target.device} needs {lowest} or later", hint=", or ".join(ways)
    )


def _with_node(operator: str, origins: Mapping[str, str]) -> str:
    """Name the node that an operator such as "SIGN version 1" was written for."""
    node = origins.get(operator.partition(" ")[0])
    return operator if node is None else f"{operator} for {node}"


def _refusal(
    target: Target, what: str, obstacles: Iterable[_Obstacle], *without: str
) -> UsageError:
    met = list(obstacles)
    ways = dict.fromkeys([way for obstacle in met for way in obstacle.ways] + list(without))
    reasons = ", and ".join(obstacle.reason for obstacle in met)
    return UsageError(f"{target.device} cannot run {what}: {reasons}", hint=", or ".join(ways))


def _stated_or(asked: ExportRequest, formats: Iterable[Format]) -> tuple[Format, ...]:
    return tuple(formats if asked.formats is None else asked.formats)


def _demanded(
    target: Target, asked: ExportRequest, runnable: Sequence[Format]
) -> Iterator[tuple[Format, str]]:
    """Yield the formats that the request cannot do without, each with how to do without it.

    They are the stated ones, or else those that the stated opset and runtime are about.
    """
    if asked.formats is not None:
        alone = f"pass only --format {runnable[0].value}"
        yield from ((format, alone) for format in asked.formats)
        return
    # Where there is no ONNX Runtime, an opset may still be that of the captured graph.
    if asked.opset is not None and _ONNXRUNTIME in target.runtimes:
        yield Format.ONNX, "leave --opset out"
    if asked.runtime is not None:
        yield Format.TFLITE, "leave --runtime out"


def _onnx_obstacle(
    target: Target, opset: int | None = None, *, int16: bool = False
) -> _Obstacle | None:
    """Why the target cannot run ONNX files, of a stated opset or with int16 activations."""
    version = target.runtimes.get(_ONNXRUNTIME)
    if version is None:
        reason = target.unusable.get(_ONNXRUNTIME, f"{_ONNXRUNTIME} is not installed")
        if target.bits == 32:
            return _Obstacle(f"{reason}, nor is there one for 32-bit systems", ())
        return _Obstacle(reason, (_installation(target, _ONNXRUNTIME),))
    highest = highest_opset(version) or 0
    if highest < MIN_OPSET:
        reason = f"{_ONNXRUNTIME} {version} loads no opset {MIN_OPSET}, the lowest that is written"
        return _Obstacle(reason, (_installation(target, _ONNXRUNTIME),))
    limit = f"{_ONNXRUNTIME} {version} loads opsets up to {highest}"
    if opset is not None and opset > highest:
        return _Obstacle(f"{limit}, not {opset}", (f"pass --opset {min(highest, MAX_OPSET)}",))
    if int16 and highest < INT16_OPSET:
        ways = (_installation(target, _ONNXRUNTIME), "choose another --precision")
        return _Obstacle(f"{limit}, int16x8 needs {INT16_OPSET}", ways)
    return None


def _tflite_obstacle(target: Target) -> _Obstacle | None:
    reasons = [target.unusable[name] for name in _TFLITE_PACKAGES if name in target.unusable]
    reason = " and ".join(reasons) or f"neither {' nor '.join(_TFLITE_PACKAGES)} is installed"
    if _has_tflite(target):
        try:
            tflite_release(_requirement(target))
        except UsageError as error:
            reason = error.message
        else:
            return None
    return _Obstacle(reason, (_installation(target, _TFLITE_PACKAGES[0]),))


def _has_tflite(target: Target) -> bool:
    return any(name in target.runtimes for name in _TFLITE_PACKAGES)


def _requirement(target: Target) -> str:
    """The TFLite runtime that the target uses, without a suffix as in 2.5.0.post1."""
    name = next((name for name in _TFLITE_PACKAGES if name in target.runtimes), "")
    version = re.match(r"[\d.]*\d", target.runtimes.get(name, ""))
    return f"{name}=={version[0] if version else ''}"


def _older(stated: str | None, there: str) -> str:
    if stated is None:
        return there
    release = tflite_release(stated)
    return stated if older_release(release, tflite_release(there)) == release else there


def _has_int16(asked: ExportRequest) -> bool:
    """Whether a file may have int16 activations: all of one, or those of some layers."""
    layers = asked.quantization is not None and asked.quantization.has_int16
    return layers or Precision.INT16X8 in (asked.precisions or ())


def _last_opset(asked: ExportRequest, highest: int) -> int:
    """The highest opset that the files can have in the end."""
    usual = asked.opset or (highest if asked.is_onnx_file else min(DEFAULT_OPSET, highest))
    return max(usual, INT16_OPSET) if _has_int16(asked) else usual


def _installation(target: Target, package: str) -> str:
    """How to install a package on a device, as a hint."""
    if target.device.partition(":")[0] == "local":
        return f"install a current {package} there with pip"
    return (
        f"run `edgeconv devices provision {target.device}`, which installs the current runtimes "
        "and names the device to use then"
    )
