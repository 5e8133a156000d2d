"""Networks of the zoo, with their cards."""

from __future__ import annotations

from pathlib import Path

from edgeconv import models
from edgeconv.errors import EdgeconvError, UsageError, first_line
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.capture.shards import INDEX_SUFFIX
from edgeconv.export.capture.source import SPEC_FORMS, Source
from edgeconv.export.capture.weights_file import SUFFIXES, read_weights_file
from edgeconv.export.capture.weights_kind import WholeNetworkError
from edgeconv.model_args import ModelArgs
from edgeconv.models.pretrained import FILES
from edgeconv.near_names import did_you_mean, near_paths
from edgeconv.preprocessing import Preprocessing

_OTHERS = (".h5", ".hdf5", ".keras", ".pb", ".tflite")
# Options that change the shapes of weights.
ARCHITECTURE = {"num_classes", "in_channels", "width_mult"}


def from_zoo(name: str, args: ModelArgs, input_size: tuple[int, ...] | None) -> Source:
    """Build a network of the zoo.

    Raises:
        UsageError: There is no such network, or the options do not fit it.
    """
    if not name:
        raise UsageError("MODEL is empty", hint=f"pass {SPEC_FORMS}")
    if name not in models.list_models():
        if name.endswith(".py") or Path(name).exists():
            raise _not_a_network(Path(name))
        if name.lower().endswith((*SUFFIXES, *_OTHERS)):
            hint = near_paths(Path(name), f"pass {SPEC_FORMS}")
            raise UsageError(f"{name}: no such file", hint=hint)
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
        raise UsageError(
            f"{name}: {first_line(error)}", hint="check the values of --model-arg"
        ) from error
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


def _not_a_network(path: Path) -> UsageError:
    """Why a file or folder is not what is exported, and what is."""
    name = path.name.lower()
    if name.endswith((".onnx", ".pt2")):
        return UsageError(f"{path} is not called .onnx or .pt2 in small letters", hint="rename it")
    if name.endswith((*SUFFIXES, INDEX_SUFFIX)):
        try:
            read_weights_file(path)
        except WholeNetworkError as error:
            return UsageError(
                error.message,
                hint="name the network itself, as in net.py:make, and give its weights with "
                f"--weights: {error.hint}",
            )
        except EdgeconvError:
            pass  # whatever is wrong with the weights: they are no network
        return UsageError(
            f"{path} is a file of weights, without the network that they belong to",
            hint=f"pass the network, and the file as --weights {path}",
        )
    if name.endswith(_OTHERS) or (path / "saved_model.pb").is_file():
        return UsageError(
            f"{path} is a network of another framework",
            hint="convert it to ONNX first: tf2onnx does so for TensorFlow, Keras and TFLite files",
        )
    if (path / "manifest.json").is_file():
        return UsageError(
            f"{path} is a bundle that was exported already",
            hint="pass its .onnx file, or the network that it was made of",
        )
    kind = "folder" if path.is_dir() else "file"
    return UsageError(f"{path} is a {kind} of another kind", hint=f"pass {SPEC_FORMS}")
