"""The float network in float64, against which the rounding errors of float32 are measured."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from edgeconv.errors import EdgeconvError
from edgeconv.export.data.samples import Sample
from edgeconv.export.data.synthetic import probes
from edgeconv.export.passes.split_outputs import Splits
from edgeconv.export.quiet import quiet_python
from edgeconv.export.verify.beside import StoppedError
from edgeconv.export.verify.default_float64 import DefaultFloat64
from edgeconv.export.verify.expected import Probes
from edgeconv.export.verify.functions import moves_by_functions
from edgeconv.export.verify.reference import Oracle, module_outputs
from edgeconv.export.verify.reference_kernels import KERNELS
from edgeconv.export.verify.rounding import allowances, largest_error, magnitude, moved

logger = logging.getLogger(__name__)

Arrays = list[npt.NDArray[Any]]
Each = Callable[[Sequence[Sample]], Iterable[Sample]]

_LARGE = 1e-2
"""Share of the largest output: the reference implementation may be further from ONNX Runtime only
where it is seen why. The nine trained networks of the suite are within 1e-4, on probes too."""


def run_probes(oracle: Oracle, sample: Sample) -> Probes:
    """Run the network on the probes that are made of ``sample``, but those that it refuses."""
    found = Probes([], [])
    for what, probe in probes(sample).items():
        if (outputs := _run(oracle, probe)) is not None:
            found.inputs.append(probe)
            found.outputs.append(outputs)
            found.what.append(what)
    return found


def _run(oracle: Oracle, sample: Sample) -> Arrays | None:
    try:
        return oracle(sample)
    except EdgeconvError as error:
        logger.debug("a probe or a moved sample is left out: %s", error)
        return None


def float32_allowances(
    graph: ir.Model,
    network: nn.Module | Path | bytes,
    oracle: Oracle,
    splits: Splits,
    samples: Sequence[Sample],
    outputs: Sequence[Arrays],
    measured: Collection[int],
    *,
    with_functions: bool = False,
    each: Each = iter,
) -> npt.NDArray[np.float64] | None:
    """Compute the allowances of :mod:`edgeconv.export.verify.rounding` for a network.

    Args:
        graph: The optimized float graph.
        network: The module, or the ``.onnx`` file or its bytes, that it was captured from.
        oracle: Runs the network in float32.
        splits: What it splits of the outputs.
        samples: The inputs, in the network's own layout.
        outputs: What it gave for ``samples``.
        measured: The indices of the samples on which float32 is held against float64.
        with_functions: Whether the errors of functions count, as
            :mod:`edgeconv.export.verify.functions` finds them.
        each: Yields the samples that float64 runs, and may stop in between.

    Returns:
        An array of shape [samples, outputs], or None where the network does not run in float64.
    """
    chosen = [sample for index, sample in enumerate(samples) if index in measured]
    if isinstance(network, nn.Module):
        double = module_in_float64(network, chosen, each)
    else:
        double = file_in_float64(network, chosen, each)
    if double is None:
        return None
    double = [splits.apply(arrays) for arrays in double]
    single = [outputs[index] for index in range(len(samples)) if index in measured]
    if (
        not isinstance(network, nn.Module)
        and _differs(single, double)
        and not _explains(graph, network, chosen, splits, single, double, each)
    ):
        logger.debug("the reference implementation computes something else than ONNX Runtime")
        # How far float32 moves when its inputs move is all that is known of its rounding then.
        double = single
    places = sorted(measured)
    runs = [
        dict(enumerate(outputs)),
        {index: _moved_run(oracle, samples[index], outputs[index]) for index in places},
    ]
    if with_functions:
        moves = moves_by_functions(graph, chosen)
        runs.append({i: _added(*pair) for i, *pair in zip(places, double, moves, strict=True)})
    return allowances(graph, samples, dict(zip(places, double, strict=True)), runs)


def _moved_run(oracle: Oracle, sample: Sample, outputs: Arrays) -> Arrays:
    """The outputs for the inputs moved a little, or ``outputs`` where the network refuses those.

    A loss refuses a target above 1, and 1 may be one.
    """
    for towards_zero in (False, True):
        ran = _run(oracle, moved(sample, towards_zero=towards_zero))
        if ran is not None:
            return ran
    return outputs


def _added(outputs: Arrays, moves: Arrays) -> Arrays:
    return [a + b if a.shape == b.shape else a for a, b in zip(outputs, moves, strict=True)]


def _differs(single: Sequence[Arrays], double: Sequence[Arrays]) -> bool:
    """Whether float32 is so far from float64 that it needs a reason."""
    return any(
        a.dtype.kind == "f" and a.shape == b.shape and largest_error(a, b) > _LARGE * magnitude(b)
        for ours, theirs in zip(single, double, strict=True)
        for a, b in zip(ours, theirs, strict=True)
    )


def _explains(
    graph: ir.Model,
    file: Path | bytes,
    samples: Sequence[Sample],
    splits: Splits,
    single: Sequence[Arrays],
    double: Sequence[Arrays],
    each: Each,
) -> bool:
    """Whether ONNX's reference implementation in float32 and float64 is as far apart as ``single``.

    It may compute something else than a runtime, whose difference is no rounding then, and must
    not be allowed.
    """
    small, large = (file_in_float(file, samples, bits, each) for bits in (np.float32, np.float64))
    if small is None or large is None:
        return False
    small, large = ([splits.apply(row) for row in rows] for rows in (small, large))
    allowed = allowances(graph, samples, dict(enumerate(large)), [dict(enumerate(small))])
    for index, (ours, theirs) in enumerate(zip(single, double, strict=True)):
        for output, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if a.dtype.kind != "f" or a.shape != b.shape:
                continue
            if largest_error(a, b) > allowed[index, output] + _LARGE * magnitude(b):
                return False
    return True


def module_in_float64(
    network: nn.Module, samples: Sequence[Sample], each: Each = iter
) -> list[Arrays] | None:
    """Run a copy of ``network`` whose weights, buffers and float inputs are float64.

    Returns:
        The outputs for each sample, or None where the module does not run in float64, for instance
        because its ``forward`` makes float32 tensors in native code.
    """
    try:
        with quiet_python():  # not within the mode, which would see every copy
            double = copy.deepcopy(network).double()
        with quiet_python(), DefaultFloat64():
            return [
                list(module_outputs(double, _doubled(sample)).values()) for sample in each(samples)
            ]
    except (EdgeconvError, RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        logger.debug("%s does not run in float64: %s", type(network).__name__, error)
        return None


def file_in_float64(
    file: Path | bytes, samples: Sequence[Sample], each: Each = iter
) -> list[Arrays] | None:
    """Run an ``.onnx`` file in float64; see :func:`file_in_float`."""
    return file_in_float(file, samples, np.float64, each)


def file_in_float(
    file: Path | bytes,
    samples: Sequence[Sample],
    dtype: type[np.floating[Any]],
    each: Each = iter,
) -> list[Arrays] | None:
    """Run an ``.onnx`` file on ONNX's reference implementation, with PyTorch's fast kernels in it.

    Args:
        file: The file or its bytes.
        samples: One array per input of the graph, in the graph's order.
        dtype: float32, or float64, in which all that is float32 in the file is then computed.
        each: Yields the samples one by one, and may stop in between.

    Returns:
        The outputs for each sample, or None where the reference implementation cannot run it.
    """
    try:
        model = onnx.load(file) if isinstance(file, Path) else onnx.load_model_from_string(file)
        doubles = dtype is np.float64
        model = _doubled_model(model) if doubles else model
        evaluator = ReferenceEvaluator(model, new_ops=KERNELS)
        weights = {tensor.name for tensor in model.graph.initializer}
        names = [name for name in evaluator.input_names if name not in weights]
        rows = []
        with np.errstate(all="ignore"):  # it computes exp(-x) of anything, and so on
            for sample in each(samples):
                feed = dict(zip(names, _doubled(sample) if doubles else sample, strict=True))
                rows.append(list(map(np.asarray, evaluator.run(None, feed))))
        return rows
    except StoppedError:
        raise
    except Exception as error:  # the reference implementation raises whatever NumPy raises
        logger.debug("the file does not run in float64: %s", error)
        return None


def _doubled(sample: Sample) -> Sample:
    return tuple(a.astype(np.float64) if a.dtype == np.float32 else a for a in sample)


def _doubled_model(model: onnx.ModelProto) -> onnx.ModelProto:
    _double_graph(model.graph)
    for function in model.functions:
        for node in function.node:
            _double_node(node)
    return model


def _double_graph(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        _double_tensor(tensor)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    for node in graph.node:
        _double_node(node)


def _double_node(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            _double_tensor(attribute.t)
        if attribute.HasField("g"):
            _double_graph(attribute.g)
        to_float = node.op_type == "Cast" and attribute.name == "to"
        if to_float and attribute.i == onnx.TensorProto.FLOAT:
            attribute.i = onnx.TensorProto.DOUBLE


def _double_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == onnx.TensorProto.FLOAT:
        array = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
