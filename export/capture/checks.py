"""Refuse graphs whose weights or types no file can hold."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from edgeconv.errors import CaptureError, DataError, UnsupportedOperator
from edgeconv.export.cut_places import part_before
from edgeconv.export.graph_edit import known_array
from edgeconv.export.known_nodes import RANDOM
from edgeconv.export.traits import Trait, operators

_MULTIPLYING = operators(Trait.MULTIPLIES)
_COMPUTING = _MULTIPLYING | {"Add", "Sub", "Sum", "Mean"}
"""Operators whose whole result is NaN if one of their operands is the number NaN."""


def refuse_bad_weights(model: ir.Model, own: Collection[str] | None = None) -> None:
    """Raise DataError if a weight is NaN, or infinite where an operator multiplies by it.

    Infinities elsewhere are legal: bounds of a Clip, masks of an attention. So are single numbers
    that are constants of the graph, such as what a Where gives outside of a domain; but NaN is not
    where everything that is computed with it is NaN.

    Args:
        model: The graph.
        own: The names of the module's own parameters and buffers; everything else is a constant of
            its ``forward``. None for a file, which does not distinguish them.
    """
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or not tensor.dtype.is_floating_point():
            continue
        kinds = {node.op_type for node in value.consumers()}
        is_constant = tensor.size == 1 and name not in (own or ())
        if is_constant and kinds.isdisjoint(_COMPUTING):
            continue
        array = tensor.numpy()
        multiplied = not is_constant and not kinds.isdisjoint(_MULTIPLYING)
        bad = int(np.count_nonzero(~np.isfinite(array) if multiplied else np.isnan(array)))
        if bad and own is not None and name not in own and (users := value.consumers()):
            raise DataError(
                f"{users[0].name} ({users[0].op_type}): it computes with a constant of which {bad} "
                f"of {array.size} values are NaN or infinite",
                hint="take the constant out of forward, or load other weights if it is made of "
                "them; to mark places, choose it with torch.where",
            )
        if bad:
            raise _not_numbers(name, bad, array.size)


def refuse_bad_statistics(model: ir.Model) -> None:
    """Raise DataError if a batch norm has constants that make all its results NaN or infinite.

    It is called before batch norms are folded, which would put the blame on other weights.
    """
    for node in model.graph.all_nodes():
        trains: int = node.attributes.get_int("training_mode", 0)  # it computes them itself
        if node.op_type != "BatchNormalization" or node.domain or trains:
            continue
        for value in node.inputs[1:5]:
            array = None if value is None else known_array(value)
            if value is None or array is None:
                continue
            bad = int(np.count_nonzero(~np.isfinite(array)))
            if bad:
                raise _not_numbers(str(value.name), bad, array.size)
            if value is node.inputs[4]:
                epsilon = node.attributes.get_float("epsilon", 1e-5)
                negative = int(np.count_nonzero(array + np.float64(epsilon) <= 0))
                if negative:
                    raise DataError(
                        f"the variances {value.name!r} are negative in {negative} of "
                        f"{array.size} channels, and have no root",
                        hint="train again or load other weights",
                    )


def refuse_random(model: ir.Model) -> None:
    """Raise UnsupportedOperator if a node of ``model`` draws random numbers.

    It looks into bodies as well. A Dropout draws none where it is not in training, and where it
    drops nothing.
    """
    for node in model.graph.all_nodes():
        if node.domain:
            continue
        if node.op_type in RANDOM:
            raise UnsupportedOperator(
                f"{node.name} ({node.op_type}): it draws random numbers, to which no file can "
                "be compared",
                hint="feed them as an input",
            )
        if node.op_type == "Dropout" and _drops(node):
            raise UnsupportedOperator(
                f"{node.name} (Dropout): it draws random numbers, because it is in training mode",
                hint="export the network in eval mode (functional.dropout with "
                "training=self.training, torch.onnx.export with training=TrainingMode.EVAL), or "
                "set the training_mode of the node to false",
            )


def _drops(node: ir.Node) -> bool:
    """Whether a Dropout may drop elements: as far as it is known, it trains with a ratio."""
    given = [*node.inputs, None, None][1:3]
    ratio, training = (None if value is None else known_array(value) for value in given)
    drops_none = ratio is not None and not ratio.any()
    trains = given[1] is not None and (training is None or bool(training.any()))
    return trains and not drops_none


def refuse_large_weights(model: ir.Model) -> None:
    """Raise DataError if an operator multiplies by a weight that float32 cannot hold.

    Bounds beyond float32 stay legal: they become infinite ones.

    Args:
        model: The graph in the floats that it came in.
    """
    largest = np.finfo(np.float32).max
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.dtype is not ir.DataType.DOUBLE or tensor.size == 1:
            continue
        if _MULTIPLYING.isdisjoint(node.op_type for node in value.consumers()):
            continue
        array = tensor.numpy()
        large = int(np.count_nonzero(np.isfinite(array) & (np.abs(array) > largest)))
        if large:
            raise DataError(
                f"the weight {name!r} has {large} values of {array.size} that are too large for "
                "float32, in which files compute",
                hint="train again or load other weights",
            )


def _not_numbers(name: str, bad: int, size: int) -> DataError:
    return DataError(
        f"the weight {name!r} has {bad} NaN or infinite values of {size}",
        hint="train again or load other weights",
    )


def refuse_other_than_numbers(model: ir.Model) -> None:
    """Raise CaptureError for a network that reads or returns strings, sequences or optionals."""
    for value in (*model.graph.inputs, *model.graph.outputs):
        if isinstance(value.type, (ir.SequenceType, ir.OptionalType)):
            raise CaptureError(
                f"the {_kind(value)} {value.name!r} is not a tensor but {value.type}",
                hint="make the network anew with an input for each tensor"
                if value.is_graph_input()
                else f"give each tensor an output of its own, or {_before(value)}",
            )
        if value.dtype is not None and value.dtype.is_string():
            raise CaptureError(
                f"the {_kind(value)} {value.name!r} holds strings",
                hint="make the network anew without them, and turn text into numbers outside"
                if value.is_graph_input()
                else _before(value),
            )


def _before(value: ir.Value) -> str:
    node = value.producer()
    return "leave it out" if node is None else part_before(node)


def _kind(value: ir.Value) -> str:
    return "input" if value.is_graph_input() else "output"
