"""Guess the input of a module, where it is not stated."""

from __future__ import annotations

from torch import nn

from edgeconv.errors import UsageError
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.capture.source import Source


def input_shape(source: Source, input_size: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of one input of a module, without the batch dimension.

    ``input_size`` is (height, width) or (channels, height, width); (channels, length) where the
    card or a first layer of kind ``Conv1d`` says that the network reads sequences; (features,); or
    the whole shape. What it leaves out comes from the network's card, or from the first layer.

    Raises:
        UsageError: the network's size is stated nowhere, or contradicts its card.
    """
    assert isinstance(source.network, nn.Module)
    first, card = _first_layer(source.network), source.input_shape
    if input_size is None:
        if card is not None:
            return card
        if isinstance(first, nn.Linear):
            return (first.in_features,)
        raise UsageError(
            f"the input size of {source.spec} is not known",
            hint="pass --input-size for an image; for other inputs, or several, --input NAME:SHAPE "
            "for each (NAME:SHAPE:int64 for integers such as ids of tokens), or --example "
            "inputs.npz",
        )
    shape = input_size
    is_sequence = len(card) == 2 if card else isinstance(first, nn.Conv1d)
    if isinstance(input_size, InputShape):
        _refuse_without_batch(source, first, input_size)
        shape = input_size.sample
    elif len(input_size) == 2 and not is_sequence:
        channels = first.in_channels if isinstance(first, nn.Conv2d) else 3
        shape = (card[0] if card else channels, *input_size)
    if card is not None and len(shape) != len(card):
        raise UsageError(
            f"{source.spec} reads inputs of {'×'.join(map(str, card))}, and the input size is "
            f"{'×'.join(map(str, shape))}",
            hint="leave --input-size out, or give as many numbers",
        )
    return shape


def _refuse_without_batch(source: Source, first: nn.Module | None, shape: InputShape) -> None:
    """Refuse a whole shape that lacks the batch: PyTorch's convolutions would run on it."""
    if not isinstance(first, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return
    if len(shape) != first.weight.ndim - 1 or first.in_channels != shape[0]:
        return
    raise UsageError(
        f"{source.spec} begins with a {type(first).__name__}, and the whole shape "
        f"{','.join(map(str, shape))} has no batch in front",
        hint=f"pass --input-size {','.join(map(str, (1, *shape)))}",
    )


# What images have: gray, color, and color with transparency or depth.
_IMAGE_CHANNELS = (1, 3, 4)


def candidates(source: Source, input_size: tuple[int, ...] | None) -> list[tuple[int, ...]]:
    """The shapes that the one input of a module may have, without the batch; the likeliest first.

    A first convolution on another number of channels than images have may follow a stem that
    reshapes an image, so that a color image is as likely.

    Raises:
        UsageError: See :func:`input_shape`.
    """
    shape = input_shape(source, input_size)
    stated = source.input_shape is not None or isinstance(input_size, InputShape)
    if stated or input_size is None or len(input_size) != 2 or len(shape) != 3:
        return [shape]
    if shape[0] in _IMAGE_CHANNELS:
        return [shape]
    return [(3, *shape[1:]), shape]


def is_guess(source: Source, input_size: tuple[int, ...] | None) -> bool:
    """Whether an input size of two numbers is only assumed to be that of a color image.

    It is where neither the network's card nor its first layer says what the input is.
    """
    return (
        isinstance(source.network, nn.Module)
        and source.input_shape is None
        and input_size is not None
        and len(input_size) == 2
        and not isinstance(input_size, InputShape)
        and not isinstance(_first_layer(source.network), (nn.Conv1d, nn.Conv2d))
    )


def _first_layer(network: nn.Module) -> nn.Module | None:
    layers = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return next((module for module in network.modules() if isinstance(module, layers)), None)
