"""The export in one call."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from edgeconv.bundle import (
    Bundle,
    Format,
    IoType,
    Layout,
    Precision,
    Preprocessing,
    Target,
    staged,
)
from edgeconv.export.pipeline import find_source, run
from edgeconv.export.progress import Progress
from edgeconv.export.quantize import QuantizeOptions
from edgeconv.export.request import Request
from edgeconv.export.target import Wish, choose

logger = logging.getLogger(__name__)


def export(
    model: str | Path | nn.Module,
    *,
    out: str | Path,
    formats: Sequence[Format] | None = None,
    precisions: Sequence[Precision] | None = None,
    calibration: str | Path | None = None,
    calibration_size: int = 128,
    input_size: tuple[int, ...] | None = None,
    batch: int | None = None,
    opset: int | None = None,
    layout: Layout = Layout.NHWC,
    io: IoType = IoType.FLOAT32,
    weights: str | Path | None = None,
    pretrained: bool = False,
    model_args: Mapping[str, str | int | float | bool] | None = None,
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    quantization: QuantizeOptions | None = None,
    runtime: str | None = None,
    target: Target | None = None,
    force: bool = False,
    verify: bool = True,
    progress: Progress = lambda step, done, total: None,
) -> Bundle:
    """Export a network and return the bundle on disk.

    Args:
        model: an ``nn.Module`` in eval mode, or a model specification: a zoo name,
            ``path/to/file.py:factory``, ``package.module:factory`` or ``file.onnx``. A network that
            is quantized already keeps its scales exactly.
        out: the bundle's folder. It appears whole, or not at all.
        formats: by default both, or those that ``target`` runs.
        precisions: by default float32, and int8 where calibration data is given; of a network
            that is quantized already (a QDQ ``.onnx`` file, a module that PT2E converted), its own.
        calibration: a folder of images, ``.npy``, ``.npz``, ``file.py:function`` that yields an
            array (or a tuple of them) a sample, or "random" for synthetic inputs.
        calibration_size: how many of the samples to use, chosen with a fixed seed; of a function
            the first.
        input_size: (height, width) or (channels, height, width), where the network leaves it open;
            (channels, length) for a network that begins with a ``Conv1d``, (features,) for one on
            vectors; for any other input ``InputShape``, its whole shape with the batch.
        batch: the static batch size, default 1.
        opset: version of ONNX's operator set, 18 to 23, default 20; a file keeps its own, and is
            raised to 20 where TFLite alone is written. Where ``target`` loads neither, the highest
            that it loads.
        layout: of 4-D inputs and outputs of TFLite files; those of other ranks, and ONNX files,
            keep the network's own.
        io: element type of the inputs and outputs of the files that can have it.
        weights: ``.safetensors``, ``.pth`` or ``.pt`` to load into the network.
        pretrained: load the weights that torchvision publishes for a network of the zoo. They are
            downloaded once.
        model_args: keyword arguments for the factory.
        preprocessing: how images become inputs; by default what the network's card says.
        labels: class names, stored in the manifest.
        quantization: how int8 files come about; by default ``QuantizeOptions()``.
        runtime: the release that has to load the TFLite files, as ``tflite-runtime==2.14``.
        target: the device that the files are for: what is open is chosen by its runtimes, what they
            cannot run is refused. The manifest keeps it.
        force: replace an existing bundle.
        verify: whether a file that fails verification is an error; otherwise it is a warning.
        progress: called with (step, done, total).

    Raises:
        UsageError: the request is wrong; nothing was done.
        EdgeconvError: it failed and left no bundle; the subclasses in ``edgeconv.errors`` say why.
    """
    from_onnx = not isinstance(model, nn.Module) and Path(model).suffix == ".onnx"
    choice = choose(target, Wish(formats, precisions, opset, runtime, own_opset=from_onnx))
    if choice.note is not None:
        logger.info("%s", choice.note)
    request = Request(
        model=model,
        out=Path(out),
        formats=choice.formats,
        precisions=precisions,
        calibration=calibration,
        calibration_size=calibration_size,
        input_size=input_size,
        batch=batch,
        opset=opset,
        highest_opset=choice.highest_opset,
        layout=layout,
        io=io,
        weights=None if weights is None else Path(weights),
        pretrained=pretrained,
        model_args=model_args or {},
        preprocessing=preprocessing,
        labels=None if labels is None else tuple(labels),
        quantization=quantization or QuantizeOptions(),
        runtime=choice.runtime,
        target=target,
        force=force,
        verify=verify,
        progress=progress,
    )
    return carry_out(request)


def carry_out(request: Request) -> Bundle:
    """Check a request and do what it asks for; raises what :func:`export` raises."""
    request.check()
    source = find_source(request)
    with staged(request.out, force=request.force) as stage:
        manifest = run(request, source, stage)
    return Bundle(request.out, manifest)
