"""Score a written file on held-out inputs against PyTorch's float network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ai_edge_litert.interpreter import Interpreter

from benchmarks.peers.subjects import Subject, read_arrays
from edgeconv.bundle import Format, Layout, TensorInfo
from edgeconv.export.quiet import quiet_native
from edgeconv.export.runtimes import open_runner
from edgeconv.metrics import sqnr_db

Array = npt.NDArray[Any]
TOP1 = "top1"


@dataclass(frozen=True)
class HeldOut:
    """Inputs [N, …] that no calibration used, and PyTorch's outputs for them.

    ``classes`` [N] is None unless the network is a trained classifier.
    """

    inputs: Array
    outputs: tuple[Array, ...]
    classes: Array | None

    @classmethod
    def of(cls, subject: Subject, most: int) -> HeldOut:
        """Read the first ``most`` samples of the subject's evaluation file, and run PyTorch."""
        arrays = read_arrays(subject.evaluation)
        inputs = arrays["x"][:most]
        network = subject.network()
        with torch.no_grad():
            batches = [_tuple(network(torch.from_numpy(x[None]))) for x in inputs]
        outputs = tuple(torch.cat(parts).numpy() for parts in zip(*batches, strict=True))
        classes = arrays["y"][:most] if subject.metric == TOP1 else None
        return cls(inputs, outputs, classes)


@dataclass(frozen=True)
class Score:
    """Figures of one file: the SQNR of its worst output, and the top-1 of its last output.

    In a network with early exits the last output is the final exit.
    """

    sqnr_db: float
    top1: float | None


def score(file: Path, held_out: HeldOut) -> Score:
    """Run a ``.tflite`` or ``.onnx`` file of any tool on its runtime, and score its outputs."""
    first = tuple(output[:1].shape for output in held_out.outputs)
    if file.suffix == ".tflite":
        got = _run_tflite(file, held_out.inputs, first)
    else:
        got = _run_onnx(file, held_out.inputs, first)
    paired = [_like(expected, got) for expected in held_out.outputs]
    sqnr = min(sqnr_db(a, b) for a, b in zip(held_out.outputs, paired, strict=True))
    return Score(sqnr, _top1(paired[-1], held_out.classes))


def float_top1(held_out: HeldOut) -> float | None:
    return _top1(held_out.outputs[-1], held_out.classes)


def _top1(scores: Array, classes: Array | None) -> float | None:
    return None if classes is None else float(np.mean(scores.argmax(-1) == classes))


def _like(expected: Array, got: Sequence[Array]) -> Array:
    """Pick the output that is closest to ``expected``, because tools order outputs differently."""
    same = [array for array in got if array.shape == expected.shape]
    return max(same, key=lambda array: sqnr_db(expected, array))


def _run_onnx(file: Path, inputs: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    infos = [
        [TensorInfo(name=tensor.name, shape=tensor.shape, dtype="float32") for tensor in side]
        for side in (session.get_inputs(), session.get_outputs())
    ]
    del session, shapes
    return _run(file, Format.ONNX, infos, inputs)


def _run_tflite(file: Path, inputs: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    with quiet_native():
        interpreter = Interpreter(model_path=str(file))
    infos = [
        [_tflite_info(detail, known) for detail in details]
        for details, known in (
            (interpreter.get_input_details(), [inputs[:1].shape]),
            (interpreter.get_output_details(), shapes),
        )
    ]
    return _run(file, Format.TFLITE, infos, inputs)


def _tflite_info(detail: dict[str, Any], known: Sequence[tuple[int, ...]]) -> TensorInfo:
    """Describe a tensor of a file; it is NHWC if its shape is not one of the network's shapes."""
    shape = tuple(int(side) for side in detail["shape"])
    scale, zero_point = detail["quantization"]
    return TensorInfo(
        name=detail["name"],
        shape=shape,
        dtype=np.dtype(detail["dtype"]).name,
        layout=None if shape in known else Layout.NHWC,
        scale=scale or None,
        zero_point=zero_point if scale else None,
    )


def _run(file: Path, format: Format, infos: list[list[TensorInfo]], inputs: Array) -> list[Array]:
    """Run all samples; one array for each output, in the layout of the network."""
    runner = open_runner(file, format, *infos)
    outputs = [runner.run([x[None]]) for x in inputs]
    return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]


def _tuple(output: Any) -> tuple[torch.Tensor, ...]:
    return (output,) if isinstance(output, torch.Tensor) else tuple(output)
