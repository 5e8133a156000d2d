"""How a module is called: its arguments as a tree whose leaves are the inputs of the files.

Whatever ``forward`` takes (positional and keyword arguments, lists, dicts, numbers), a file takes
arrays one after the other. :class:`Called` makes a module of that kind from any other.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgeconv.array_file import stored_arrays
from edgeconv.bundle import TensorInfo
from edgeconv.errors import UsageError
from edgeconv.export.capture.input_shape import FixedArgument, InputSpec
from edgeconv.export.capture.wrapped import Wrapped
from edgeconv.near_names import did_you_mean

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Leaf:
    """The place of an input in the arguments, by its position among the inputs."""

    index: int


class StatedBy(Enum):
    """What states the inputs of a network."""

    SIZE = "--input-size"
    INPUTS = "--input"
    EXAMPLE = "the example"


@dataclass(frozen=True)
class Arguments:
    """The arguments of a call.

    Attributes:
        args: Positional arguments; every input is a :class:`Leaf`.
        kwargs: Keyword arguments, likewise.
        inputs: The inputs, in order.
        example: One array per input, where their values are known and not only their shapes.
        stated_by: What states the inputs.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[TensorInfo, ...]
    example: tuple[Array, ...] | None = None
    stated_by: StatedBy = StatedBy.SIZE

    def __str__(self) -> str:
        """The inputs as ``--input`` takes them."""
        return ", ".join(
            f"{info.name}:{','.join(map(str, info.shape))}:{info.dtype}" for info in self.inputs
        )


