"""What to write for a device: formats, opset and operator versions, by the runtimes it has.

None of this needs torch, so that what a device cannot run is refused at once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgeconv.bundle import Format, Precision, Target
from edgeconv.errors import UnsupportedOperator, UsageError
from edgeconv.export.inspect.runtimes import (
    highest_opset,
    lowest_tflite_runtime,
    newest_before,
    older_release,
    refused_by,
    tflite_release,
)
from edgeconv.export.opset import DEFAULT_OPSET, INT16_OPSET, MAX_OPSET, MIN_OPSET

logger = logging.getLogger(__name__)

_ONNXRUNTIME = "onnxruntime"
# In the order in which a device takes them.
_TFLITE_PACKAGES = ("ai-edge-litert", "tflite-runtime")
_NAMES = {Format.ONNX: "ONNX", Format.TFLITE: "TFLite"}


@dataclass(frozen=True)
class Wish:
    """What was stated of an export; None is open. ``runtime`` is a release that has to load the
    TFLite files, as ``tflite-runtime==2.14``; ``own_opset`` tells that the network is a file, which
    keeps the opset that it has.
    """

    formats: Sequence[Format] | None = None
    precisions: Sequence[Precision] | None = None
    opset: int | None = None
    runtime: str | None = None
    own_opset: bool = False


@dataclass(frozen=True)
class Choice:
    """What an export writes. ``highest_opset`` bounds ONNX files where no opset is stated;
    ``runtime`` is as in :class:`Wish`. ``note`` tells it to a person, where there is a target.
    """

    formats: tuple[Format, ...]
    highest_opset: int = MAX_OPSET
    runtime: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class _Obstacle:
    """Why a device cannot run a format, and the ways around it."""

    reason: str
    ways: tuple[str, ...]


def choose(target: Target | None, wish: Wish) -> Choice:
    """Settle what is open by what ``target`` runs, and hold what was stated against it.

    Without a target, every format is written. A stated ``runtime`` older than the target's holds,
    because the target's loads what the older one loads; of a newer one the target's takes the
    place. Warns of a stated ``runtime`` that is newer than every release known.

    Raises:
        UsageError: the target cannot run what was stated, or nothing at all; ``runtime`` is not a
            release.
    """
    newest = None if wish.runtime is None else newest_before(wish.runtime)
    if newest is not None:
        logger.warning(
            "nothing is known of %s; the files are held against %s, the newest release known",
            wish.runtime,
            newest,
        )
    if target is None:
        return Choice(_stated_or(wish, Format), runtime=wish.runtime)
    obstacles = {
        format: obstacle
        for format, obstacle in (
            (Format.ONNX, _onnx_obstacle(target, wish)),
            (Format.TFLITE, _tflite_obstacle(target)),
        )
        if obstacle is not None
    }
    runnable = [format for format in Format if format not in obstacles]
    if not runnable:
        raise _refusal(target, "any of the files", obstacles.values())
    for format, without in _demanded(target, wish, runnable):
        if format in obstacles:
            raise _refusal(target, f"{_NAMES[format]} files", [obstacles[format]], without)
    formats = _stated_or(wish, runnable)
    left_out = [
        f"no {_NAMES[format]}: {obstacle.reason}"
        for format, obstacle in obstacles.items()
        if wish.formats is None
    ]
    made, highest, runtime = [], MAX_OPSET, wish.runtime
    if Format.ONNX in formats:
        version = target.runtimes[_ONNXRUNTIME]
        highest = min(highest_opset(version) or MAX_OPSET, MAX_OPSET)
        made.append(f"ONNX up to opset {_last_opset(wish, highest)} for {_ONNXRUNTIME} {version}")
    if Format.TFLITE in formats:
        runtime = _older(wish.runtime, _requirement(target))
        made.append(f"TFLite for {runtime.replace('==', ' ')}")
    note = f"for {target.device} ({target.architecture}): {'; '.join((*made, *left_out))}"
    return Choice(formats, highest, runtime, note)


def caution(
    target: Target, formats: Sequence[Format], precisions: Sequence[Precision]
) -> str | None:
    """What may go wrong on a device although its runtimes load the files."""
    saturating = target.architecture == "x86_64" and not any("VNNI" in f for f in target.features)
    if saturating and Format.ONNX in formats and Precision.INT8 in precisions:
        return (
            f"{target.device} has no VNNI, without which ONNX Runtime's int8 kernels for x86 can "
            "saturate; `edgeconv bench` there compares the outputs with this machine's"
        )
    return None


def demand_loadable(
    file: str,
    operators: Mapping[str, int],
    runtime: str,
    target: Target | None,
    origins: Mapping[str, str] | None = None,
) -> None:
    """Refuse a TFLite file that a release does not load.

    Args:
        file: its name, for the message.
        operators: builtin operator name to the highest version in the file.
        runtime: the release, as ``tflite-runtime==2.14``.
        target: the device that may have asked for it.
        origins: builtin operator name to the node of the network that it was written for.

    Raises:
        UnsupportedOperator: the release lacks an operator.
    """
    release = tflite_release(runtime)
    refused = [_with_node(what, origins or {}) for what in refused_by(release, operators)]
    if not refused:
        return
    lowest = lowest_tflite_runtime({name: [version] for name, version in operators.items()})
    failing = f"{file}: {release} does not load {', '.join(refused)}"
    if target is None or runtime != _requirement(target):
        raise UnsupportedOperator(
            f"{failing}; install {lowest} or later on the device, or replace the operator in the "
            "network"
        )
    ways = ["replace the operator in the network"]
    if _onnx_obstacle(target, Wish()) is None:
        ways.insert(0, "take --format onnx alone")
    if target.bits == 64 or lowest.startswith(_TFLITE_PACKAGES[1]):
        ways.insert(0, _installation(target, _TFLITE_PACKAGES[0]))
    raise UnsupportedOperator(
        f"{failing}, {target.device} needs {lowest} or later; {', or '.join(ways)}"
    )


def _with_node(operator: str, origins: Mapping[str, str]) -> str:
    """ "SIGN version 1" as "SIGN version 1 for a/b (Erf)"."""
    node = origins.get(operator.partition(" ")[0])
    return operator if node is None else f"{operator} for {node}"


def _refusal(
    target: Target, what: str, obstacles: Iterable[_Obstacle], *without: str
) -> UsageError:
    met = list(obstacles)
    ways = dict.fromkeys([way for obstacle in met for way in obstacle.ways] + list(without))
    reasons = ", and ".join(obstacle.reason for obstacle in met)
    return UsageError(f"{target.device} cannot run {what}: {reasons}; {', or '.join(ways)}")


def _stated_or(wish: Wish, formats: Iterable[Format]) -> tuple[Format, ...]:
    return tuple(formats if wish.formats is None else wish.formats)


def _demanded(
    target: Target, wish: Wish, runnable: Sequence[Format]
) -> Iterator[tuple[Format, str]]:
    """The formats that were stated, or else those that the stated opset and runtime are about, each
    with how to do without it.
    """
    if wish.formats is not None:
        alone = f"take --format {runnable[0].value} alone"
        yield from ((format, alone) for format in wish.formats)
        return
    # Where there is no ONNX Runtime, an opset may still be that of the captured graph.
    if wish.opset is not None and _ONNXRUNTIME in target.runtimes:
        yield Format.ONNX, "leave --opset out"
    if wish.runtime is not None:
        yield Format.TFLITE, "leave --runtime out"


def _onnx_obstacle(target: Target, wish: Wish) -> _Obstacle | None:
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
    if wish.opset is not None and wish.opset > highest:
        return _Obstacle(f"{limit}, not {wish.opset}", (f"pass --opset {min(highest, MAX_OPSET)}",))
    if _has_int16(wish) and highest < INT16_OPSET:
        ways = (_installation(target, _ONNXRUNTIME), "take another --precision")
        return _Obstacle(f"{limit}, int16x8 needs {INT16_OPSET}", ways)
    return None


def _tflite_obstacle(target: Target) -> _Obstacle | None:
    reasons = [target.unusable[name] for name in _TFLITE_PACKAGES if name in target.unusable]
    reason = " and ".join(reasons) or f"neither {' nor '.join(_TFLITE_PACKAGES)} is installed"
    if _has_tflite(target):
        try:
            tflite_release(_requirement(target))
        except UsageError as error:
            reason = str(error)
        else:
            return None
    return _Obstacle(reason, (_installation(target, _TFLITE_PACKAGES[0]),))


def _has_tflite(target: Target) -> bool:
    return any(name in target.runtimes for name in _TFLITE_PACKAGES)


def _requirement(target: Target) -> str:
    """The TFLite runtime that the target takes, without a suffix as in 2.5.0.post1."""
    name = next((name for name in _TFLITE_PACKAGES if name in target.runtimes), "")
    version = re.match(r"[\d.]*\d", target.runtimes.get(name, ""))
    return f"{name}=={version[0] if version else ''}"


def _older(stated: str | None, there: str) -> str:
    if stated is None:
        return there
    release = tflite_release(stated)
    return stated if older_release(release, tflite_release(there)) == release else there


def _has_int16(wish: Wish) -> bool:
    return Precision.INT16X8 in (wish.precisions or ())


def _last_opset(wish: Wish, highest: int) -> int:
    """The highest opset that the files can come to have."""
    usual = wish.opset or (highest if wish.own_opset else min(DEFAULT_OPSET, highest))
    return max(usual, INT16_OPSET) if _has_int16(wish) else usual


def _installation(target: Target, package: str) -> str:
    """How a package comes to a device."""
    if target.device.partition(":")[0] == "local":
        return f"install a current {package} there with pip"
    return (
        f"`edgeconv devices provision {target.device}` installs the current runtimes and names "
        "the device to use then"
    )
