"""Exact simplification of a float graph: only what gives the same bits for every input may go.

The optimizer of PyTorch's exporter drops ``x + c`` for |c| <= 1e-8 and ``x * c`` for c within 1e-5
of 1. A logarithm behind such an epsilon then gives -inf. So that optimizer stays off. Here run
constant folding, and those of onnxscript's rules that move, merge or drop nodes and compute nothing
else. The one exception folds batch norm into convolutions, which rounds differently in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.optimizer import fold_constants_ir
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules

from edgeconv.export.graph_edit import GraphEditor
from edgeconv.export.known_nodes import known_nodes

_RULES = (
    rules.dropout_zero_rule,
    rules.dropout_inference_rule,
    rules.one_reshape_matmul_reshape_rule,
    rules.two_reshapes_matmul_reshape_rule,
    rules.cast_constant_of_shape_rule,
    rules.cast_constant_of_shape_without_value_rule,
    rules.collapse_slice_rule,
    rules.collapse_slice2_rule,
    rules.materialize_reshape_shape_rule,
    rules.max_max_rule,
    rules.min_min_rule,
    rules.max_min_rule,
    rules.min_max_rule,
    rules.successive_relu_rule,
    rules.no_op_cast_rule,
    rules.no_op_expand_rule,
    rules.flatten_to_reshape_rule,
    rules.reshape_reshape_rule,
    rules.no_op_transpose_rule,
    rules.transpose_transpose_rule,
    rules.unsqueeze_unsqueeze_rule,
    rules.squeeze_reshape_1d_rule,
    rules.no_op_dynamic_scatter_nd_rule,
    rules.no_op_static_scatter_nd_rule,
    rules.normalize_pad_format_conv_rule,
    rules.normalize_pad_format_conv_integer_rule,
    rules.fuse_pad_into_conv_rule,
    rules.fuse_pad_into_conv_integer_rule,
    rules.fuse_batchnorm_into_conv_rule,
    rules.fuse_batchnorm_into_conv_transpose_rule,
    rules.fuse_batchnorm_into_gemm_rule,
    rules.remove_optional_bias_from_conv_rule,
    rules.remove_optional_bias_from_conv_transpose_rule,
    rules.remove_optional_bias_from_gemm_rule,
)
"""onnxscript's default rules without four kinds: ``cast_cast`` rounds once, not twice; merging
a Clip with a Relu or Clip is wrong where their bounds do not meet; the no-op arithmetic has
tolerances, so :class:`NoOpArithmetic` stands for it; ``slice_split`` reads the whole graph at every
node (10 s for 3,000 nodes) and finds halves only where the second is before the first."""


MOST_FOLDED = 64_000_000
"""Elements of the largest constant that is computed at export, such as a standardized weight."""

# onnxscript's own limit for results.
_WORTH_COMPUTING = 512 * 512
_SCALED = {"DequantizeLinear", "QuantizeLinear"}  # onnxscript lets the scales stay


class Simplify(ir.passes.InPlacePass):
    """Inline functions, fold constants and drop what changes nothing."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Simplify ``model``."""
        return ir.passes.PassResult(model, modified=_SEQUENCE(model).modified)


class FoldConstants(ir.passes.InPlacePass):
    """Compute what depends on constants only, with ONNX's reference implementation."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fold the constants of ``model``."""
        passing = _passing(model.graph)

        def should_fold(node: ir.Node) -> bool | None:
            return _unless_grown(node, passes=node in passing)

        result = fold_constants_ir(
            model,
            onnx_shape_inference=True,
            input_size_limit=MOST_FOLDED,
            output_size_limit=MOST_FOLDED,
            should_fold=should_fold,
        )
        return ir.passes.PassResult(model, modified=result.modified)


def _passing(graph: ir.Graph) -> set[ir.Node]:
    """The nodes of constants whose results only others of constants read, and come to little.

    So a small network computes a table of biases from coordinates: what its hidden layer makes of
    them is larger than both, but is not stored.
    """
    known = {
        node for node in known_nodes(graph) if node.domain == "" and node.op_type not in _SCALED
    }
    passing: set[ir.Node] = set()
    for node in reversed(graph):
        outputs = [value for value in node.outputs if value.name]
        readers = {user for value in outputs for user in value.consumers()}
        if (
            node in known
            and not any(value.is_graph_output() for value in outputs)
            and sum(map(_elements, outputs)) <= MOST_FOLDED
            and all(user in passing or (user in known and _is_small(user)) for user in readers)
        ):
            passing.add(node)
    return passing


def _is_small(node: ir.Node) -> bool:
    return 0 < sum(map(_elements, node.outputs)) <= _WORTH_COMPUTING


