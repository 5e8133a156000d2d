"""Networks of timm and torchvision, with what these packages say of their images and classes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from torch import nn

from edgeconv.errors import (
    TRACEBACK_HINT,
    CaptureError,
    DataError,
    EdgeconvError,
    UsageError,
    first_line,
)
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.capture.source import Source
from edgeconv.export.capture.unknown_argument import argument_hint
from edgeconv.model_args import ModelArgs
from edgeconv.near_names import near_names
from edgeconv.preprocessing import Fit, Interpolation, Preprocessing

# Where timm finds networks besides its own: on the hub, or in a folder.
_TIMM_SCHEMES = {"hf-hub", "local-dir"}
_FITS = {"center": Fit.CROP, "squash": Fit.SQUASH}


def from_library(
    spec: str, args: ModelArgs, input_size: tuple[int, ...] | None, *, pretrained: bool
) -> Source:
    """Build the network that ``timm:NAME`` or ``torchvision:NAME`` names.

    Raises:
        UsageError: The package is missing or has no such network, or the options do not fit it.
        DataError: The published weights cannot be had.
    """
    package, _, name = spec.partition(":")
    library = _import(package)
    if package == "timm":
        return _from_timm(library, spec, name, args, input_size, pretrained=pretrained)
    return _from_torchvision(library, spec, name, args, input_size, pretrained=pretrained)


def _import(package: str) -> ModuleType:
    """Import a package that is an extra of ours.

    Raises:
        UsageError: It is missing, or does not go with the installed torch.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        raise UsageError(
            f"{package} is not installed"
            if missing == package
            else f"{package} cannot be imported: it needs {missing}, which is not installed",
            hint=f"pip install 'edgeconv[{package}]'",
        ) from error
    except Exception as error:  # PyTorch raises RuntimeError for operators that do not exist
        if "torchvision::" in str(error):
            raise UsageError(
                "the installed torchvision was not built for the installed torch",
                hint="install both from the same package index, in one command",
            ) from error
        raise UsageError(
            f"{package} cannot be imported: {first_line(error)}",
            hint=f"install it again: pip install --force-reinstall {package}",
        ) from error


def _from_timm(
    timm: Any,
    spec: str,
    name: str,
    args: ModelArgs,
    input_size: tuple[int, ...] | None,
    *,
    pretrained: bool,
) -> Source:
    elsewhere = name.partition(":")[0].replace("_", "-") in _TIMM_SCHEMES
    if not elsewhere and not timm.is_model(name):
        raise _unknown(spec, "timm", name.partition(".")[0], timm.list_models())
    options: dict[str, Any] = dict(args)
    config = None if elsewhere else timm.get_pretrained_cfg(name)
    side = None if input_size is None or isinstance(input_size, InputShape) else input_size[-2:]
    if config is not None and config.fixed_input_size and side is not None:
        options.setdefault("img_size", side)  # its weights depend on it
    builder = None if elsewhere else timm.model_entrypoint(name.partition(".")[0])
    network: Any = _build(spec, timm.create_model, builder, name, pretrained=pretrained, **options)
    card = timm.data.resolve_model_data_config(network)
    channels, height, width = card["input_size"]
    size = options.get("img_size", (height, width))
    known_classes = network.pretrained_cfg.get("num_classes")
    return Source(
        spec,
        network,
        args,
        input_shape=(
            int(options.get("in_chans", channels)),
            *((size, size) if isinstance(size, int) else size),
        ),
        preprocessing=_timm_preprocessing(card),
        labels=_timm_labels(timm, network)
        if pretrained and network.num_classes == known_classes
        else None,
        untrained=not pretrained,
        published=elsewhere or (config is not None and config.has_weights),
    )


def _timm_preprocessing(card: dict[str, Any]) -> Preprocessing | None:
    fit = _FITS.get(card["crop_mode"])
    names = [each.value for each in Interpolation]
    if fit is None or card["interpolation"] not in names:
        return None
    return Preprocessing(
        crop=card["crop_pct"],
        fit=fit,
        interpolation=Interpolation(card["interpolation"]),
        mean=card["mean"],
        std=card["std"],
    )