@dataclass(frozen=True)
class Call:
    """An example with positional and keyword arguments.

    Attributes:
        args: By position.
        kwargs: By name.
        open_batch: Whether what is called takes other sizes of the first dimension, too.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    open_batch: bool = False


class Called(Wrapped):
    """A module that takes its inputs one after the other.

    Args:
        network: The module.
        arguments: How it is called.
    """

    def __init__(self, network: nn.Module, arguments: Arguments) -> None:
        super().__init__(network)
        self.arguments = arguments

    def forward(self, *tensors: torch.Tensor) -> Any:
        """Call the network with the inputs in their places."""
        args, kwargs = self.arguments.args, self.arguments.kwargs
        return self.network(*_filled(args, tensors), **_filled(dict(kwargs), tensors))


def name_of(network: nn.Module) -> str:
    """The class of a module, or of the one within a :class:`Called`."""
    return type(network.network if isinstance(network, Called) else network).__name__


def _filled(tree: Any, tensors: Sequence[torch.Tensor]) -> Any:
    if isinstance(tree, Leaf):
        return tensors[tree.index]
    if isinstance(tree, dict):
        return {key: _filled(item, tensors) for key, item in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_filled(item, tensors) for item in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(_filled(item, tensors) for item in tree)
    return tree


def parameters_of(network: nn.Module) -> list[str]:
    """The names of the parameters of ``forward``, with ``*`` and ``**`` where it takes more."""
    inner = network.network if isinstance(network, Called) else network
    return [str(each).partition(":")[0].strip() for each in _signature(inner).parameters.values()]


def one_input(network: nn.Module, shape: tuple[int, ...]) -> Arguments:
    """The arguments of a module on one float32 input of this shape."""
    parameters = list(_signature(network).parameters.values())
    name = next((each.name for each in parameters if each.kind in _POSITIONAL), None)
    by_name = [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    info = TensorInfo(name=name or next(iter(by_name), "input"), shape=shape, dtype="float32")
    if name is None and by_name:
        return Arguments((), {by_name[0]: Leaf(0)}, (info,))
    return Arguments((Leaf(0),), {}, (info,))


def stated_arguments(network: nn.Module, stated: Sequence[InputSpec | FixedArgument]) -> Arguments:
    """The arguments that the user states one by one.

    Raises:
        UsageError: ``forward`` takes no such argument, or needs another one.
    """
    tree: dict[str, Any] = {}
    inputs: list[TensorInfo] = []
    for each in stated:
        value: Any
        if isinstance(each, FixedArgument):
            value = each.value
        else:
            value = Leaf(len(inputs))
            inputs.append(TensorInfo(name=each.name, shape=each.shape, dtype=each.dtype))
        _place(tree, each.name, value)
    args, kwargs = _bound(network, {name: _with_lists(item) for name, item in tree.items()})
    return Arguments(args, kwargs, tuple(inputs), stated_by=StatedBy.INPUTS)


def example_arguments(network: nn.Module, example: Any) -> Arguments:
    """The arguments of a call with ``example``.

    Args:
        network: The module.
        example: A tuple of arguments, a dict of keyword arguments, or else the one argument. A path
            is that of an ``.npz`` file with an array for each input, by its name.

    Raises:
        UsageError: There is no such file, or ``forward`` takes other arguments.
    """
    if isinstance(example, (str, Path)):
        example = _read(Path(example), network)
    names = _parameters(network)
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    if isinstance(example, Call):
        args, kwargs = example.args, example.kwargs
    elif isinstance(example, dict) and set(example) <= set(_named_parameters(network, example)):
        args, kwargs = _bound(network, example)
    else:
        args = example if type(example) is tuple else (example,)
        kwargs = {}
    arrays: list[Array] = []
    inputs: list[TensorInfo] = []

    def taken(value: Any, name: str) -> Any:
        if isinstance(value, (torch.Tensor, np.ndarray)):
            array = _array(value, name)
            arrays.append(array)
            inputs.append(TensorInfo(name=name, shape=array.shape, dtype=str(array.dtype)))
            return Leaf(len(arrays) - 1)
        if isinstance(value, Mapping):
            return {key: taken(item, f"{name}.{key}") for key, item in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            pairs = zip(value._fields, value, strict=True)
            return type(value)(*(taken(item, f"{name}.{key}") for key, item in pairs))
        if isinstance(value, (tuple, list)):
            return type(value)(taken(item, f"{name}.{i}") for i, item in enumerate(value))
        return value

    positional = tuple(
        taken(value, names[index] if index < len(names) else f"input.{index}")
        for index, value in enumerate(args)
    )
    keywords = {name: taken(value, name) for name, value in kwargs.items()}
    if not arrays:
        raise UsageError(
            f"the example of {type(network).__name__} holds no tensor",
            hint="give a tensor, a tuple of arguments or a dict of keyword arguments",
        )
    return Arguments(positional, keywords, tuple(inputs), tuple(arrays), StatedBy.EXAMPLE)


def _array(value: torch.Tensor | Array, name: str) -> Array:
    array = value.detach().cpu() if isinstance(value, torch.Tensor) else value
    if isinstance(array, torch.Tensor):
        array = (array.float() if array.is_floating_point() else array).numpy()
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise UsageError(f"the input {name!r} is of {array.dtype}", hint="use real numbers")
    return np.ascontiguousarray(array).reshape(array.shape)


def read_arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of an ``.npz`` file.

    Raises:
        UsageError: There is no such file.
        DataError: It is damaged.
        LimitExceeded: It unpacks to too much.
    """
    return {name: stored.whole() for name, stored in stored_arrays(path).items()}


def _read(path: Path, network: nn.Module) -> dict[str, Any]:
    """The arguments that an ``.npz`` file holds by their names."""
    arrays, names = read_arrays(path), _parameters(network)
    if len(arrays) == 1 and set(arrays) <= {"x", "arr_0"} and names:
        return {names[0]: next(iter(arrays.values()))}
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        _place(tree, name, array)
    tree = {name: _with_lists(item) for name, item in tree.items()}
    _bound(network, tree)  # refuses names that do not fit
    return tree


def _place(tree: dict[str, Any], name: str, value: Any) -> None:
    """Put ``value`` where a name such as ``batch.images.0`` says."""
    *outer, last = name.split(".")
    for part in outer:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise UsageError(
                f"the input {name!r} is inside of another input",
                hint="state only the inner or only the outer one",
            )
    if last in tree:
        raise UsageError(f"the input {name!r} is stated twice", hint="state it once")
    tree[last] = value


