"""The textbook comparison: what each kind of convolution from C to M channels costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeconv.models.arithmetic import transform_macs
from edgeconv.models.layers.frequency import transform_size


@dataclass(frozen=True)
class ConvKind:
    """One row of the comparison.

    ``parameters`` counts the weights, without bias; each is used once for every output position,
    so it is also the MACs for one position. ``reach`` is the side of the square, in pixels, that an
    output position sees. ``condition`` says when the row computes what the standard one computes.
    """

    name: str
    formula: str
    parameters: int
    reach: int
    condition: str

    def macs(self, positions: int) -> int:
        """Multiply-accumulates of a layer with this many output positions."""
        return self.parameters * positions


def compare_convolutions(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    groups: int | None = None,
    dilation: int = 2,
) -> tuple[ConvKind, ...]:
    """The kinds of convolution from C = ``in_channels`` to M = ``out_channels``, standard first.

    Without ``groups`` there are two, and no such row where two do not divide the channels.

    Raises:
        ValueError: a size is not positive, or ``groups`` does not divide both channel counts.
    """
    c, m, k, d = in_channels, out_channels, kernel_size, dilation
    g = 2 if groups is None else groups
    if min(c, m, k, g, d) < 1:
        raise ValueError("channels, kernel size, groups and dilation must be positive")
    divides = c % g == 0 and m % g == 0
    if groups is not None and not divides:
        raise ValueError(f"{g} groups do not divide {c} and {m} channels")
    standard = k * k * c * m
    rank_one = "every k x k kernel has rank one"
    words = f"grouped, {g} groups", "k² C M / g"
    grouped = (ConvKind(*words, standard // g, k, "no mixing between groups"),) if divides else ()
    return (
        ConvKind("standard", "k² C M", standard, k, ""),
        ConvKind("depthwise", "k² C", k * k * c, k, "no mixing of channels"),
        ConvKind("pointwise", "C M", c * m, 1, "no neighbors"),
        ConvKind(
            "depthwise separable",
            "k² C + C M",
            k * k * c + c * m,
            k,
            "the kernels of one input channel are multiples of each other",
        ),
        ConvKind("spatially separable", "2 k C M", 2 * k * c * m, k, rank_one),
        ConvKind(
            "k x 1, then 1 x k",
            "k C M + k M²",
            k * c * m + k * m * m,
            k,
            "the weights as a C k by M k matrix have rank M at most",
        ),
        *grouped,
        ConvKind(f"dilated by {d}", "k² C M", standard, d * (k - 1) + 1, "zeros between the taps"),
    )


@dataclass(frozen=True)
class FrequencyCost:
    """A convolution in the frequency domain beside the direct one, on a square map.

    ``macs`` and ``direct_macs`` are real multiplications. ``fewer_at`` has the ranges of odd kernel
    sides, up to the side of the map, at which the frequency domain needs fewer. ``fewer_from`` is
    the smallest from which on it always does; None if there is none.
    """

    macs: int
    direct_macs: int
    fewer_at: tuple[tuple[int, int], ...]
    fewer_from: int | None


def frequency_cost(
    in_channels: int, out_channels: int, kernel_size: int, size: int
) -> FrequencyCost:
    """Compare :class:`edgeconv.models.layers.frequency.FrequencyConv` with a convolution.

    Args:
        in_channels: C.
        out_channels: M.
        kernel_size: k.
        size: Side of the map, which the convolution keeps.
    """
    per_tap = in_channels * out_channels * size**2
    largest = size - 1 + size % 2
    # On the way to the largest kernel the transforms grow once. On each side of that step they cost
    # the same for all kernels, while the direct convolution grows with the square.
    step = min(largest, (transform_size(size, 1) - size) | 1)
    found: list[tuple[int, int]] = []
    for first, last in ((1, step), (step + 2, largest)):
        cost = frequency_macs(in_channels, out_channels, last, size)
        least = max(first, (math.isqrt(cost // per_tap) + 1) | 1)
        if least > last:
            continue
        if found and least == found[-1][1] + 2:
            least, _ = found.pop()
        found.append((least, last))
    fewer_from = found[-1][0] if found and found[-1][1] == largest else None
    macs = frequency_macs(in_channels, out_channels, kernel_size, size)
    return FrequencyCost(macs, kernel_size**2 * per_tap, tuple(found), fewer_from)


def frequency_macs(in_channels: int, out_channels: int, kernel_size: int, size: int) -> int:
    """Real multiplications: 4 C M P (P / 2 + 1) products and C + M transforms of P² points.

    P is the power of two from size + k - 1 on. The transforms of the kernels are not counted: they
    do not change between inferences.
    """
    side = transform_size(size, kernel_size)
    products = 4 * in_channels * out_channels * side * (side // 2 + 1)
    return products + (in_channels + out_channels) * transform_macs(side**2)


def separable_ratio(out_channels: int, kernel_size: int) -> float:
    """Parameters, and MACs, of depthwise separable over standard: 1/M + 1/k².

    Howard et al. 2017 (arXiv:1704.04861), section 3.1.
    """
    return 1 / out_channels + 1 / kernel_size**2