def _timm_labels(timm: Any, network: nn.Module) -> tuple[str, ...] | None:
    subset = timm.data.infer_imagenet_subset(network)
    if subset is None:
        return None
    info = timm.data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


def _from_torchvision(
    torchvision: Any,
    spec: str,
    name: str,
    args: ModelArgs,
    input_size: tuple[int, ...] | None,
    *,
    pretrained: bool,
) -> Source:
    known = torchvision.models.list_models()
    if name not in known:
        raise _unknown(spec, "torchvision", name, known)
    weights = torchvision.models.get_model_weights(name).DEFAULT
    options: dict[str, Any] = dict(args)
    if pretrained:
        _fetch(spec, weights)
        options["weights"] = weights
    elif (
        "weights_backbone"
        in inspect.signature(torchvision.models.get_model_builder(name)).parameters
    ):
        options.setdefault("weights_backbone", None)  # its default downloads them
    builder = torchvision.models.get_model_builder(name)
    network = _build(spec, torchvision.models.get_model, builder, name, **options)
    transforms = weights.transforms()
    categories = weights.meta.get("categories")
    shape = preprocessing = None
    kind = type(transforms).__name__
    if kind in ("ImageClassification", "SemanticSegmentation"):
        side = (transforms.crop_size if kind == "ImageClassification" else transforms.resize_size)[
            0
        ]
        shape = (3, side, side)
        asked = side if input_size is None else min(input_size[-2:])
        preprocessing = Preprocessing(
            # The same share of the image for another size of the input.
            resize=transforms.resize_size[0] * asked // side,
            interpolation=Interpolation(transforms.interpolation.value),
            mean=tuple(transforms.mean),
            std=tuple(transforms.std),
        )
    return Source(
        spec,
        network,
        args,
        input_shape=shape,
        preprocessing=preprocessing,
        labels=tuple(categories) if pretrained and categories else None,
        untrained=not pretrained,
        published=True,
    )


def _fetch(spec: str, weights: Any) -> None:
    """Have the weights in torch.hub's folder, and look at them before torchvision unpickles them.

    What loads as plain tensors holds nothing that a full unpickling would run.
    """
    from edgeconv.models.pretrained import PretrainedError, download

    try:
        download(weights.url)
    except PretrainedError as error:
        raise DataError(f"{spec}: {error.message}", hint=error.hint) from error


def _build(spec: str, factory: Any, builder: Any, name: str, **options: Any) -> nn.Module:
    """Build a network by its name; ``builder`` is the function of that name."""
    package = spec.partition(":")[0]
    try:
        network = factory(name, **options)
    except EdgeconvError:
        raise
    except TypeError as error:
        raise UsageError(
            f"{spec} cannot be built so: {first_line(error)}",
            hint=argument_hint(error, builder),
        ) from error
    except Exception as error:  # downloads fail in as many ways as there are libraries
        if options.get("pretrained") or options.get("weights"):
            raise DataError(
                f"the published weights of {spec} cannot be had: {first_line(error)}",
                hint=_how_to_have(package, error, "or pass a file with --weights"),
            ) from error
        if ":" in name:
            raise DataError(
                f"the description of {spec} cannot be had: {first_line(error)}",
                hint=_how_to_have(
                    package, error, "check its name, or pass one that timm itself has"
                ),
            ) from error
        raise CaptureError(
            f"{spec} raised {type(error).__name__}: {first_line(error)}", hint=TRACEBACK_HINT
        ) from error
    assert isinstance(network, nn.Module)
    return network


def _how_to_have(package: str, error: Exception, otherwise: str) -> str:
    """What to do where a package cannot download: timm does it with another one."""
    if package == "timm" and "huggingface_hub" in first_line(error):
        return f"timm downloads with that package: pip install huggingface_hub; {otherwise}"
    return f"check the internet connection; {otherwise}"


def _unknown(spec: str, package: str, name: str, known: Sequence[str]) -> UsageError:
    near = near_names(name, known) or [n for n in known if name and name in n][:3]
    hint = " or ".join(f"'{package}:{each}'" for each in near)
    return UsageError(
        f"{package} has no network {spec.partition(':')[2]!r}",
        hint=f"did you mean {hint}?" if hint else f"{package}.list_models() lists them",
    )
