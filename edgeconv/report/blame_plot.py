"""Draw where a network loses accuracy, as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from edgeconv.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeconv.export.blame.report import Blame, LayerBlame

# Pixels.
_ROW, _LABELS, _WIDTH, _TOP, _MARGIN = 16, 300, 520, 64, 16
_STEP_DB = 10
_ALONE, _IN_PLACE = "#c2410c", "#1d4ed8"


def draw(found: Blame) -> str:
    """Draw one row per layer, in the order of the network.

    The bar is the SQNR of the network's output with only this layer in 8 bits: the shorter it is,
    the more the layer loses. The dot is the SQNR of the layer's own output with all layers in 8
    bits.
    """
    highest = max(min(100.0, layer.alone_db) for layer in found.layers)
    ticks = range(0, int(highest // _STEP_DB + 2) * _STEP_DB, _STEP_DB)
    width = _LABELS + _WIDTH + 2 * _MARGIN
    height = _TOP + _ROW * len(found.layers) + _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(_MARGIN, 18, f"{found.model}: SQNR of each layer in int8 (dB)", size=13),
        f'<circle cx="{_LABELS + 4}" cy="36" r="4" fill="{_ALONE}"/>',
        _text(_LABELS + 14, 40, "of the network's output, only this layer in int8"),
        f'<circle cx="{_LABELS + 294}" cy="36" r="4" fill="{_IN_PLACE}"/>',
        _text(_LABELS + 304, 40, "of its own output, all layers in int8"),
        *_grid(ticks, height),
    ]
    for row, layer in enumerate(sorted(found.layers, key=lambda layer: layer.position)):
        lines += _layer(layer, _TOP + _ROW * row, ticks[-1])
    return "\n".join([*lines, "</svg>\n"])


def _grid(ticks: range, height: int) -> Iterator[str]:
    for tick in ticks:
        x = _x(tick, ticks[-1])
        yield f'<path d="M{x:.1f} {_TOP - 4}V{height - _MARGIN}" stroke="#ddd"/>'
        yield _text(x, _TOP - 8, str(tick), anchor="middle")


def _layer(layer: LayerBlame, y: int, highest: int) -> Iterator[str]:
    start, alone = _x(0, highest), _x(layer.alone_db, highest)
    title = escape(printable(f"{layer.name} ({layer.operator}): {layer.reason}"))
    yield f"<g><title>{title}</title>"
    yield _text(_LABELS - 8, y + 12, f"{layer.name} ({layer.operator})", anchor="end")
    yield (
        f'<rect x="{start:.1f}" y="{y + 3}" width="{alone - start:.1f}" height="{_ROW - 6}" '
        f'fill="{_ALONE}" fill-opacity="0.6"/>'
    )
    yield (
        f'<circle cx="{_x(layer.in_place_db, highest):.1f}" cy="{y + _ROW / 2}" r="4" '
        f'fill="{_IN_PLACE}"/></g>'
    )


def _x(decibels: float, highest: int) -> float:
    """The horizontal position; a value outside of the scale is drawn at its end."""
    return _LABELS + _WIDTH * min(max(decibels, 0.0), highest) / highest


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 11) -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-size="{size}">'
        f"{escape(printable(text))}</text>"
    )
