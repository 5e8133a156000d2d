"""Numbers for people: three significant digits and a unit, and quantities that people write.

Prefixes are decimal everywhere: 1 kB is 1,000 bytes and 1 MB is 1,000,000 bytes.
"""

from __future__ import annotations

import math
import re

_LARGE = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_TIME = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_DIGITS = 3
_MOST_DIGITS = 6
_TOO_LONG = 1e6  # a bound that says no more than that nothing is known


def format_bytes(count: int) -> str:
    """``3_500_000`` bytes as "3.50 MB", ``512`` as "512 B"."""
    text = format_count(count)
    return f"{text}B" if " " in text else f"{text} B"


def format_count(count: int) -> str:
    """``3_504_872`` as "3.50 M", ``512`` as "512"; for parameters, MACs, instructions."""
    for factor, prefix in _LARGE:
        # Half a unit of the third digit below the factor already rounds up to it.
        if abs(count) >= factor * (1 - 0.5 * 10**-_DIGITS):
            return f"{significant(count / factor)} {prefix}"
    return str(count)


def format_samples(count: int) -> str:
    """``1`` as "1 sample", ``8`` as "8 samples"."""
    return "1 sample" if count == 1 else f"{count} samples"


def format_duration(
    seconds: float,
    *,
    error: float | None = None,
    interval: tuple[float, float] | None = None,
    tick: float | None = None,
) -> str:
    """A duration in the unit that suits it.

    Args:
        seconds: The duration.
        error: Its uncertainty in seconds, giving "12.1 ± 0.2 ms".
        interval: Its confidence interval in seconds, giving "3.52 ms [3.49, 3.58]".
        tick: The step in seconds of the clock that measured it, giving "2 µs", and "< 1 µs" for
            less than a step.
    """
    if not math.isfinite(seconds):
        return str(seconds)
    if tick is not None and seconds < tick:
        return f"< {format_duration(tick, tick=tick)}"
    factor, unit = next(
        ((f, u) for f, u in _TIME if abs(seconds) >= f * (1 - 0.5 * 10**-_DIGITS)),
        _TIME[-1] if seconds else _TIME[0],
    )
    value = seconds / factor
    if error is not None:
        spread = error / factor
        places = _places(spread, digits=1) if spread > 0 else _places(value, _DIGITS)
        return f"{value:.{places}f} ± {spread:.{places}f} {unit}"
    if interval is not None:
        low, high = (bound / factor for bound in interval)
        places = _places(value, _DIGITS)
        if high > low:
            places = max(places, _places((high - low) / 2, digits=1))
        places = min(places, _places(value, _MOST_DIGITS))
        above = f"{high:.0e}" if high >= _TOO_LONG else f"{high:.{places}f}"
        return f"{value:.{places}f} {unit} [{low:.{places}f}, {above}]"
    if tick is not None:
        places = min(_places(value, _DIGITS), _places(tick / factor, digits=1))
        return f"{value:.{places}f} {unit}"
    return f"{significant(value)} {unit}"


def format_clock(seconds: float) -> str:
    """A time as 1:05, or 2:00:00 from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_ratio(ratio: float, *, digits: int = _DIGITS) -> str:
    """``1.934`` as 1.93 and the multiplication sign."""
    return f"{significant(ratio, digits)}\N{MULTIPLICATION SIGN}"


def format_percent(share: float, *, places: int = 1) -> str:
    """``0.876`` as "87.6%"."""
    return f"{100 * share:.{places}f}%"


def format_change(ratio: float) -> str:
    """``1.031`` as "+3.1%"."""
    return f"{100 * (ratio - 1):+.1f}%"


def significant(value: float, digits: int = _DIGITS) -> str:
    """``value`` with so many significant digits, never in exponent form."""
    return f"{value:.{_places(value, digits)}f}"


def _places(value: float, digits: int) -> int:
    """Decimal places that show ``digits`` significant digits of ``value``."""
    if value == 0 or not math.isfinite(value):
        return 0
    # Rounded first: 9.996 with three digits is 10.0, not 10.00.
    magnitude = math.floor(math.log10(float(f"{abs(value):.{digits - 1}e}")))
    return max(0, digits - 1 - magnitude)


_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµ]+)\s*")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_BYTES = {
    **{"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9},
    **{"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
}


def seconds_of(text: object) -> float:
    """Read a duration such as "33ms" or "10min".

    Raises:
        ValueError: It is something else.
    """
    return _quantity(text, _SECONDS, "a duration such as 33ms")


def bytes_of(text: object) -> int:
    """Read a size such as "5MB"; prefixes are decimal, those with an i binary.

    Raises:
        ValueError: It is something else.
    """
    return round(_quantity(text, _BYTES, "a size such as 5MB"))


def _quantity(text: object, units: dict[str, float], what: str) -> float:
    found = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[2] not in units:
        raise ValueError(f"{text!r} is not {what} (units: {', '.join(units)})")
    number = float(found[1]) * units[found[2]]
    if not math.isfinite(number):
        raise ValueError("the number is too large")
    return number
