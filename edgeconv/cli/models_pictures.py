"""The pictures of ``edgeconv models NAME``: gradients by depth, and receptive fields."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import CaptureError, UsageError
from edgeconv.model_args import ModelArgs
from edgeconv.report import field_plot, gradient_plot
from edgeconv.report.output import echo_line
from edgeconv.report.plotting import save
from edgeconv.report.tables import progress

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgeconv.models.gradient_flow import LayerGradient

_BATCH = 4  # normalization needs more than one sample


def draw_gradients(
    name: str, model_args: ModelArgs, input_size: tuple[int, ...] | None, out: Path
) -> None:
    """Draw the gradient norms of a freshly initialized network into ``out``.

    Lines are with and without shortcuts, and with a loss on all outputs and on the deepest alone,
    where the network has shortcuts and several outputs.

    Raises:
        UsageError: No gradient reaches a layer of the network.
        CaptureError: The network cannot be traced.
    """
    from edgeconv import models
    from edgeconv.models.graph import TraceError
    from edgeconv.models.randomize import structured_input

    if name in models.list_models() and "aux_logits" in models.model_options(name):
        model_args = {"aux_logits": True} | dict(model_args)
    with progress(f"Drawing {name}", quiet=False):
        network, shape = _network(name, model_args, input_size)
        try:
            lines = _gradients(network.train(), structured_input((_BATCH, *shape)))
        except TraceError as error:
            raise CaptureError(str(error)) from error
    if not all(lines.values()):
        raise UsageError(
            f"{name}: no gradient reaches a convolution or a linear layer",
            hint="choose a network that learns such layers",
        )
    title = f"{name} at initialization"
    save(gradient_plot.draw([[gradient_plot.Panel(title, lines)]]), out)
    for line, layers in lines.items():
        ends = f"{layers[0].norm:.2g} at the first layer, {layers[-1].norm:.2g} at the last"
        echo_line(f"{line}: {ends}")


def _network(
    name: str, model_args: ModelArgs, input_size: tuple[int, ...] | None
) -> tuple[nn.Module, tuple[int, ...]]:
    """The network, as it is initialized, and the shape of one input."""
    import torch
    from torch import nn

    from edgeconv.export.capture.guess import input_shape
    from edgeconv.export.capture.resolve import resolve

    torch.manual_seed(0)
    source = resolve(name, args=dict(model_args), input_size=input_size, weights=None)
    if not isinstance(source.network, nn.Module):
        raise UsageError(f"{name} is a file, not a PyTorch network", hint="name its factory")
    return source.network, input_shape(source, input_size)


def _gradients(network: nn.Module, x: Tensor) -> dict[str, list[LayerGradient]]:
    from edgeconv.models.gradient_flow import FlowGraph

    whole, plain = FlowGraph(network, x), FlowGraph(network, x)
    shortcuts = plain.remove_shortcuts()
    graphs = {"with shortcuts": whole, "without shortcuts": plain} if shortcuts else {"": whole}
    losses = {"": False}
    if len(whole.outputs) > 1:
        losses = {"a loss on every output": False, "a loss on the deepest output": True}
    return {
        ", ".join(filter(None, (road, loss))) or "all layers": graph.gradients(x, deepest_only=only)
        for road, graph in graphs.items()
        for loss, only in losses.items()
    }


def draw_field(
    name: str, model_args: ModelArgs, input_size: tuple[int, ...] | None, out: Path
) -> None:
    """Draw the theoretical and the measured receptive field of the last map's center into ``out``.

    Raises:
        UsageError: The network has no feature map with positions.
        CaptureError: The network cannot be traced.
    """
    from edgeconv.models.effective_field import measure_field
    from edgeconv.models.graph import TraceError

    with progress(f"Drawing {name}", quiet=False):
        network, shape = _network(name, model_args, input_size)
        try:
            field = measure_field(network, shape)
        except TraceError as error:
            raise CaptureError(str(error)) from error
        except ValueError as error:
            raise UsageError(f"{name}: {error}", hint="choose a convolutional network") from error
    save(field_plot.draw(name, field), out)
    bound = "at least " if field.is_cut_off else ""
    sides = "x".join(map(str, field.theoretical_sides))
    echo_line(
        f"center unit of {field.layer}: theoretical field {sides} px, "
        f"measured {bound}{field.measured_side:.0f} px a side"
    )
