"""Errors that a user can act on. Each message says what happened, where, and what to do."""


class EdgeconvError(Exception):
    """A failure. The command line prints the message as one line and exits with ``exit_code``."""

    exit_code = 1


class UsageError(EdgeconvError):
    """The request itself is wrong: an unknown name, a missing option, a path that is not there."""

    exit_code = 2


class DataError(EdgeconvError):
    """Calibration or evaluation data cannot be read, or has the wrong values."""


class MismatchedData(DataError):  # noqa: N818  # what was met, as above
    """Sound data for another network: its names, shapes or types are not those of the inputs."""

    exit_code = 2


class CaptureError(EdgeconvError):
    """PyTorch or the ONNX loader could not turn the network into a graph."""


class UnsupportedOperator(EdgeconvError):  # noqa: N818  # what was met, as onnx says it
    """An operator has no counterpart in the requested format."""


class VerificationError(EdgeconvError):
    """A written file does not compute what the network computes."""


class BundleError(EdgeconvError):
    """A bundle on disk is missing, incomplete, changed, or from another schema version."""


class MeasurementError(EdgeconvError):
    """A latency measurement could not be completed."""
