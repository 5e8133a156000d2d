"""A pixel shuffle written out as Reshape, Transpose, Reshape becomes DepthToSpace.

Shi et al. 2016, arXiv:1609.05158. As one operator it can take its channels in the order that
TFLite's DEPTH_TO_SPACE reads from the convolution in front.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import pattern

from edgeconv.export.passes.rewriting import MATCH, Rewrites, no_match

DEPTH_FIRST = (0, 1, 4, 2, 5, 3)
BLOCK_FIRST = (0, 3, 4, 1, 5, 2)


def _shapes(x: ir.Value, split: ir.Value, y: ir.Value) -> list[tuple[int, ...]] | None:
    shapes = [None if value.shape is None else value.shape for value in (x, split, y)]
    if any(shape is None or not shape.is_static() for shape in shapes):
        return None
    return [shape.numpy() for shape in shapes if shape is not None]


def _block(x: ir.Value, split: ir.Value, y: ir.Value, depth_first: bool) -> int | None:
    shapes = _shapes(x, split, y)
    if shapes is None or [len(shape) for shape in shapes] != [4, 6, 4]:
        return None
    n, c, h, w = shapes[0]
    block = shapes[1][2]
    if block < 2 or c % block**2:
        return None
    depth = c // block**2
    channels = (depth, block, block) if depth_first else (block, block, depth)
    fits = shapes[1] == (n, *channels, h, w) and shapes[2] == (n, depth, h * block, w * block)
    return block if fits else None


def _rule(perm: tuple[int, ...], mode: str) -> pattern.RewriteRule:
    depth_first = mode == "CRD"

    def shape(op: Any, x: Any, first: Any, second: Any) -> Any:
        split = op.Reshape(x, first, _allow_other_attributes=True, _outputs=["split"])
        moved = op.Transpose(split, perm=list(perm))
        return op.Reshape(moved, second, _allow_other_attributes=True, _outputs=["y"])

    def check(
        context: Any, x: ir.Value, split: ir.Value, y: ir.Value, **_: Any
    ) -> pattern.MatchResult:
        if _block(x, split, y, depth_first) is None:
            return no_match("its shapes are not those of a pixel shuffle")
        return MATCH

    def build(op: Any, x: ir.Value, split: ir.Value, y: ir.Value, **_: Any) -> Any:
        return op.DepthToSpace(x, blocksize=_block(x, split, y, depth_first), mode=mode)

    return pattern.RewriteRule(shape, build, check)


class PixelShuffle(Rewrites):
    """Reshape, Transpose, Reshape of a pixel shuffle → ``DepthToSpace``.

    ``Reshape [N, C, r, r, H, W]``, ``Transpose (0, 1, 4, 2, 5, 3)``, ``Reshape [N, C, rH, rW]``
    become one of mode CRD. With the block in front of the depth, they become one of mode DCR.
    """

    subject = "pixel shuffle"
    rules = (_rule(DEPTH_FIRST, "CRD"), _rule(BLOCK_FIRST, "DCR"))
