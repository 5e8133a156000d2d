"""Whether a manifest says of its files' inputs and outputs what the files themselves say."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeconv.bundle import OPEN, Artifact, Bundle, TensorInfo
from edgeconv.errors import BundleError
from edgeconv.export.inspect import inspect_file
from edgeconv.export.inspect.report import TensorReport

_FLOAT32 = 1e-6  # a scale is stored in float32


def check_interface(bundle: Bundle, artifact: Artifact) -> None:
    """Compare names, shapes, types and scales of a file with what the manifest says of them.

    Raises:
        BundleError: They differ.
        DataError: The file is damaged.
    """
    found = inspect_file(bundle.file(artifact))
    how = bundle.manifest.preprocessing
    # The integers of a picture are its bytes to a user, and normalized values to the file.
    own_scale = how is not None and how.inside
    problem = _difference("input", artifact.inputs, found.inputs, scales=not own_scale)
    problem = problem or _difference("output", artifact.outputs, found.outputs)
    if problem is not None:
        raise BundleError(
            f"the manifest of {bundle.path} contradicts {artifact.path}: {problem}",
            hint="export again",
        )


def _difference(
    kind: str, stated: Sequence[TensorInfo], found: Sequence[TensorReport], *, scales: bool = True
) -> str | None:
    """The first difference, in words."""
    if len(stated) != len(found):
        return f"the file has {len(found)} {kind}s, not {len(stated)}"
    for info, tensor in zip(stated, found, strict=True):
        sizes = tuple(size if isinstance(size, int) else OPEN for size in tensor.shape)
        facts = [("name", info.name, tensor.name), ("shape", [*info.shape], [*sizes])]
        facts.append(("type", info.dtype, tensor.dtype))
        for what, ours, theirs in facts:
            if ours != theirs:
                return f"the {what} of {kind} {info.name!r} is {theirs}, not {ours}"
        if scales and not _same_scale(info, tensor):
            return (
                f"the scale and zero point of {kind} {info.name!r} are {tensor.scale} and "
                f"{tensor.zero_point}, not {info.scale} and {info.zero_point}"
            )
    return None


def _same_scale(info: TensorInfo, tensor: TensorReport) -> bool:
    if info.scale is None or tensor.scale is None:
        return info.scale is tensor.scale
    return info.zero_point == tensor.zero_point and math.isclose(
        info.scale, tensor.scale, rel_tol=_FLOAT32
    )
