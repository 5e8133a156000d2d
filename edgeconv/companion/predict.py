"""Run a bundle's file on a picture or on arrays, as its ``run.py`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edgeconv.bundle import Bundle, Manifest, Shown
from edgeconv.companion.network import image_input, shown
from edgeconv.companion.write import run_script
from edgeconv.errors import NO_ROOM, BundleError, DataError, EdgeconvError, UsageError, first_line
from edgeconv.near_names import did_you_mean, near_paths
from edgeconv.place import Place
from edgeconv.whole_file import whole_file

_PRINTED = (Shown.CLASSES, Shown.LABEL)


def predict(
    bundle: Bundle,
    given: Path,
    file: str | None = None,
    out: Path | None = None,
    place: Place | None = None,
    *,
    wrote: Callable[[str], None] = lambda out: None,
) -> None:
    """Run a file and print what it says.

    What runs is the script that this edgeconv writes for the manifest, never the ``run.py`` that
    came with the bundle, which may have been changed.

    Args:
        bundle: The bundle.
        given: The picture, or an ``.npz`` file for a network that does not take one image.
        file: The name of the model file; by default the first one whose runtime is installed.
        out: Where the mask, the boxes or the outputs go.
        place: Where the file is run; the input is prepared and the answer shown here.
        wrote: Called with the name of the file that was written, before more is printed.

    Raises:
        UsageError: There is no such file, or nothing to write.
        BundleError: The manifest contradicts its files.
        DataError: ``given`` is damaged or does not fit the network.
    """
    names = [artifact.path for artifact in bundle.manifest.artifacts]
    if file is not None and file not in names:
        hint = did_you_mean(file, names, f"name one of {', '.join(names)}")
        raise UsageError(f"{bundle.path} has no {file!r}", hint=hint)
    if not given.is_file():
        what = "is not a file" if given.exists() else "no such file"
        hint = near_paths(given, f"pass {input_wanted(bundle.manifest)}")
        raise UsageError(f"{given}: {what}", hint=hint)
    arguments = ["--file", file] if file is not None else []
    arguments += ["--out", str(out)] if out is not None else []
    script: dict[str, Any] = {"__name__": "edgeconv_run"}
    try:
        exec(compile(run_script(bundle.manifest, bundle.path.resolve()), "run.py", "exec"), script)
        script["written"] = partial(_written, wrote=wrote)
        script["read"] = _reading(script["read"], bundle.manifest)
        if place is not None:
            script["load"] = lambda wanted: _loaded_there(bundle, wanted, place)
        if out is not None and shown(bundle.manifest) in _PRINTED:
            raise UsageError("classes are printed, and nothing is written", hint="leave out --out")
        script["main"]([*arguments, "--", str(given)])
    except SystemExit as error:
        raise DataError(str(error)) from error
    except (
        NameError,
        TypeError,
        LookupError,
    ) as error:  # no such type, a scale of infinity, no such output
        raise BundleError(
            f"the manifest of {bundle.path} contradicts its files: {first_line(error)}",
            hint="export again",
        ) from error
    except (EdgeconvError, BrokenPipeError):  # the latter: the reader left
        raise
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:  # of standard output
            raise
        raise _not_run(given, error) from error
    except Exception as error:  # each runtime raises its own for an input that it refuses
        raise _not_run(given, error) from error


def _not_run(given: Path, error: Exception) -> DataError:
    return DataError(f"{given} cannot be run: {first_line(error)}")


@contextmanager
def _written(out: str, *, wrote: Callable[[str], None]) -> Iterator[str]:
    """What the script's ``written`` does, with what :func:`whole_file` does besides."""
    try:
        with whole_file(Path(out)) as part:
            yield str(part)
        wrote(out)
    except ValueError as error:  # no format has such a suffix
        raise UsageError(f"{out} cannot be written: {error}", hint="name a .png") from error


def input_wanted(manifest: Manifest) -> str:
    """What a network is run on, in words."""
    if image_input(manifest) is not None:
        return "a picture"
    arrays = ", ".join(f"{info.name}=…" for info in manifest.inputs)
    shapes = ", ".join(
        f"{info.name} of {list(info.shape)} {info.dtype}" for info in manifest.inputs
    )
    return f"an .npz with {shapes}: numpy.savez('inputs.npz', {arrays})"


def _reading(read: Callable[..., Any], manifest: Manifest) -> Callable[..., Any]:
    """The script's ``read``, which says what is wrong, with what the network takes."""

    def reading(*args: Any) -> Any:
        try:
            return read(*args)
        except SystemExit as error:
            raise DataError(str(error), hint=f"pass {input_wanted(manifest)}") from error

    return reading


def _loaded_there(bundle: Bundle, wanted: str | None, place: Place) -> tuple[str, Any]:
    """What the script's ``load`` returns: a file's name, and what computes its outputs."""
    manifest = bundle.manifest
    artifacts = [a for a in manifest.artifacts if wanted in (None, a.path)]
    read = [a for a in artifacts if place.reads(bundle.file(a))]
    if not read:
        raise UsageError(
            f"{place.name} has no runtime for {wanted or 'these files'}",
            hint="install one there, or name another file",
        )
    artifact = read[0]

    def compute(arrays: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        inputs = (info.name for info in artifact.inputs)
        given = dict(zip(inputs, arrays, strict=True))
        _, (answer,) = place.run(bundle.file(artifact), [given])
        return [answer[info.name] for info in artifact.outputs]

    return artifact.path, compute
