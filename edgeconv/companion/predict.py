"""Run a bundle's file on a picture or on arrays, as its ``run.py`` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeconv.bundle import Bundle
from edgeconv.companion.network import Shown, shown
from edgeconv.companion.write import run_script
from edgeconv.errors import BundleError, DataError, UsageError, first_line

_PRINTED = (Shown.CLASSES, Shown.LABEL)


def predict(bundle: Bundle, given: Path, file: str | None = None, out: Path | None = None) -> None:
    """Run a file and print what it says.

    What runs is the script that this edgeconv writes for the manifest, never the ``run.py`` that
    came with the bundle, which may have been changed.

    Args:
        bundle: The bundle.
        given: The picture, or an ``.npz`` file for a network that does not take one image.
        file: The name of the model file; by default the first one whose runtime is installed.
        out: Where the mask, the boxes or the outputs go.

    Raises:
        UsageError: There is no such file, or nothing to write.
        BundleError: The manifest contradicts its files.
        DataError: ``given`` is damaged or does not fit the network.
    """
    names = [artifact.path for artifact in bundle.manifest.artifacts]
    if file is not None and file not in names:
        raise UsageError(f"{bundle.path} has no {file!r}", hint=f"name one of {', '.join(names)}")
    if not given.is_file():
        raise UsageError(
            f"{given}: no such file", hint="name a picture, or an .npz with the inputs"
        )
    arguments = ["--file", file] if file is not None else []
    arguments += ["--out", str(out)] if out is not None else []
    script: dict[str, Any] = {"__name__": "edgeconv_run"}
    try:
        exec(compile(run_script(bundle.manifest, bundle.path.resolve()), "run.py", "exec"), script)
        if out is not None and shown(bundle.manifest) in _PRINTED:
            raise UsageError("classes are printed, and nothing is written", hint="leave out --out")
        script["main"]([*arguments, "--", str(given)])
    except SystemExit as error:
        raise DataError(str(error)) from error
    except (NameError, TypeError) as error:  # a type that NumPy does not have, a scale of infinity
        raise BundleError(
            f"the manifest of {bundle.path} contradicts its files: {first_line(error)}",
            hint="export again",
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{given} cannot be run: {first_line(error)}") from error
