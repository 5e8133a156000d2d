"""What the MODEL argument names, turned into a network with its weights, in eval mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import nn
from torch.export import ExportedProgram

from edgeconv.errors import UsageError
from edgeconv.export.capture.factory import example_of, from_factory
from edgeconv.export.capture.model_in_memory import InMemory
from edgeconv.export.capture.own_copy import own_copy, prepared, unwrapped
from edgeconv.export.capture.program import from_program, load_program
from edgeconv.export.capture.source import Source
from edgeconv.export.capture.weights import load_published_weights, load_weights
from edgeconv.export.capture.zoo import ARCHITECTURE, from_zoo
from edgeconv.model_args import ModelArgs
from edgeconv.models import list_models
from edgeconv.near_names import not_a_file

_LIBRARIES = ("timm:", "torchvision:")


def resolve(
    model: str | Path | nn.Module | ExportedProgram | InMemory,
    *,
    args: ModelArgs,
    input_size: tuple[int, ...] | None,
    weights: Path | None,
    weights_key: str | None = None,
    pretrained: bool = False,
) -> Source:
    """Turn a model specification, a module or an exported program into a :class:`Source`.

    The caller's module stays as it is: what is exported is a copy.

    Raises:
        UsageError: The name or file is unknown, or the options do not fit.
        DataError: The weights do not fit the network, or published ones cannot be had.
    """
    if pretrained and weights is not None:
        raise UsageError("--weights and --pretrained exclude each other", hint="pass one of them")
    if weights_key is not None and weights is None:
        raise UsageError(
            "--weights-key says where in a file of weights they are", hint="pass --weights, too"
        )
    source = _find(model, args, input_size, weights, pretrained=pretrained)
    network = source.network
    if not isinstance(network, nn.Module):
        if weights is not None or args:
            option = "--weights" if weights is not None else "--model-arg"
            raise UsageError(
                f"{option} does not apply to {source.spec}: an ONNX file is complete",
                hint="leave it out",
            )
        return source
    if pretrained and source.untrained:
        _load_published(source, network, args)
        source = replace(source, untrained=False)
    if weights is not None:
        load_weights(network, weights, weights_key, factory=source.factory, args=args)
        source = replace(source, untrained=False)
    return replace(source, network=prepared(network))


def _load_published(source: Source, network: nn.Module, args: ModelArgs) -> None:
    changed = sorted(ARCHITECTURE & set(args))
    if changed:
        raise UsageError(
            f"published weights fit the default {changed[0]} only", hint=f"leave {changed[0]} out"
        )
    load_published_weights(source.spec, network)


def _find(
    model: str | Path | nn.Module | ExportedProgram | InMemory,
    args: ModelArgs,
    input_size: tuple[int, ...] | None,
    weights: Path | None,
    *,
    pretrained: bool,
) -> Source:
    if args and not isinstance(model, (str, Path)):
        raise UsageError(
            "model_args apply to a factory, not to a module that is built",
            hint="leave model_args out, or pass the factory",
        )
    if isinstance(model, ExportedProgram):
        source = from_program(model)
    elif isinstance(model, nn.Module):
        inner = unwrapped(model)
        source = Source(type(inner).__name__, own_copy(inner), example=example_of(inner))
    elif not isinstance(model, str | Path):
        raise _not_a_model(model)
    elif str(model).startswith(_LIBRARIES):
        from edgeconv.export.capture.libraries import from_library

        return from_library(str(model), args, input_size, pretrained=pretrained)
    elif str(model).endswith((".onnx", ".pt2")):
        path = Path(model)
        if not path.is_file():
            raise not_a_file(path, "name a file of a network")
        source = Source(path.name, path) if path.suffix == ".onnx" else load_program(path, args)
    elif ":" in str(model) or (Path(model).suffix == ".py" and Path(model).is_file()):
        source = from_factory(str(model), args, weights)
    else:
        source = from_zoo(str(model), args, input_size)
    if pretrained and str(model) not in list_models():
        raise UsageError(
            f"--pretrained applies to networks of the zoo, of timm and of torchvision, not to "
            f"{source.spec}",
            hint="pass a file with --weights",
        )
    return source


def _not_a_model(model: object) -> UsageError:
    """What to say of an object that is passed for a network."""
    kind = type(model).__name__
    if isinstance(getattr(model, "__self__", None), nn.Module):
        what, hint = "a method of a module", "pass the module itself"
    elif isinstance(model, type) or (callable(model) and not hasattr(model, "SerializeToString")):
        what, hint = "a class or function", "call it, and pass the module that it returns"
    elif isinstance(model, (bytes, bytearray)) or kind == "InferenceSession":
        what, hint = f"of type {kind}", "pass the path of its file"
    elif isinstance(model, (list, tuple)):
        what, hint = f"a {kind}", "call export for each network in it, with an out of its own"
    elif isinstance(model, Mapping):
        what, hint = "a dict", "load it into a module with load_state_dict, and pass the module"
    elif hasattr(model, "SerializeToString"):
        what, hint = f"of type {kind}", "make a model of it with onnx.helper.make_model"
    else:
        what = f"of type {kind}"
        hint = "pass an nn.Module, an ExportedProgram, or the name or file of a network"
    return UsageError(f"the network is {what}, not a module", hint=hint)
