"""Networks by name: a decorator registers a factory together with its card."""

from __future__ import annotations

import difflib
import fnmatch
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from edgeconv.models.card import IMAGENET, Accuracy, NetworkInfo, Preprocessing, Task
from edgeconv.models.initialize import initialize_
from edgeconv.models.layers.early_exit import EarlyExitNetwork
from edgeconv.models.options import Factory, UnknownOption, check_options, option_types

F = TypeVar("F", bound=Factory)


class UnknownNetwork(LookupError):  # noqa: N818
    """The zoo has no network of that name."""


@dataclass(frozen=True)
class _Entry:
    factory: Factory
    info: NetworkInfo
    options: dict[str, object]
    size_multiple: int

    def check(self, options: Mapping[str, object]) -> None:
        """Raise UnknownOption unless the network has these options with these values."""
        check_options(self.info.name, self.options, options)
        size, multiple = options.get("input_size"), self.size_multiple
        if isinstance(size, int) and size % multiple:
            raise UnknownOption(
                f"{self.info.name}: input_size must be a multiple of {multiple}, not {size}"
            )
        stage, last = options.get("stage"), len(self.info.outputs) - 1
        if isinstance(stage, int) and stage > last:
            raise UnknownOption(f"{self.info.name}: stage must be from 0 to {last}, not {stage}")

    def build(self, options: Mapping[str, object]) -> nn.Module:
        """The network in eval mode, from the options that its factory takes."""
        taken = inspect.signature(self.factory).parameters
        network = self.factory(**{key: value for key, value in options.items() if key in taken})
        return network.eval()


_networks: dict[str, _Entry] = {}


def register(
    *,
    family: str,
    paper: str,
    parameters: int,
    macs: int,
    receptive_field: int | None,
    input_shape: tuple[int, ...] = (3, 224, 224),
    accuracy: Accuracy | None = None,
    preprocessing: Preprocessing | None = IMAGENET,
    task: Task = Task.CLASSIFICATION,
    outputs: tuple[str, ...] = ("output",),
    size_multiple: int = 1,
) -> Callable[[F], F]:
    """Register the decorated factory under its own name; its parameters become the options.

    The figures are those of the default options; the tests hold them against the module itself.
    ``input_size`` must be a multiple of ``size_multiple``, as where a decoder meets its encoder.
    """

    def decorate(factory: F) -> F:
        name = factory.__name__
        if name in _networks:
            raise ValueError(f"a network named {name!r} is registered twice")
        classes = inspect.signature(factory).parameters.get("num_classes")
        info = NetworkInfo(
            name=name,
            family=family,
            task=task,
            input_shape=input_shape,
            num_classes=None if classes is None else classes.default,
            preprocessing=preprocessing,
            parameters=parameters,
            macs=macs,
            receptive_field=receptive_field,
            accuracy=accuracy,
            paper=paper,
            outputs=outputs,
        )
        options = option_types(factory)
        if len(input_shape) == 3 and input_shape[1] == input_shape[2]:
            options.setdefault("input_size", int)
        _networks[name] = _Entry(factory, info, options, size_multiple)
        return factory

    return decorate


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of the networks that match a shell pattern, sorted."""
    return sorted(fnmatch.filter(_networks, pattern))


def registering_modules() -> set[str]:
    """Return the names of the modules whose factories are registered."""
    return {entry.factory.__module__ for entry in _networks.values()}


def model_info(name: str) -> NetworkInfo:
    """Return the card of a network.

    Raises:
        UnknownNetwork: The zoo has no network of that name.
    """
    return _find(name).info


def model_options(name: str) -> dict[str, object]:
    """Return the options that ``create_model`` takes for this network, with their defaults.

    A default is None where it follows from the other options.

    Raises:
        UnknownNetwork: The zoo has no network of that name.
    """
    entry = _find(name)
    defaults = {"input_size": entry.info.input_shape[-1]} | {
        option: parameter.default
        for option, parameter in inspect.signature(entry.factory).parameters.items()
    }
    return {option: defaults[option] for option in entry.options}


def create_model(name: str, **options: object) -> nn.Module:
    """Build a network, freshly initialized, in eval mode.

    ``input_size`` (pixels) is an option of every network on images. Most networks are fully
    convolutional up to a global pool: they are the same for every size, and the option only
    matters to :func:`input_shape`.

    Raises:
        UnknownNetwork: The zoo has no network of that name.
        UnknownOption: An option that the network does not have, or a value that does not fit it.
    """
    entry = _find(name)
    entry.check(options)
    network = entry.build(options)
    initialize_(network)
    return network


def input_shape(name: str, **options: object) -> tuple[int, ...]:
    """Return the shape of one input of ``create_model(name, **options)``, without the batch.

    (C, H, W) for images; see :class:`NetworkInfo`. Raises as :func:`create_model` does.
    """
    entry = _find(name)
    entry.check(options)
    shape = entry.info.input_shape
    channels, size = options.get("in_channels"), options.get("input_size")
    if isinstance(channels, int):
        shape = (channels, *shape[1:])
    if isinstance(size, int):
        shape = (shape[0], size, size)
    stage = options.get("stage")
    if isinstance(stage, int):
        with torch.device("meta"):
            whole = entry.build({key: value for key, value in options.items() if key != "stage"})
        assert isinstance(whole, EarlyExitNetwork)
        return whole.stage_input(stage, shape)
    return shape


def output_names(name: str, **options: object) -> tuple[str, ...]:
    """Return the names of what ``create_model(name, **options)`` returns, in order.

    Raises as :func:`create_model` does.
    """
    entry = _find(name)
    entry.check(options)
    exits, stage = entry.info.outputs, options.get("stage")
    if not isinstance(stage, int):
        return exits
    return exits[-1:] if stage == len(exits) - 1 else ("features", exits[stage])


def preprocessing(name: str, **options: object) -> Preprocessing | None:
    """Return how an image becomes an input of ``create_model(name, **options)``.

    The resize keeps its ratio to the input size; gray images take the mean over the channels. None
    where the card states nothing that fits, as for five channels or the features that a later stage
    reads.

    Raises as :func:`create_model` does.
    """
    stated = model_info(name).preprocessing
    shape = input_shape(name, **options)
    if stated is None or options.get("stage"):
        return None
    resize = stated.resize
    if resize is not None:
        resize = round(resize * shape[-1] / model_info(name).input_shape[-1])
    channels = len(stated.mean)
    if shape[0] == channels:
        return Preprocessing(stated.mean, stated.std, resize)
    if shape[0] == 1:
        gray_mean, gray_std = sum(stated.mean) / channels, sum(stated.std) / channels
        return Preprocessing((gray_mean,), (gray_std,), resize)
    return None


def _find(name: str) -> _Entry:
    if name not in _networks:
        near = difflib.get_close_matches(name, _networks, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "`edgeconv models` lists them"
        raise UnknownNetwork(f"the zoo has no network {name!r}; {hint}")
    return _networks[name]
