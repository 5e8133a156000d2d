"""The textbook comparison: what each kind of convolution from C to M channels costs."""

from __future__ import annotations

from dataclasses import dataclass


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
        raise ValueError(f"{g} groups do not divide {c} and {m} channels; choose a common divisor")
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


def separable_ratio(out_channels: int, kernel_size: int) -> float:
    """Parameters, and MACs, of depthwise separable over standard: 1/M + 1/k².

    Howard et al. 2017 (arXiv:1704.04861), section 3.1.
    """
    return 1 / out_channels + 1 / kernel_size**2
