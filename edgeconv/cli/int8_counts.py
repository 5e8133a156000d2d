"""Whether int8 saves time on an emulated target, by counted instructions."""

from __future__ import annotations

from edgeconv.bundle import Artifact, Bundle, Format, Precision
from edgeconv.device.messages import Runtime
from edgeconv.errors import EdgeconvError
from edgeconv.progress import Progress, no_progress
from edgeconv.units import format_count


def slower_int8(
    bundle: Bundle, board: str, release: str | None = None, progress: Progress = no_progress
) -> list[str]:
    """Count each int8 file and its float32 twin; name those that take more instructions.

    Args:
        bundle: The export.
        board: The address of an emulated board.
        release: Of the runtime for TFLite files, as in ``tflite-runtime==2.14``; None is the
            board's usual one.
        progress: Called before every file.

    Returns:
        A note for each int8 file that takes more, and for each pair that could not be counted.
    """
    from edgeconv.bench.instructions import CountOptions, count
    from edgeconv.device.emulated import EmulatedDevice

    notes = []
    for plain, int8 in _twins(bundle):
        files = [bundle.file(plain), bundle.file(int8)]
        options = CountOptions(runtime=_runtime(int8.format, release))
        try:
            before, after = count(files, options, EmulatedDevice.parse(board), progress).models
        except EdgeconvError as error:
            notes.append(f"{int8.path} was not held against {plain.path}: {error.message}")
            continue
        if after.counts.total > before.counts.total:
            notes.append(
                f"{int8.path} takes {format_count(after.counts.total)} instructions on {board}, "
                f"more than the {format_count(before.counts.total)} of {plain.path}"
            )
    return notes


def _runtime(format: Format, release: str | None) -> Runtime | None:
    """The runtime that a release for TFLite files is of."""
    if release is None or format is not Format.TFLITE:
        return None
    old = release.startswith(Runtime.TFLITE_RUNTIME.value)
    return Runtime.TFLITE_RUNTIME if old else Runtime.LITERT


def _twins(bundle: Bundle) -> list[tuple[Artifact, Artifact]]:
    """The float32 and the int8 file of each format that has both."""
    by_kind = {(each.format, each.precision): each for each in bundle.manifest.artifacts}
    return [
        (by_kind[format, Precision.FLOAT32], int8)
        for (format, precision), int8 in by_kind.items()
        if precision is Precision.INT8 and (format, Precision.FLOAT32) in by_kind
    ]
