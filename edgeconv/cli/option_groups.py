"""Under which heading of ``--help`` an option stands: the same in every command.

Only commands with many options show headings; their order is that of GROUPS.
"""

from __future__ import annotations

REST = "Options"

OF_INT8 = (
    *("range_method", "effort", "equalization", "bias_absorption", "bias_correction"),
    *("reconstruction", "rounding", "repair", "keep_float", "layers", "activation_type"),
)
"""What says how int8 and int16x8 files are calibrated, and nothing of other files."""

GROUPS: dict[str, tuple[str, ...]] = {
    "What to write": ("formats", "precisions", "out", "name", "force", "verify"),
    "Network": (
        *("input_size", "inputs", "example", "weights", "weights_key", "pretrained"),
        *("model_args", "preprocessing", "mean", "std"),
    ),
    "Data and accuracy": ("data", "labeled", "task", "truth", "pictures"),
    "Calibration and int8": ("calibration", "calibration_size", *OF_INT8),
    "Limits and search": (*("min_sqnr", "accuracy_budget", "max_size", "max_latency", "search"),),
    "Inputs and outputs of the files": (
        *("batch", "dynamic_batch", "opset", "layout", "io", "output", "cut_outputs"),
        *("split_outputs", "labels", "about"),
    ),
    "Where it runs": (
        *("device", "devices", "wait", "runtime", "xnnpack", "threads", "cpus"),
        *("scheduler", "workers", "cache"),
    ),
    "Kind of measurement": (
        *("sustained", "operators", "together", "end_to_end", "frame", "resume"),
    ),
    "Plan": ("example_plan", "dry_run"),
    "How long to measure": (
        *("runs", "seconds", "max_seconds", "warmup", "repetitions", "detect"),
        *("max_repetitions", "max_time", "retries", "seed"),
    ),
    "Comparison": (
        *("baseline", "gate", "measure", "max_regression", "max_accuracy_loss", "across"),
    ),
    "History": ("store", "no_history"),
    "What to show": (
        *("everything", "limit", "plot", "page", "markdown", "junit", "wide", "as_json", "quiet"),
    ),
}


def heading_of(parameter: str) -> str:
    """The heading of an option, by the name of its parameter."""
    return next((heading for heading, names in GROUPS.items() if parameter in names), REST)
