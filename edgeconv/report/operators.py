"""The tables of a profile by operator, and what they mean in words."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePath
from typing import TYPE_CHECKING

from edgeconv.report.stacked import fitting, stacked, wide_note
from edgeconv.report.tables import Column, table
from edgeconv.units import format_duration, format_percent, format_ratio, significant

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

    from edgeconv.bench.profile.profile import OperatorResult
    from edgeconv.bench.profile.records import ProfiledModel, ProfiledOperator
    from edgeconv.bench.profile.roofline_int8 import Int8AgainstFloat, Reason

COLUMNS = (
    Column("File"),
    Column("Node"),
    Column("Operator"),
    Column("Output", spare=True),
    Column("Time [95 % interval]", numeric=True),
    Column("Share", numeric=True),
    Column("GMAC/s", numeric=True, spare=True),
)
# On a board whose peaks are known.
ROOF_COLUMNS = (
    Column("Roof", numeric=True, spare=True),
    Column("Of roof", numeric=True, spare=True),
    Column("Bound by", spare=True),
)
ROWS = 15  # the slowest nodes of a file
# As the operators are called in each format.
CONVERSIONS = {
    ".onnx": "QuantizeLinear and DequantizeLinear",
    ".tflite": "QUANTIZE and DEQUANTIZE",
}


def operators_table(result: OperatorResult) -> Table:
    """List the slowest nodes of each file.

    The columns are their share of the time, how fast they compute, and how fast the board could.
    """
    columns = _columns(result)
    rows = [row[: len(columns)] for model in result.models for row in _rows(model)]
    return table(columns, rows, whole=True)


def narrow_operators_table(result: OperatorResult) -> Group:
    """The same within 80 columns, a table for each file.

    A node's name that is too long stands above its figures, and columns that do not fit are left
    out.
    """
    from rich.console import Group

    columns, kept = _columns(result)[1:], _kept(result)
    heading = [columns[i] for i in kept]
    parts: list[RenderableType] = []
    for model in result.models:
        rows = [[row[1 + i] for i in kept] for row in _rows(model)]
        parts += [*([""] if parts else []), stacked(heading, rows, title=model.file.name)]
    return Group(*parts)


def narrow_notes(result: OperatorResult) -> list[str]:
    """The notes, and what the narrow table leaves out."""
    kept, columns = _kept(result), _columns(result)[1:]
    left_out = [column.name for i, column in enumerate(columns) if i not in kept]
    return [*notes(result), *([wide_note(left_out)] if left_out else [])]


def _kept(result: OperatorResult) -> list[int]:
    """The columns behind the file's that all files have room for: a name has a line of its own."""
    columns = _columns(result)[1:]
    rows = [row[1 : 1 + len(columns)] for model in result.models for row in _rows(model)]
    return fitting(columns, [["", *row[1:]] for row in rows])


def _columns(result: OperatorResult) -> tuple[Column, ...]:
    return (*COLUMNS, *ROOF_COLUMNS) if _has_roofs(result) else COLUMNS


def notes(result: OperatorResult) -> list[str]:
    """The share of each kind of operator, the roofs, and why int8 is not faster."""
    from edgeconv.bench.interference import too_many_threads

    found = [_shares(model) for model in result.models]
    found.append(_roofs(result))
    crowd = too_many_threads(max(result.options.sweep), result.models[0].machine)
    found += dict.fromkeys([*result.warnings, *([crowd] if crowd else [])])
    for comparison in result.int8_against_float:
        found += _against_float(comparison, result)
    return found


def _has_roofs(result: OperatorResult) -> bool:
    return any(model.peaks for model in result.models)


def _shares(model: ProfiledModel) -> str:
    kinds: dict[str, int] = defaultdict(int)
    for operator in model.operators:
        kinds[operator.operator] += operator.ns
    total = max(sum(kinds.values()), 1)
    order = sorted(kinds, key=lambda kind: -kinds[kind])
    shares = ", ".join(f"{kind} {_share(kinds[kind], total, model)}" for kind in order)
    return f"{model.file.name}: {_time(total, model)} in kernels: {shares}"


def _roofs(result: OperatorResult) -> str:
    from edgeconv.bench.profile.roofline import Arithmetic
    from edgeconv.bench.profile.roofline_boards import BOARDS

    model = result.models[0]
    peaks = model.peaks
    if peaks is None:
        name = model.machine.board or model.machine.cpu or model.machine.architecture
        known = ", ".join(board.model for board in BOARDS)
        return f"no roofline: the peaks of {name} are not known (only those of {known})"
    frequency = "as reported" if model.frequency_hz else "its nominal frequency"
    bandwidth = "memory bandwidth unknown"
    if peaks.bytes_per_ns is not None:
        bandwidth = f"{significant(peaks.bytes_per_ns)} GB/s of memory"
    return (
        f"roofs of {peaks.board}, cores: {peaks.cores} at {peaks.hertz / 1e6:.0f} MHz "
        f"({frequency}): "
        f"{significant(peaks.macs_per_ns[Arithmetic.FLOAT32])} GMAC/s in float32, "
        f"{significant(peaks.macs_per_ns[Arithmetic.INT8])} GMAC/s in int8, {bandwidth}"
    )


