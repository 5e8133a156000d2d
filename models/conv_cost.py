"""The textbook comparison: what each kind of convolution from C to M channels costs."""

from __future__ import annotations

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
    groups: int = 2,
    dilation: int = 2,
) -> tuple[ConvKind, ...]:
    """The kinds of convolution from C = ``in_channels`` to M = ``out_channels``, standard first.

    Raises:
        ValueError: a size is not positive, or ``groups`` does not divide both channel counts.
    """
    c, m, k, g, d = in_channels, out_channels, kernel_size, groups, dilation
    if min(c, m, k, g, d) < 1:
        raise ValueError("channels, kernel size, groups and dilation must be positive")
    if c % g or m % g:
        raise ValueError(f"{g} groups do not divide {c} and {m} channels")
    standard = k * k * c * m
    rank_one = "every k x k kernel has rank one"
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
        ConvKind(
            f"grouped, {g} groups", "k² C M / g", standard // g, k, "no mixing between groups"
        ),
        ConvKind(f"dilated by {d}", "k² C M", standard, d * (k - 1) + 1, "zeros between the taps"),
    )


@dataclass(frozen=True)
class FrequencyCost:
    """A convolution in the frequency domain beside the direct one, on a square map.

    ``macs`` and ``direct_macs`` are real multiplications. ``fewer_from`` is the smallest odd kernel
    side from which on, up to the side of the map, the frequency domain needs fewer; None if there
    is none.
    """

    macs: int
    direct_macs: int
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
    c, m = in_channels, out_channels

    def direct(k: int) -> int:
        return k * k * c * m * size**2

    fewer_from = None
    for k in range(size - 1 + size % 2, 0, -2):
        if frequency_macs(c, m, k, size) >= direct(k):
            break
        fewer_from = k
    k = kernel_size
    return FrequencyCost(frequency_macs(c, m, k, size), direct(k), fewer_from)


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
