"""The passes over the float graph, in the order they run."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import onnx_ir as ir
from onnx_ir.passes import common

from edgeconv.errors import Notice
from edgeconv.export.graph_edit import own_outputs
from edgeconv.export.passes import gelu
from edgeconv.export.passes.assigned_parts import AssignedParts
from edgeconv.export.passes.bias_before_norm import BiasBeforeNorm
from edgeconv.export.passes.channel_shuffle import ChannelShuffle
from edgeconv.export.passes.clamp_before_concat import ClampBeforeConcat
from edgeconv.export.passes.constants_second import ConstantsSecond
from edgeconv.export.passes.empty_values import EmptyValues
from edgeconv.export.passes.finish import NameNodes, PartBodyOutputs, StateVersions
from edgeconv.export.passes.gemm import MatMulAddToGemm
from edgeconv.export.passes.global_pool import MeanToGlobalPool
from edgeconv.export.passes.hard_swish import HardSwish
from edgeconv.export.passes.layer_norm import FIRST_OPSET_RMS, LayerNorm, RMSNorm
from edgeconv.export.passes.operators_on_codes import OperatorsOnCodes
from edgeconv.export.passes.padded_parts import PaddedParts
from edgeconv.export.passes.pixel_shuffle import PixelShuffle
from edgeconv.export.passes.prelu import PReluToLeakyRelu
from edgeconv.export.passes.quantized_forms import (
    ClipBeforeQuantize,
    QuantizeBeforeClip,
    ScalarScales,
)
from edgeconv.export.passes.resize_axes import ResizeAllAxes
from edgeconv.export.passes.rewriting import Rewrites
from edgeconv.export.passes.selected_parts import SelectedParts
from edgeconv.export.passes.sequences import Sequences
from edgeconv.export.passes.sigmoid import Sigmoid
from edgeconv.export.passes.sigmoid_shares import SigmoidShares
from edgeconv.export.passes.simplification import Simplify
from edgeconv.export.passes.softplus import Softplus
from edgeconv.export.passes.steps import Step, run
from edgeconv.export.passes.sums import SumToAdd
from edgeconv.export.quiet import quiet_python

logger = logging.getLogger(__name__)

# The places of one rewrite that a warning names.
_NAMED_PLACES = 3


def float_steps() -> tuple[Step, ...]:
    """What is done to every float graph, whatever precisions are made of it."""
    return (
        Step(NameNodes(), "first: what is folded would number the nodes without a name"),
        Step(EmptyValues(), "before Simplify, which computes what reads nothing else"),
        Step(Simplify(), "before the rewrites, which know the forms that it leaves"),
        Step(Sequences(), "after Simplify, which computes the positions; it runs Simplify again"),
        Step(
            common.ClearMetadataAndDocStringPass(),
            "the exporter's stack traces name the author's folders; no rewrite reads them",
        ),
        Step(
            common.LiftConstantsToInitializersPass(lift_all_constants=True),
            "the rewrites and the quantizer know constants as initializers",
        ),
        Step(ScalarScales(), "before whatever reads a scale, as ClipBeforeQuantize does"),
        Step(OperatorsOnCodes(), "before ClipBeforeQuantize, to which it may bring a Clip"),
        Step(ClipBeforeQuantize(), "before the patterns that fuse a Clip into what is before it"),
        Step(AssignedParts(), "before SelectedParts, which reads the Concats that it writes"),
        Step(PaddedParts(), "before SelectedParts, which reads the Concats that it writes"),
        Step(SelectedParts(), "anywhere among the rewrites: it leaves Identities and dead Concats"),
        Step(BiasBeforeNorm(), "anywhere: no other rewrite reads what it does"),
        Step(ResizeAllAxes(), "anywhere: nothing else reads the axes of a Resize"),
        Step(SumToAdd(), "before the patterns, which know Adds"),
        Step(ConstantsSecond(), "before the patterns, which look for a constant on one side only"),
        Step(
            gelu.Gelu(),
            "anywhere among the patterns: no other reads Erf or Tanh",
            first_opset=gelu.FIRST_OPSET,
        ),
        Step(PReluToLeakyRelu(), "anywhere: nothing else reads a PRelu"),
        Step(HardSwish(), "anywhere among the patterns: no other reads a Clip between sums"),
        Step(Sigmoid(), "anywhere among the patterns: no other reads Exp"),
        Step(SigmoidShares(), "after Sigmoid, which makes some that it reads"),
        Step(Softplus(), "anywhere among the patterns: no other reads Where"),
        Step(LayerNorm(), "before MeanToGlobalPool: its mean may be over a whole map"),
        Step(
            RMSNorm(),
            "after LayerNorm, whose formula contains this one",
            first_opset=FIRST_OPSET_RMS,
        ),
        Step(PixelShuffle(), "before ChannelShuffle, which reads the same three operators"),
        Step(MatMulAddToGemm(), "before ClampBeforeConcat, which moves a clamp into a Gemm"),
        Step(ClampBeforeConcat(), "before ChannelShuffle, which a clamp behind a Concat ends"),
        Step(QuantizeBeforeClip(), "after the patterns that fuse a Clip, and ClipBeforeQuantize"),
        Step(MeanToGlobalPool(), "before ChannelShuffle, which follows channels through pools"),
        Step(ChannelShuffle(), "last of the rewrites: it needs the operators as they stay"),
        Step(common.IdentityEliminationPass(), "after the rewrites, of which SumToAdd writes some"),
        Step(PartBodyOutputs(), "after the elimination of Identities, which joins outputs"),
        Step(common.RemoveUnusedNodesPass(), "after whatever leaves nodes without a reader"),
        Step(common.RemoveUnusedOpsetsPass(), "after the last node of an opset may have gone"),
        Step(NameNodes(), "after the last rewrite that makes nodes"),
        Step(StateVersions(), "last: it describes the finished file"),
    )


def optimize(model: ir.Model) -> ir.Model:
    """Simplify a float graph in place and return it.

    A warning says what nearly became one operator, and what only the opset keeps written out.

    Args:
        model: a float graph of opset 18 to 23.

    Returns:
        ``model``: constants and batch norms are folded, constants are initializers, there are no
        unused nodes and no metadata, and every node has a name.
    """
    steps, outputs = float_steps(), [str(value.name) for value in model.graph.outputs]
    with quiet_python():
        model = run(model, steps)
        own_outputs(model.graph, outputs)  # equal outputs became one
        missing = model.graph.opset_imports[""] < gelu.FIRST_OPSET
        without_operator = missing and gelu.Gelu().search(model).matches
    if without_operator:
        logger.warning(
            Notice(
                f"opset {model.graph.opset_imports['']} has no Gelu, so the network's GELU stays "
                "written out, which is slower, and partly in float in int8 files",
                f"pass --opset {gelu.FIRST_OPSET}, or only --format tflite",
            )
        )
    _warn_of_near_misses(steps)
    return model


def _warn_of_near_misses(steps: Iterable[Step]) -> None:
    for step in steps:
        misses = step.rewrite.near_misses if isinstance(step.rewrite, Rewrites) else ()
        for miss in misses[:_NAMED_PLACES]:
            logger.warning("%s: that is slower, and partly in float in int8 files", miss)
        if len(misses) > _NAMED_PLACES:
            logger.warning("%d more like them stay written out", len(misses) - _NAMED_PLACES)