def _unless_grown(node: ir.Node, *, passes: bool) -> bool | None:
    """False for a node whose result is large, and larger than what it is made from; True if small.

    Computing it in the network costs less than storing it, unless it ``passes`` and is not stored.
    onnxscript drops results above its limit only after it has computed them, so that limit is
    checked here too. None leaves it to the other rules.
    """
    inputs = sum(_elements(value) for value in node.inputs if value is not None)
    outputs = sum(_elements(value) for value in node.outputs)
    if outputs > MOST_FOLDED or (outputs > max(inputs, _WORTH_COMPUTING) and not passes):
        return False
    # onnxscript leaves this one alone, for the sake of large ones. PyTorch pads with small ones.
    small = node.op_type == "ConstantOfShape" and node.domain == "" and outputs > 0
    return True if small else None


def _elements(value: ir.Value) -> int:
    """How many elements a value has; 0 where its shape is not known."""
    if value.shape is None or not value.shape.is_static():
        return 0
    return math.prod(value.shape.numpy())


class NoOpArithmetic(ir.passes.InPlacePass):
    """Drop additions, subtractions, products and quotients whose result has the bits of an input.

    For floats ``x + 0`` is not among them: it turns -0 into 0, which a division can see. ``x - 0``
    and ``x + (-0)`` are.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Put an Identity in the place of each such node."""
        changed = False
        for node in list(model.graph):
            kept = _kept_operand(node)
            if kept is not None and kept.shape is not None and kept.shape == node.outputs[0].shape:
                identity = ir.node("Identity", [kept], name=node.name)
                ir.convenience.replace_nodes_and_values(
                    model.graph, node, [node], [identity], node.outputs, identity.outputs
                )
                changed = True
        return ir.passes.PassResult(model, modified=changed)


class RegisterConstants(ir.passes.InPlacePass):
    """Give constants that a rule made under a name that another one has names of their own.

    onnxscript names the bounds of a Clip after its input, and several Clips may read the same one.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Register such constants of the graph."""
        editor = GraphEditor(model.graph)
        lost = {
            value: value.const_value
            for node in model.graph
            for value in node.inputs
            if value is not None
            and value.const_value is not None
            and value.producer() is None
            and model.graph.initializers.get(str(value.name)) is not value
        }
        for value, tensor in lost.items():
            own = editor.constant(str(value.name), tensor.numpy())
            for user, index in list(value.uses()):
                user.replace_input_with(index, own)
        return ir.passes.PassResult(model, modified=bool(lost))


def _is_zero(array: npt.NDArray[np.generic]) -> bool:
    return not np.any(array) and not np.any(np.signbit(array))


def _is_negative_zero(array: npt.NDArray[np.generic]) -> bool:
    if np.issubdtype(array.dtype, np.integer):
        return not np.any(array)
    return not np.any(array) and bool(np.all(np.signbit(array)))


def _is_one(array: npt.NDArray[np.generic]) -> bool:
    return bool(np.all(array == 1))


_NEUTRAL: dict[str, tuple[Callable[[npt.NDArray[np.generic]], bool], bool]] = {
    "Add": (_is_negative_zero, True),
    "Sub": (_is_zero, False),
    "Mul": (_is_one, True),
    "Div": (_is_one, False),
}
"""Per operator, whether a constant second operand changes nothing, and whether operands commute."""


def _kept_operand(node: ir.Node) -> ir.Value | None:
    """The input that ``node`` returns as it is; None where it computes something."""
    if node.op_type not in _NEUTRAL or node.domain != "" or len(node.inputs) != 2:
        return None
    is_neutral, commutes = _NEUTRAL[node.op_type]
    first, second = node.inputs
    for kept, other in ((first, second), (second, first))[: 1 + commutes]:
        tensor = None if other is None else ir.convenience.get_const_tensor(other)
        if tensor is not None and is_neutral(tensor.numpy()):
            return kept
    return None


_SEQUENCE = ir.passes.Sequential(
    common.InlinePass(),
    ir.passes.PassManager(
        [
            FoldConstants(),
            NoOpArithmetic(),
            RewritePass(_RULES),
            RegisterConstants(),
            common.RemoveUnusedNodesPass(),
            common.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]
            common.RemoveUnusedOpsetsPass(),
        ],
        steps=2,
        early_stop=True,
    ),
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
    common.LiftSubgraphInitializersToMainGraphPass(),
    common.DeduplicateInitializersPass(),
    common.CommonSubexpressionEliminationPass(),
    common.OutputFixPass(),
    common.NameFixPass(),
)
