"""Run the network itself, and store its outputs as the reference for its files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import nn

from edgeconv.array_file import stored_arrays
from edgeconv.bundle import (
    OPEN,
    REFERENCE_NAME,
    Artifact,
    Bundle,
    Manifest,
    OutputKind,
    Precision,
    TensorInfo,
    sha256_of,
)
from edgeconv.errors import (
    BundleError,
    CaptureError,
    DataError,
    EdgeconvError,
    UsageError,
    first_line,
)
from edgeconv.export.attention import plain_attention
from edgeconv.export.capture.arguments import Called, StatedBy, name_of, parameters_of
from edgeconv.export.capture.outputs import named_outputs
from edgeconv.export.capture.refusal import SourceLine
from edgeconv.export.data.samples import Sample
from edgeconv.export.index_errors import HINT, of_embeddings
from edgeconv.export.joined import Parts
from edgeconv.export.known_nodes import RANDOM
from edgeconv.export.runtimes import OnnxRunner
from edgeconv.export.threads import one_torch_thread
from edgeconv.export.verify.expected import Allowances, Outputs, Quantized, Reference
from edgeconv.metrics import relative_error, stacked

# On other memory the same sums may be added in another order, and rounded otherwise.
_LARGEST_NOISE = 1e-3
_DENSE = {
    "nested": "torch.nested.to_padded_tensor",
    "quantized": ".dequantize()",
    "sparse": ".to_dense()",
}
_OTHER_FLOATS = {"float16", "float64"}
# How PyTorch's operators say that an input of another float meets float32 weights.
_CASTS = re.compile(
    r"(?i)input type \((c10::)?(half|bfloat16|double)\).* be the same"
    r"|got (half|bfloat16|double) and float"
    r"|input dtype \(torch\.\w+\) does not match weight dtype \(torch\.float32\)"
    r"|mixed dtype \(CPU\)"
)
FOR_ONE_SIZE = "Guard failed"
"""How an exported program refuses an input of another size than it was exported for."""
_POOLS = {"AveragePool", "LpPool", "MaxPool"}
_DRAWN = RANDOM | {"Dropout"}  # in training mode

NamedArrays = Mapping[str, npt.NDArray[Any]]
Oracle = Callable[[Sample], Outputs]


def module_outputs(network: nn.Module, sample: Sample) -> dict[str, npt.NDArray[Any]]:
    """Run a module on one sample.

    Returns:
        The outputs by name, in the order in which the exporter writes them; see
        :func:`edgeconv.export.capture.outputs.named_outputs`.

    Raises:
        UsageError: The module does not take such inputs.
        DataError: An input holds an index that an embedding does not have.
        CaptureError: The module returns something else than tensors of real numbers.
    """
    with torch.inference_mode(), one_torch_thread(), plain_attention():
        try:
            # The network may write into what it is given, and return what it writes into again.
            result = network(*(torch.from_numpy(np.array(array)) for array in sample))
        except Exception as error:  # the user's own forward(): anything can come out of it
            first = first_line(error)
            beyond = _beyond_table(network, sample)
            if beyond is not None:
                raise DataError(f"{name_of(network)} fails: {beyond}", hint=HINT) from error
            shapes = ", ".join("×".join(map(str, array.shape)) for array in sample)
            raise UsageError(
                f"{name_of(network)} fails on an input of {shapes}{_place(error)}: {first}",
                hint=_remedy(network, first),
            ) from error
        except SystemExit as error:
            raise UsageError(
                f"{name_of(network)} ends Python{_place(error)}: {first_line(error)}",
                hint="let forward return there, and see why it does not",
            ) from error
    named = named_outputs(result)
    for name, tensor in named.items():
        if tensor.is_complex():
            raise CaptureError(
                f"the output {name!r} of {name_of(network)} is of {str(tensor.dtype)[6:]}, and "
                "files have real numbers only",
                hint="return torch.view_as_real of it, or its .abs() and .angle()",
            )
        if tensor.is_nested or tensor.is_quantized or tensor.layout is not torch.strided:
            kind = "quantized" if tensor.is_quantized else "sparse"
            kind = "nested" if tensor.is_nested else kind
            raise CaptureError(
                f"the output {name!r} of {name_of(network)} is a {kind} tensor, and files have "
                "dense ones of numbers only",
                hint=f"return {_DENSE[kind]} of it",
            )
    # NumPy has no bfloat16, and float32 has all of its numbers.
    return {
        name: (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).detach().numpy().copy()
        for name, tensor in named.items()
    }


def _beyond_table(network: nn.Module, sample: Sample) -> str | None:
    """What :func:`edgeconv.export.index_errors.of_embeddings` says of a module and a sample."""
    if not isinstance(network, Called):
        return None
    names = [info.name for info in network.arguments.inputs]
    inputs = dict(zip(names, sample, strict=False))
    return of_embeddings(
        network, inputs, tuple(torch.from_numpy(np.array(array)) for array in sample)
    )


def refuse_changing_outputs(
    network: nn.Module, graph: ir.Model, first: NamedArrays, second: NamedArrays
) -> None:
    """Check that a module gives the same outputs when it is called again on the same inputs.

    A file keeps nothing from one run to the next. Random numbers change the outputs as well; the
    operators that draw them are refused by their names.

    Raises:
        CaptureError: It gives others.
    """
    if any(node.op_type in _DRAWN for node in graph.graph.all_nodes()):
        return
    for name, array in first.items():
        same = name in second and second[name].shape == array.shape
        if not same or _relative(array, second[name]) > _LARGEST_NOISE:
            raise CaptureError(
                f"{name_of(network)} keeps a state: called twice on the same inputs, it gives two "
                f"values of {name!r}, and a file keeps nothing from one run to the next",
                hint="let forward take the state as an input and return it as an output",
            )


def _relative(expected: npt.NDArray[Any], got: npt.NDArray[Any]) -> float:
    """The error of numbers of any type, of which NaN and infinity are some."""
    return relative_error(*(np.nan_to_num(each.astype(np.float64)) for each in (expected, got)))


def _place(error: BaseException) -> str:
    place = SourceLine.of_error(error)
    return "" if place is None else f" at {place}"


def _remedy(network: nn.Module, message: str) -> str:
    """What to do about a module that fails with ``message`` on a float32 input."""
    types = {weight.dtype for weight in network.parameters() if weight.is_floating_point()}
    if others := ", ".join(sorted(str(dtype) for dtype in types - {torch.float32})):
        return f"call .float() on the network, whose weights are {others}"
    given = network.arguments.inputs if isinstance(network, Called) else ()
    if _CASTS.search(message) and not any(info.dtype in _OTHER_FLOATS for info in given):
        return (
            "its weights are exported in float32: take the cast of what they meet (.half(), "
            ".bfloat16(), .double()) out of forward, or cast to the type of a weight, "
            ".to(self.weight.dtype)"
        )
    if re.search(r"required (positional|keyword-only) argument", message):
        return (
            "give every input with --input NAME:SHAPE, or NAME=VALUE for what is not a tensor, or "
            "all of them with --example inputs.npz"
        )
    if "indices" in message and "scalar types" in message:
        return "say that the input holds integers, as in --input NAME:1,16:int64"
    if 'missing the required "forward"' in message:
        return "pass a module that has a forward, such as one of those in it"
    if re.search(r"CUDA|NVIDIA|\bcuda\b", message):
        return "the network is run on the CPU: put what it makes in forward on x.device"
    if "does not require grad" in message:
        return (
            "files compute no gradients: write the derivative out with other operators, or "
            "compute it outside"
        )
    if "Couldn't load custom C++ ops" in message:
        return (
            "the installed torchvision was not built for the installed torch: install both from "
            "the same package index, in one command"
        )
    if message.startswith(FOR_ONE_SIZE):
        return (
            "the program is for that size only: pass it, or save the program again with "
            "torch.export.Dim for what may differ"
        )
    arguments = network.arguments if isinstance(network, Called) else None
    if arguments is not None and arguments.stated_by is not StatedBy.SIZE:
        return (
            f"check {arguments.stated_by.value}, by which the inputs are {arguments}; forward "
            f"takes {', '.join(parameters_of(network)) or 'nothing'}"
        )
    return (
        "check --input-size; where the input is not an image, give its whole shape, batch first, "
        "with commas, as in --input-size 1,12,8; give several inputs, or other types, with "
        "--input NAME:SHAPE:DTYPE or --example inputs.npz"
    )


def onnx_oracle(
    file: Path | bytes, inputs: tuple[TensorInfo, ...], outputs: tuple[TensorInfo, ...]
) -> Oracle:
    """Load the user's own ``.onnx`` file on ONNX Runtime, before any of our passes.

    Raises:
        EdgeconvError: It does not run there, and nothing can be held against it.
    """
    try:
        runner = OnnxRunner(file, inputs, outputs)
    except EdgeconvError:  # its optimizer spoils some right files, as int8 views of opset 21
        try:
            runner = OnnxRunner(file, inputs, outputs, fuse=False)
        except EdgeconvError as error:
            raise EdgeconvError(
                f"{error.message}; the files would be held against it",
                hint="make a file that runs there: with opset 7 or later, and with operators that "
                "it has for these types",
            ) from error
    return lambda sample: runner.run(sample)


def of_stated_shapes(
    run: Oracle, outputs: Sequence[TensorInfo], path: Path, graph: ir.Model
) -> Oracle:
    """``run``, whose results have to have the shapes that the graph was captured with.

    ONNX's shape inference and ONNX Runtime may differ on what the standard does not allow.

    Args:
        run: Runs the file.
        outputs: The outputs of the captured graph.
        path: The file, for the message.
        graph: Its graph as it was captured.
    """

    def checked(sample: Sample) -> Outputs:
        results = run(sample)
        for info, result in zip(outputs, results, strict=True):
            # A size that depends on the values is open.
            known = zip(info.shape, result.shape, strict=False)
            if result.ndim != len(info.shape) or any(a not in (b, OPEN) for a, b in known):
                raise CaptureError(
                    f"{path}: ONNX Runtime computes the output {info.name!r} of shape "
                    f"{list(result.shape)}, and by the standard it is {list(info.shape)}",
                    hint=_by_dilated_pool(graph)
                    or "look for an operator before it whose inputs are not as the standard says, "
                    "or export the part before with --cut-outputs",
                )
        return results

    return checked


def _by_dilated_pool(graph: ir.Model) -> str:
    """What to do about a pool whose SAME padding ONNX Runtime computes without its dilations."""
    for node in graph.graph.all_nodes():
        same = node.attributes.get_string("auto_pad", "").startswith("SAME")
        dilated = any(each != 1 for each in node.attributes.get_ints("dilations", ()))
        if node.op_type in _POOLS and same and dilated:
            return (
                f"state the pads of {node.name} ({node.op_type}) in the place of its auto_pad: "
                "ONNX Runtime leaves the dilations of a pool out of these"
            )
    return ""


def save_reference(path: Path, reference: Reference) -> None:
    """Write inputs and outputs as ``reference.npz``, for a later ``edgeconv verify``."""
    arrays = _stacked("input", [list(sample) for sample in reference.inputs])
    arrays |= _stacked("output", reference.outputs)
    arrays["prequantized"] = np.array(reference.prequantized)
    for precision, quantized in reference.quantized.items():
        steps = [np.nan if step is None else step for step in quantized.steps]
        arrays[f"{precision.value}_steps"] = np.array(steps, np.float64)
        if quantized.outputs is not None:
            arrays |= _stacked(f"{precision.value}_output", quantized.outputs)
    for index, parts in enumerate(reference.joined):
        if parts is not None:
            arrays[f"parts_{index}"] = parts.labels
    allowed = reference.allowances.known
    if allowed is not None:
        arrays["allowed_error"] = allowed[: len(reference.inputs)]
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub wants bool for allow_pickle


def load_reference(bundle: Bundle) -> Reference:
    """Read ``reference.npz`` back.

    Raises:
        BundleError: The file is missing, damaged, or not the one that the manifest describes.
    """
    path = bundle.path / REFERENCE_NAME
    if not path.is_file() or sha256_of(path) != bundle.manifest.reference_sha256:
        raise BundleError(f"{path} is missing or was changed after the export", hint="export again")
    try:
        arrays = {name: stored.whole() for name, stored in stored_arrays(path).items()}
        return _reference(bundle.manifest, arrays)
    except (
        DataError,
        KeyError,
        ValueError,
        TypeError,
    ) as error:  # other arrays
        raise BundleError(f"{path} is damaged", hint="export again") from error


def _reference(manifest: Manifest, arrays: dict[str, npt.NDArray[Any]]) -> Reference:
    return Reference(
        runtime=manifest.reference,
        inputs=[tuple(sample) for sample in _unstacked("input", arrays)],
        outputs=_unstacked("output", arrays),
        allowances=Allowances(lambda: arrays.get("allowed_error")),
        quantized={
            precision: _quantized(precision, arrays)
            for precision in Precision
            if f"{precision.value}_steps" in arrays
        },
        # Bundles of edgeconv 0.1 call it by its earlier name.
        prequantized=bool(arrays.get("prequantized", arrays.get("arrived_quantized", False))),
        network=manifest,
        joined=[
            Parts(manifest.joined[info.name], arrays[f"parts_{index}"])
            if info.name in manifest.joined
            else None
            for index, info in enumerate(manifest.outputs)
        ],
        ranked=manifest.output is OutputKind.TOP5,
        rounded_inputs_db=next(filter(None, map(_rounded_inputs_db, manifest.artifacts)), None),
    )


def _rounded_inputs_db(artifact: Artifact) -> float | None:
    figures = artifact.verification
    return None if figures is None else figures.rounded_inputs_sqnr_db


def _quantized(precision: Precision, arrays: dict[str, npt.NDArray[Any]]) -> Quantized:
    return Quantized(
        steps=tuple(
            None if np.isnan(step) else float(step) for step in arrays[f"{precision.value}_steps"]
        ),
        outputs=_unstacked(f"{precision.value}_output", arrays) or None,
    )


def _stacked(kind: str, samples: list[Outputs]) -> dict[str, npt.NDArray[Any]]:
    """Stack the arrays of all samples at each position, to [samples, …].

    Where their shapes differ, those are stored too.
    """
    found = {}
    for index, arrays in enumerate(zip(*samples, strict=True)):
        found[f"{kind}_{index}"] = stacked(arrays)
        shapes = [array.shape for array in arrays]
        if len(set(shapes)) > 1:
            found[f"shapes_of_{kind}_{index}"] = np.array(shapes, np.int64)
    return found


def _cropped(
    column: npt.NDArray[Any], shapes: npt.NDArray[Any] | None
) -> Sequence[npt.NDArray[Any]]:
    """The arrays of all samples in their own shapes."""
    if shapes is None:
        return list(column)
    return [row[tuple(map(slice, shape))] for row, shape in zip(column, shapes, strict=True)]


def _unstacked(kind: str, arrays: dict[str, npt.NDArray[Any]]) -> list[Outputs]:
    count = sum(name.startswith(f"{kind}_") for name in arrays)
    columns = [
        _cropped(arrays[f"{kind}_{index}"], arrays.get(f"shapes_of_{kind}_{index}"))
        for index in range(count)
    ]
    return [list(row) for row in zip(*columns, strict=True)]
