"""Networks of the zoo, with their cards."""

from __future__ import annotations

from pathlib import Path

from edgeconv import models
from edgeconv.errors import UsageError, first_line
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.capture.source import SPEC_FORMS, ModelArgs, Source
from edgeconv.models.pretrained import FILES
from edgeconv.near_names import did_you_mean
from edgeconv.preprocessing import Preprocessing

# Options that change the shapes of weights.
ARCHITECTURE = {"num_classes", "in_channels", "width_mult"}


def from_zoo(name: str, args: ModelArgs, input_size: tuple[int, ...] | None) -> Source:
    """Build a network of the zoo.

    Raises:
        UsageError: There is no such network, or the options do not fit it.
    """
    if name not in models.list_models():
        if name.endswith(".py") or Path(name).exists():
            raise UsageError(f"{name} is a file or folder", hint=f"pass {SPEC_FORMS}")
        hint = did_you_mean(name, models.list_models(), f"pass {SPEC_FORMS}")
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
        taken = models.model_options(name)
        unknown = next((key for key in options if key not in taken), "")
        raise UsageError(first_line(error), hint=did_you_mean(unknown, taken)) from error
    except (TypeError, ValueError, LookupError) as error:
        raise UsageError(f"{name}: {first_line(error)}") from error
    preprocessing = None
    if card is not None:
        preprocessing = Preprocessing(resize=card.resize, mean=card.mean, std=card.std)
    return Source(
        name,
        network,
        args,
        shape,
        preprocessing=preprocessing,
        untrained=True,
        published=name in FILES,
        output_names=outputs,
    )