def _with_lists(tree: Any) -> Any:
    """The tree with lists for dicts whose keys are 0, 1, 2, …."""
    if not isinstance(tree, dict):
        return tree
    items = {key: _with_lists(item) for key, item in tree.items()}
    if sorted(items) == sorted(str(index) for index in range(len(items))):
        return [items[str(index)] for index in range(len(items))]
    return items


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _signature(network: nn.Module) -> inspect.Signature:
    return inspect.signature(network.forward)


def _parameters(network: nn.Module) -> list[str]:
    """The names of what ``forward`` takes by position."""
    parameters = _signature(network).parameters.values()
    return [each.name for each in parameters if each.kind in _POSITIONAL]


def _named_parameters(network: nn.Module, offered: Mapping[str, Any]) -> Iterator[str]:
    for each in _signature(network).parameters.values():
        if each.kind is inspect.Parameter.VAR_KEYWORD:
            yield from offered
        elif each.kind is not inspect.Parameter.VAR_POSITIONAL:
            yield each.name


def _bound(network: nn.Module, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The values by name as positional and keyword arguments of ``forward``.

    Raises:
        UsageError: ``forward`` has no such parameter, or needs one that is not among them.
    """
    signature = _signature(network)
    parameters = list(signature.parameters.values())
    taken = list(_named_parameters(network, values))
    several = next((p for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL), None)
    unknown = [name for name in values if name not in taken]
    if several is not None and unknown == [several.name]:
        rest = values[several.name]
        values = {name: value for name, value in values.items() if name != several.name}
        args, kwargs = _bound(network, values)
        return (*args, *(rest if isinstance(rest, list) else [rest])), kwargs
    if unknown and several is None:
        raise UsageError(
            f"{type(network).__name__} takes no {unknown[0]!r}: its forward has "
            f"{', '.join(taken) or 'no parameters'}",
            hint=did_you_mean(unknown[0], taken, "name one of them"),
        )
    missing = [
        p.name
        for p in parameters
        if p.default is p.empty
        and p.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        and p.name not in values
    ]
    if missing:
        raise UsageError(
            f"{type(network).__name__} also needs {' and '.join(map(repr, missing))}",
            hint=f"add --input {missing[0]}:SHAPE, or --input {missing[0]}=VALUE for a number",
        )
    positional = []
    for each in parameters:
        # After a gap, the rest goes by name.
        if each.kind not in _POSITIONAL or each.name not in values:
            break
        positional.append(each.name)
    args = tuple(values[name] for name in (*positional, *unknown))
    kwargs = {name: values[name] for name in values if name not in (*positional, *unknown)}
    return args, kwargs


def file_inputs(
    path: Path, stated: Sequence[InputSpec | FixedArgument], example: Any
) -> dict[str, tuple[int, ...]]:
    """The shapes of an ``.onnx`` file's inputs by their names, as far as the user states them.

    Raises:
        UsageError: The statement is about something else than arrays by name.
    """
    for each in stated:
        if isinstance(each, FixedArgument):
            raise UsageError(
                f"{path.name} has no arguments but tensors", hint=f"leave {each.name} out"
            )
    if example is None:
        return {each.name: each.shape for each in stated if isinstance(each, InputSpec)}
    return {name: array.shape for name, array in file_example(path, example).items()}


def file_example(path: Path, example: Any) -> dict[str, Array]:
    """The arrays that an ``.onnx`` file is called with, by the names of its inputs.

    Raises:
        UsageError: They have no names.
    """
    arrays = read_arrays(Path(example)) if isinstance(example, (str, Path)) else example
    if not isinstance(arrays, Mapping):
        raise UsageError(
            f"the example of {path.name} has no names", hint="give a dict of arrays by input"
        )
    return {str(name): _array(value, str(name)) for name, value in arrays.items()}
