"""The passes over the float graph, in the order they run."""

from __future__ import annotations

import logging

import onnx_ir as ir
from onnx_ir.passes import common

from edgeconv.export.passes import gelu, layer_norm
from edgeconv.export.passes.channel_shuffle import ChannelShuffle
from edgeconv.export.passes.clamp_before_concat import ClampBeforeConcat
from edgeconv.export.passes.constants_second import ConstantsSecond
from edgeconv.export.passes.gemm import MatMulAddToGemm
from edgeconv.export.passes.global_pool import MeanToGlobalPool
from edgeconv.export.passes.hard_swish import HardSwish
from edgeconv.export.passes.pixel_shuffle import PixelShuffle
from edgeconv.export.passes.prelu import PReluToLeakyRelu
from edgeconv.export.passes.sigmoid import Sigmoid
from edgeconv.export.passes.simplification import simplify
from edgeconv.export.passes.softplus import Softplus
from edgeconv.export.passes.sums import SumToAdd
from edgeconv.export.quiet import quiet_python

logger = logging.getLogger(__name__)

# The lowest IR version that goes with each opset (ONNX's own Versioning table), so that the
# oldest runtime that knows the opset loads the file.
_IR_VERSION = {18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}


def optimize(model: ir.Model) -> ir.Model:
    """Simplify a float graph in place and return it.

    Ensures: constants folded, batch norm folded into convolutions, constants are initializers,
    no unused nodes, no metadata (the exporter's stack traces name the author's folders), every
    node has a name. Warns of a GELU that stays written out under an opset without the operator.
    """
    opset = model.graph.opset_imports.get("", 0)
    _name_nodes(model)
    with quiet_python():
        simplify(model)
        cleanup = ir.passes.Sequential(
            common.ClearMetadataAndDocStringPass(),
            common.LiftConstantsToInitializersPass(lift_all_constants=True),
            *_rewrites(opset),
            common.IdentityEliminationPass(),
            common.RemoveUnusedNodesPass(),
            common.RemoveUnusedOpsetsPass(),
        )
        cleanup(model)
        without_operator = opset < gelu.FIRST_OPSET and gelu.is_written_out(model)
    if without_operator:
        logger.warning(
            "opset %d has no Gelu, so the network's GELU stays written out, which is slower, and "
            "partly in float in int8 files; pass --opset %d, or --format tflite alone",
            opset,
            gelu.FIRST_OPSET,
        )
    _name_nodes(model)
    model.ir_version = _IR_VERSION[opset]
    model.producer_name = "edgeconv"
    model.producer_version = None
    return model


def _name_nodes(model: ir.Model) -> None:
    """Give every node without a name that of its first result."""
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        node.name = node.name or node.outputs[0].name


def _rewrites(opset: int) -> list[ir.passes.InPlacePass]:
    """The rewrites that have an operator to write in ``opset``, in their order."""
    rewrites: list[ir.passes.InPlacePass] = [
        SumToAdd(),
        ConstantsSecond(),
        PReluToLeakyRelu(),
        HardSwish(),
        Sigmoid(),
        Softplus(),
        layer_norm.LayerNorm(),
        PixelShuffle(),
        MatMulAddToGemm(),
        ClampBeforeConcat(),
        MeanToGlobalPool(),
        ChannelShuffle(),
    ]
    if opset >= gelu.FIRST_OPSET:
        rewrites.insert(0, gelu.Gelu())
        rewrites.insert(0, ConstantsSecond())
    if opset >= layer_norm.FIRST_OPSET_RMS:
        rewrites.append(layer_norm.RMSNorm())
    return rewrites
