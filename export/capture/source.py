"""What the MODEL argument names, turned into a network.

Forms: a zoo name, ``path/to/file.py:factory``, ``package.module:factory``, ``file.onnx``. The
factory is a callable that returns an ``nn.Module``, or the module itself.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import fx, nn

from edgeconv import models
from edgeconv.bundle import Preprocessing
from edgeconv.errors import CaptureError, EdgeconvError, UsageError, first_line
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.capture.weights import load_published_weights, load_weights

ModelArgs = Mapping[str, str | int | float | bool]
SPEC_FORMS = (
    "a zoo name (`edgeconv models` lists them), file.py:factory, package.module:factory, "
    "or file.onnx"
)


@dataclass(frozen=True)
class Source:
    """A network to export.

    Attributes:
        spec: what the user wrote, or the class name of a module passed from Python.
        network: the module in eval mode, or the path of a float ``.onnx`` file.
        input_shape: of one input, where the network's card states it, else None.
        output_names: from the network's card, in order; empty elsewhere.
        preprocessing: from the network's card, else None.
        untrained: the weights are fresh random ones.
    """

    spec: str
    network: nn.Module | Path
    args: ModelArgs = field(default_factory=dict)
    input_shape: tuple[int, ...] | None = None
    preprocessing: Preprocessing | None = None
    untrained: bool = False
    output_names: tuple[str, ...] = ()


def resolve(
    model: str | nn.Module | Path,
    *,
    args: ModelArgs,
    input_size: tuple[int, ...] | None,
    weights: Path | None,
    pretrained: bool = False,
) -> Source:
    """Turn a model specification, or a module, into a :class:`Source`.

    Raises:
        UsageError: the name or file is unknown, or the options do not fit.
        DataError: the weights do not fit the network, or published ones cannot be had.
    """
    source = _find(model, args, input_size)
    network = source.network
    if pretrained:
        if weights is not None:
            raise UsageError(
                "--weights and --pretrained exclude each other", hint="pass one of them"
            )
        if model not in models.list_models() or not isinstance(network, nn.Module):
            raise UsageError(f"--pretrained applies to networks of the zoo, not to {source.spec}")
        changed = sorted({"num_classes", "in_channels", "width_mult"} & set(args))
        if changed:
            raise UsageError(
                f"published weights fit the default {changed[0]} only",
                hint=f"leave {changed[0]} out",
            )
        load_published_weights(source.spec, network)
        source = replace(source, untrained=False)
    if isinstance(network, nn.Module):
        if weights is not None:
            load_weights(network, weights)
            source = replace(source, untrained=False)
        _to_eval(network)
    elif weights is not None or args:
        option = "--weights" if weights is not None else "--model-arg"
        raise UsageError(f"{option} does not apply to {source.spec}: an ONNX file is complete")
    return source


def _to_eval(network: nn.Module) -> None:
    """Put ``network`` into eval mode. A module that torch.export made has its mode in its graph.

    Raises:
        UsageError: it is such a module, and would train.
    """
    try:
        network.eval()
    except NotImplementedError as error:
        nodes = network.graph.nodes if isinstance(network, fx.GraphModule) else ()
        if any("dropout" in str(node.target) and node.args[-1] is True for node in nodes):
            raise UsageError(
                f"{type(network).__name__} is in training mode",
                hint="call torchao.quantization.pt2e.move_exported_model_to_eval on it",
            ) from error


def _find(
    model: str | nn.Module | Path, args: ModelArgs, input_size: tuple[int, ...] | None
) -> Source:
    if isinstance(model, nn.Module):
        if args:
            raise UsageError("model_args apply to a factory, not to a module that is built")
        return Source(type(model).__name__, model)
    spec = str(model)
    if spec.endswith(".onnx"):
        path = Path(spec)
        if not path.is_file():
            raise UsageError(f"{spec}: no such file")
        return Source(path.name, path)
    if ":" in spec:
        return replace(_from_factory(spec, args), args=args)
    return _from_zoo(spec, args, input_size)


def _from_zoo(name: str, args: ModelArgs, input_size: tuple[int, ...] | None) -> Source:
    if name not in models.list_models():
        if name.endswith(".py") or Path(name).exists():
            raise UsageError(f"{name} is a file or folder", hint=f"pass {SPEC_FORMS}")
        near = difflib.get_close_matches(name, models.list_models(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"pass {SPEC_FORMS}"
        raise UsageError(f"unknown model {name!r}", hint=hint)
    options = dict(args)
    if isinstance(input_size, InputShape):
        input_size = input_size.sample
    if input_size is not None and ("input_size" in args or args.get("stage")):
        raise UsageError(
            "--input-size contradicts --model-arg input_size or stage",
            hint="give the side of the image with --model-arg input_size only",
        )
    if input_size is not None:
        # The zoo knows square sizes; another shape only changes what the network is traced on.
        taken = models.model_options(name)
        if len(input_size) == len(models.model_info(name).input_shape) and "in_channels" in taken:
            options.setdefault("in_channels", input_size[0])
        if len(set(input_size[-2:])) == 1 and "input_size" in taken:
            options.setdefault("input_size", input_size[-1])
    try:
        network = models.create_model(name, **options)
        shape = models.input_shape(name, **options)
        outputs = models.output_names(name, **options)
        card = models.preprocessing(name, **options)
    except models.UnknownOption as error:
        raise UsageError(first_line(error)) from error
    except (TypeError, ValueError, LookupError) as error:
        raise UsageError(f"{name}: {first_line(error)}") from error
    preprocessing = None
    if card is not None:
        preprocessing = Preprocessing(resize=card.resize, mean=card.mean, std=card.std)
    return Source(name, network, args, shape, preprocessing, untrained=True, output_names=outputs)


def load_named(spec: str) -> Any:
    """Load what ``path/to/file.py:name`` or ``package.module:name`` names; the user's code runs.

    Raises:
        UsageError: there is no such file, module or name.
        CaptureError: importing it fails.
    """
    where, _, name = spec.rpartition(":")
    module = _load_file(Path(where)) if where.endswith(".py") else _load_module(where)
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, vars(module), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "check the name after the colon"
        raise UsageError(f"{where} has no {name!r}", hint=hint)
    return getattr(module, name)


def _from_factory(spec: str, args: ModelArgs) -> Source:
    factory = load_named(spec)
    if isinstance(factory, nn.Module):
        if args:
            raise UsageError(
                f"{spec} is a module that is built already",
                hint="leave --model-arg out, or pass a function that builds the module",
            )
        return Source(spec, factory)
    if not callable(factory):
        raise UsageError(f"{spec} is a {type(factory).__name__}, not a callable or an nn.Module")
    _refuse_unknown_arguments(spec, factory, args)
    try:
        network = factory(**args)
    except Exception as error:  # the user's own code: anything can come out of it
        raise CaptureError(f"{spec} raised {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"{spec} returned a {type(network).__name__}, not an nn.Module")
    return Source(spec, network)


def _refuse_unknown_arguments(spec: str, factory: Callable[..., Any], args: ModelArgs) -> None:
    try:
        inspect.signature(factory).bind(**args)
    except TypeError as error:
        raise UsageError(
            f"{spec} cannot be called so: {error}", hint="pass its arguments with --model-arg"
        ) from error
    except ValueError:  # built-in callables have no signature; the call itself will fail
        return


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    # A name of its own, so that the user's models.py or export.py shadows nothing; the folder goes
    # on sys.path because the file's own imports expect what `python file.py` gives them.
    name = f"_edgeconv_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be imported as Python")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code: anything can come out of it
        raise _import_failed(path, error) from error
    return module


def _load_module(name: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except Exception as error:  # the user's own code: anything can come out of it
        raise _import_failed(name, error) from error


def _import_failed(what: object, error: Exception) -> EdgeconvError:
    if isinstance(error, ModuleNotFoundError):
        return UsageError(f"{what} cannot be imported: no module named {error.name!r}")
    return CaptureError(f"importing {what} raised {type(error).__name__}: {first_line(error)}")


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
        raise UsageError(f"the input size of {source.spec} is not known", hint="pass --input-size")
    shape = input_size
    is_sequence = len(card) == 2 if card else isinstance(first, nn.Conv1d)
    if isinstance(input_size, InputShape):
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
