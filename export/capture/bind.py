"""Decide how a module is called: what the user states, or else its author, its card, or a guess."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgeconv.errors import UsageError
from edgeconv.export.capture.arguments import (
    Arguments,
    Call,
    Called,
    StatedBy,
    example_arguments,
    one_input,
    stated_arguments,
)
from edgeconv.export.capture.example_batch import warn_of_batch, warn_of_open_batch
from edgeconv.export.capture.guess import candidates
from edgeconv.export.capture.input_shape import FixedArgument, InputShape, InputSpec
from edgeconv.export.capture.source import Source
from edgeconv.export.dynamic_batch import rows, with_batch

logger = logging.getLogger(__name__)


def bind(
    source: Source,
    *,
    size: tuple[int, ...] | None,
    batch: int | None,
    stated: Sequence[InputSpec | FixedArgument],
    example: Any,
    dynamic: bool = False,
) -> Source:
    """Give a module the inputs of its files.

    Args:
        source: The module.
        size: The size of its one input, as the user states it.
        batch: The static batch size of that input, default 1.
        stated: Its inputs, each stated by the user.
        example: What the user calls it with.
        dynamic: Whether the files are for every batch size.

    Returns:
        The source with a :class:`Called` for its module; an ``.onnx`` file as it is.

    Raises:
        UsageError: The module takes other inputs, or they are not stated.
    """
    network = source.network
    if not isinstance(network, nn.Module):
        return source
    if stated:
        arguments = stated_arguments(network, stated)
    elif example is not None:
        arguments = example_arguments(network, example)
    elif size is None and source.example is not None:
        arguments = example_arguments(network, source.example)
        if batch is not None:
            arguments = _rebatched(arguments, batch)
        elif not dynamic and isinstance(source.example, Call) and source.example.open_batch:
            arguments = _of_one_sample(source, network, arguments)
    else:
        arguments = _one_image(source, network, size, batch)
    # A program whose batch is fixed has the one that it was exported with.
    fixed = isinstance(source.example, Call) and not source.example.open_batch
    stays = batch is not None or dynamic or fixed
    if arguments.stated_by is StatedBy.EXAMPLE and not stays:
        warn_of_batch([info.shape for info in arguments.inputs])
    return replace(source, network=Called(network, arguments))


def _rebatched(arguments: Arguments, batch: int) -> Arguments:
    """The arguments with another size of the dimension that all inputs have first.

    Raises:
        UsageError: They have none in common.
    """
    firsts = {info.shape[:1] for info in arguments.inputs}
    if len(firsts) != 1 or firsts == {()}:
        raise UsageError("--batch applies to inputs that have the batch first", hint="leave it out")
    inputs = tuple(
        info.model_copy(update={"shape": (batch, *info.shape[1:])}) for info in arguments.inputs
    )
    return replace(arguments, inputs=inputs, example=None)


def _of_one_sample(source: Source, network: nn.Module, arguments: Arguments) -> Arguments:
    """The arguments of a program that leaves its batch open, with the first sample of its example.

    They stay as they are where the program does not run on one sample.
    """
    example, inputs = arguments.example, arguments.inputs
    if example is None or not inputs or inputs[0].shape[:1] in {(), (1,)}:
        return arguments
    ours = with_batch(inputs, 1)
    one = replace(arguments, inputs=ours, example=tuple(map(rows, example, ours)))
    if not _runs(Called(network, one), *one.example or ()):
        return arguments
    batched = [info.name for info, old in zip(ours, inputs, strict=True) if info != old]
    warn_of_open_batch(source.spec, batched)
    return one


def _one_image(
    source: Source, network: nn.Module, size: tuple[int, ...] | None, batch: int | None
) -> Arguments:
    """The arguments of a module on one float32 input, of the first shape on which it runs."""
    first = size.batch if isinstance(size, InputShape) else batch or 1
    shapes = [(first, *shape) for shape in candidates(source, size)]
    if len(shapes) == 1:
        return one_input(network, shapes[0])
    for shape in shapes:
        if _runs(network, np.zeros(shape, np.float32)):
            logger.warning(
                "the input of %s is taken for %s, on which it runs",
                source.spec,
                "×".join(map(str, shape)),
            )
            return one_input(network, shape)
    tried = " and ".join("×".join(map(str, shape)) for shape in shapes)
    raise UsageError(
        f"{source.spec} runs on no input that its first convolution suggests: {tried} were tried",
        hint="give the whole shape, batch first, with commas, as in --input-size 1,3,64,64, or "
        "each input with --input NAME:SHAPE",
    )


def _runs(network: nn.Module, *arrays: npt.NDArray[Any]) -> bool:
    try:
        with torch.inference_mode():
            network(*(torch.from_numpy(array.copy()) for array in arrays))
    except Exception:  # the user's own forward(): anything can come out of it
        return False
    return True