def _rows(model: ProfiledModel) -> list[list[str]]:
    total = max(sum(operator.ns for operator in model.operators), 1)
    order = sorted(model.operators, key=lambda operator: -operator.ns)
    rows = [
        [
            "" if index else model.file.name,
            operator.name,
            operator.operator,
            _shape(operator.outputs[0].shape) if operator.outputs else "-",
            _time_of(operator, model),
            _share(operator.ns, total, model),
            _speed(operator, model),
            *_roof(operator),
        ]
        for index, operator in enumerate(order[:ROWS])
    ]
    if rest := order[ROWS:]:
        time = sum(operator.ns for operator in rest)
        label = "1 other" if len(rest) == 1 else f"{len(rest)} others"
        blank = [""] * (1 + len(ROOF_COLUMNS))
        rows.append(["", label, "", "", _time(time, model), _share(time, total, model), *blank])
    return rows


def _time(ns: int, model: ProfiledModel) -> str:
    """A time with the digits that the clock resolves."""
    return format_duration(ns / 1e9, tick=model.tick_ns / 1e9)


def _time_of(operator: ProfiledOperator, model: ProfiledModel) -> str:
    """The time of an operator, with its interval if several processes show how much it varies."""
    interval = operator.interval
    if interval is None:
        return _time(operator.ns, model)
    return format_duration(operator.ns / 1e9, interval=(interval.low / 1e9, interval.high / 1e9))


def _share(ns: int, total: int, model: ProfiledModel) -> str:
    """A share, in tenths of a percent only where the clock resolves them."""
    return format_percent(ns / total, places=1 if 1000 * model.tick_ns <= total else 0)


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _digits(ns: int, model: ProfiledModel) -> int:
    """How many digits of a time the clock resolves, three at most."""
    return min(len(str(ns // model.tick_ns)), 3)


def _speed(operator: ProfiledOperator, model: ProfiledModel) -> str:
    """GMAC/s, with no more digits than the time has."""
    if not operator.macs or not operator.ns:
        return "-"
    digits = _digits(operator.ns, model)
    speed = float(f"{operator.macs / operator.ns:.{digits - 1}e}")
    return significant(speed, digits)


def _roof(operator: ProfiledOperator) -> list[str]:
    roof, share = operator.roof, operator.share_of_roof
    if roof is None:
        return ["-", "-", "-"]
    return [
        format_duration(roof.ns / 1e9),
        "-" if share is None else format_percent(share, places=0),
        roof.limit.value,
    ]


def _against_float(comparison: Int8AgainstFloat, result: OperatorResult) -> list[str]:
    """Sentences on an int8 file and the float file of the same network."""
    (model,) = (m for m in result.models if m.file.name == comparison.int8_file)
    ratio = comparison.float_ns / max(comparison.int8_ns, 1)
    digits = _digits(min(comparison.int8_ns, comparison.float_ns), model)
    conversions = ""
    if comparison.conversions_ns:
        share = _share(comparison.conversions_ns, max(comparison.int8_ns, 1), model)
        names = CONVERSIONS[PurePath(comparison.int8_file).suffix]
        conversions = f"; {share} of it goes into {names}"
    found = [
        f"{comparison.int8_file}: {format_ratio(ratio, digits=digits)} as fast in kernels as "
        f"{comparison.float_file}{conversions}"
    ]
    reasons = dict.fromkeys(slow.reason for slow in comparison.not_faster)
    return found + [_why(reason, comparison, result) for reason in reasons]


def _why(reason: Reason, comparison: Int8AgainstFloat, result: OperatorResult) -> str:
    """One reason, and the operators that it holds for."""
    (model,) = (m for m in result.models if m.file.name == comparison.int8_file)
    operators = "; ".join(
        f"{slow.operator} {slow.name} ({_shape(slow.outputs)}) {_time(slow.ns, model)}, "
        f"in float {_time(slow.float_ns, model)}"
        for slow in comparison.not_faster
        if slow.reason is reason
    )
    words = _words(reason, model)
    return f"{comparison.int8_file}: no faster than in float ({words}): {operators}"


def _words(reason: Reason, model: ProfiledModel) -> str:
    from edgeconv.bench.profile.roofline_boards import board_called
    from edgeconv.bench.profile.roofline_int8 import Reason

    board = board_called(model.machine.board)
    if reason is Reason.NO_DOT_PRODUCT and board is not None:
        core = board.core
        return (
            f"{core.name} has no dot product instruction; it multiplies at most {core.int8} int8 "
            f"a cycle, and {core.float32} float32"
        )
    return {
        Reason.FLOAT: "it runs in float here too, with the conversions around it",
        Reason.NOT_DELEGATED: "XNNPACK does not take it in int8, TFLite's own kernel runs it",
        Reason.MEMORY: "its tensors move about as fast as the memory allows",
        Reason.DEPTHWISE: "a depthwise convolution sums no products across channels, so dot "
        "products, where int8 is fastest, do not help",
    }.get(reason, "nothing that is known here explains it")
