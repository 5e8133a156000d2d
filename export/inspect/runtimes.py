"""The lowest runtime release that loads a file, by its operator versions or its opset.

Every line here was tried: one tiny file per operator version (or opset, or IR version) was given to
every release named, and the first release that loads it is noted. What a release loads, all later
ones load. TensorFlow's own list (``tensorflow/lite/tools/versioning/runtime_version.cc``) and ONNX
Runtime's own compatibility page sometimes name an earlier release than the first that really loads
the file (FULLY_CONNECTED version 10: 2.11 by the list, 2.13 in fact; opset 19: 1.15 by the page,
1.16 in fact). They are believed only for releases too old to try: tflite-runtime 2.5, which is
credited with what the list gives to TensorFlow 2.3 and before, and onnxruntime up to 1.10.

Loading says nothing about kernels: a release may still refuse an operator's element types.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

from edgeconv.errors import UsageError

INT8_BY_OWN_KERNELS = "tflite-runtime 2.14.0"
"""The release whose XNNPACK runs float only (benchmarks/results/old_runtime.md)."""

# Release by release, oldest first: the highest version of each operator that it adds.
_TFLITE_ADDED = {
    "tflite-runtime 2.5.0": """
        ABS:1 ADD:2 ADD_N:1 ARG_MAX:2 ARG_MIN:2 AVERAGE_POOL_2D:3 BATCH_MATMUL:2 BATCH_TO_SPACE_ND:3
        BIDIRECTIONAL_SEQUENCE_LSTM:3 BIDIRECTIONAL_SEQUENCE_RNN:3 CAST:1 CEIL:1 CONCATENATION:3
        CONV_2D:4 COS:1 DENSIFY:1 DEPTHWISE_CONV_2D:6 DEPTH_TO_SPACE:1 DEQUANTIZE:4 DIV:2 ELU:1
        EMBEDDING_LOOKUP:3 EMBEDDING_LOOKUP_SPARSE:1 EQUAL:3 EXP:1 EXPAND_DIMS:1 FAKE_QUANT:2 FILL:2
        FLOOR:1 FLOOR_DIV:2 FLOOR_MOD:1 FULLY_CONNECTED:9 GATHER:3 GATHER_ND:2 GREATER:2
        GREATER_EQUAL:2 HARD_SWISH:1 HASHTABLE_LOOKUP:1 IF:1 L2_NORMALIZATION:2 L2_POOL_2D:1
        LEAKY_RELU:2 LESS:2 LESS_EQUAL:2 LOCAL_RESPONSE_NORMALIZATION:1 LOG:1 LOGICAL_AND:1
        LOGICAL_NOT:1 LOGICAL_OR:1 LOGISTIC:3 LOG_SOFTMAX:2 LSH_PROJECTION:1 LSTM:4 MATRIX_DIAG:1
        MATRIX_SET_DIAG:1 MAXIMUM:4 MAX_POOL_2D:3 MEAN:2 MINIMUM:4 MIRROR_PAD:2 MUL:4 NEG:1
        NON_MAX_SUPPRESSION_V4:1 NON_MAX_SUPPRESSION_V5:1 NOT_EQUAL:3 ONE_HOT:1 PACK:3 PAD:2 PADV2:2
        POW:1 PRELU:1 QUANTIZE:2 RANGE:1 RANK:1 REDUCE_ANY:1 REDUCE_MAX:2 REDUCE_MIN:2 REDUCE_PROD:1
        RELU:2 RELU6:2 RELU_N1_TO_1:1 RESHAPE:1 RESIZE_BILINEAR:3 RESIZE_NEAREST_NEIGHBOR:3
        REVERSE_SEQUENCE:1 REVERSE_V2:2 RNN:3 ROUND:1 RSQRT:1 SCATTER_ND:1 SEGMENT_SUM:1 SELECT:2
        SELECT_V2:1 SHAPE:1 SIN:1 SKIP_GRAM:1 SLICE:3 SOFTMAX:3 SPACE_TO_BATCH_ND:3 SPACE_TO_DEPTH:2
        SPARSE_TO_DENSE:3 SPLIT:4 SPLIT_V:2 SQRT:1 SQUARE:1 SQUARED_DIFFERENCE:1 SQUEEZE:1
        STRIDED_SLICE:4 SUB:3 SUM:2 SVDF:4 TANH:3 TILE:2 TOPK_V2:2 TRANSPOSE:4 TRANSPOSE_CONV:3
        UNIDIRECTIONAL_SEQUENCE_LSTM:3 UNIDIRECTIONAL_SEQUENCE_RNN:3 UNIQUE:1 UNPACK:4 WHERE:1
        WHILE:1 ZEROS_LIKE:1
    """,
    "tflite-runtime 2.7.0": """
        ABS:4 ADD:4 ASSIGN_VARIABLE:1 BATCH_MATMUL:4 BROADCAST_ARGS:1 BROADCAST_TO:3 CALL_ONCE:1
        CAST:2 COMPLEX_ABS:1 CONV_2D:5 CONV_3D:1 CONV_3D_TRANSPOSE:1 CUMSUM:1 DEPTH_TO_SPACE:2
        DEQUANTIZE:5 FILL:3 GATHER:5 GATHER_ND:3 HASHTABLE:1 HASHTABLE_FIND:1 HASHTABLE_IMPORT:1
        HASHTABLE_SIZE:1 IMAG:1 MEAN:3 MUL:5 PAD:4 PADV2:4 QUANTIZE:3 RANDOM_STANDARD_NORMAL:1
        READ_VARIABLE:1 REAL:1 REDUCE_ALL:1 REDUCE_MAX:3 REDUCE_MIN:3 REDUCE_PROD:2 RELU:3 RELU6:3
        RESIZE_BILINEAR:4 RESIZE_NEAREST_NEIGHBOR:4 REVERSE_V2:3 RFFT2D:1 RSQRT:2 SLICE:5
        SQUARED_DIFFERENCE:2 SQUEEZE:2 STRIDED_SLICE:6 SUB:5 TRANSPOSE:5 VAR_HANDLE:1
    """,
    "tflite-runtime 2.8.0": """
        BUCKETIZE:1 CAST:3 GELU:1 MULTINOMIAL:1 RANDOM_UNIFORM:1 TILE:3 WHERE:2
    """,
    "tflite-runtime 2.9.1": """
        ARG_MAX:3 ARG_MIN:3 CAST:4 CONV_2D:6 DYNAMIC_UPDATE_SLICE:1 GELU:2
    """,
    "tflite-runtime 2.10.0": """
        ATAN2:1 RELU_0_TO_1:1 UNSORTED_SEGMENT_MAX:1 UNSORTED_SEGMENT_PROD:1 UNSORTED_SEGMENT_SUM:1
    """,
    "tflite-runtime 2.11.0": """
        MUL:6 SIGN:1 UNSORTED_SEGMENT_MIN:1
    """,
    "tflite-runtime 2.12.0": """
        ABS:5 CONV_2D:7 FILL:4 SELECT:3 SIGN:2 TRANSPOSE:6 TRANSPOSE_CONV:4
        UNIDIRECTIONAL_SEQUENCE_LSTM:4
    """,
    "tflite-runtime 2.13.0": """
        ADD:5 BATCH_TO_SPACE_ND:4 BITCAST:1 BITWISE_XOR:1 CAST:5 DEPTHWISE_CONV_2D:7 EQUAL:4 EXP:2
        FLOOR_DIV:3 FLOOR_MOD:2 FULLY_CONNECTED:10 GATHER:6 GATHER_ND:4 GREATER_EQUAL:3 LESS:3
        MIRROR_PAD:3 MUL:7 RIGHT_SHIFT:1 SPACE_TO_BATCH_ND:4 TOPK_V2:3
    """,
    "tflite-runtime 2.14.0": """
        CONCATENATION:4 PACK:4 RANGE:2 SELECT:4 SELECT_V2:2 SLICE:6 STRIDED_SLICE:8
    """,
    "ai-edge-litert 1.0.1": """
        CAST:6 CONV_2D:8 DEQUANTIZE:6 DILATE:1 DYNAMIC_UPDATE_SLICE:2 EMBEDDING_LOOKUP:4
        FULLY_CONNECTED:13 GATHER:7 GATHER_ND:5 LOG:2 REDUCE_WINDOW:1 RSQRT:3 STABLEHLO_ADD:1
        STABLEHLO_COMPOSITE:1 STABLEHLO_GATHER:1 STABLEHLO_MAXIMUM:1 STABLEHLO_MINIMUM:1
        STABLEHLO_MULTIPLY:1 STABLEHLO_PAD:1 STABLEHLO_REDUCE_WINDOW:1 STABLEHLO_RNG_BIT_GENERATOR:1
        STABLEHLO_SCATTER:1 TRANSPOSE_CONV:5
    """,
    "ai-edge-litert 1.1.2": """
        CAST:7 DYNAMIC_UPDATE_SLICE:3 STABLEHLO_AND:1 STABLEHLO_CASE:1 STABLEHLO_SHIFT_LEFT:1
    """,
    "ai-edge-litert 1.2.0": """
        TRANSPOSE:7
    """,
    "ai-edge-litert 1.3.0": """
        DYNAMIC_UPDATE_SLICE:4
    """,
    "ai-edge-litert 2.0.2": """
        PAD:5 PADV2:5 SQRT:2
    """,
    "ai-edge-litert 2.1.0": """
        CAST:8 DEQUANTIZE:7 EQUAL:5 FULLY_CONNECTED:14 NOT_EQUAL:4 QUANTIZE:4 SLICE:7
    """,
    "ai-edge-litert 2.1.3": """
        CONCATENATION:5 DEQUANTIZE:8 DYNAMIC_UPDATE_SLICE:5 EMBEDDING_LOOKUP:5 QUANTIZE:6 UNPACK:5
    """,
    "ai-edge-litert 2.1.6": """
        ADD:6 CONCATENATION:6 COS:2 DYNAMIC_UPDATE_SLICE:6 GELU:3 MUL:8 SIN:2 SLICE:8 SOFTMAX:4
        TRANSPOSE:9
    """,
    "ai-edge-litert 2.2.0": """
        BROADCAST_TO:4 CAST:9 CONCATENATION:7 DEQUANTIZE:9 FILL:5 GATHER:8 GATHER_ND:6 PACK:5 PAD:6
        PADV2:6 REVERSE_V2:4 SPLIT:5 SPLIT_V:3 UNPACK:6
    """,
}

# Release, highest opset of the default domain, highest IR version; oldest first.
_ONNXRUNTIME = (
    ("1.0", 11, 6),
    ("1.3", 12, 7),
    ("1.6", 13, 7),
    ("1.8", 14, 7),
    ("1.9", 15, 8),
    ("1.11", 16, 8),
    ("1.12", 17, 8),
    ("1.14", 18, 8),
    ("1.15", 18, 9),
    ("1.16", 19, 9),
    ("1.17", 20, 9),
    ("1.18", 21, 10),
    ("1.21", 22, 10),
    ("1.23", 23, 11),
    ("1.24", 25, 13),
    ("1.25", 26, 13),
)
_NEWEST_LITERT = "2.3.0"
# The last release of tflite-runtime that there is, and the last of ai-edge-litert that was tried.
_NEWEST = {"tflite-runtime": "2.14.0", "ai-edge-litert": _NEWEST_LITERT}
_NEWEST_ONNXRUNTIME = "onnxruntime 1.31"


def lowest_tflite_runtime(operators: Mapping[str, Iterable[int]]) -> str:
    """The lowest release that loads a TFLite file with these builtin operators.

    Args:
        operators: Builtin operator name, as the schema spells it (``CONV_2D``), to the versions
            of it that the file asks for.

    Returns:
        "tflite-runtime 2.5.0", or "newer than ai-edge-litert 2.3.0 (CONV_2D version 99)" where the
        table has no release for an operator.
    """
    releases = _tflite_releases()
    lowest = 0
    for name, versions in sorted(operators.items()):
        for version in versions:
            index = next(
                (
                    i
                    for i, takes in enumerate(releases.values())
                    if 0 < version <= takes.get(name, 0)
                ),
                None,
            )
            if index is None:
                return f"newer than ai-edge-litert {_NEWEST_LITERT} ({name} version {version})"
            lowest = max(lowest, index)
    return list(releases)[lowest]


def tflite_release(requirement: str) -> str:
    """The release that a requirement such as ``tflite-runtime==2.14`` stands for.

    It is the newest release tried that is not newer than the requirement.

    Raises:
        UsageError: It is not such a requirement, or older than every release tried.
    """
    name, asked = _stated_release(requirement)
    known = [release for release in _tflite_releases() if release.startswith(f"{name} ")]
    fitting = [release for release in known if _numbers(release.partition(" ")[2]) <= asked]
    if not fitting:
        raise UsageError(
            f"nothing is known about {requirement}", hint=f"the oldest known release is {known[0]}"
        )
    return fitting[-1]


def newest_before(requirement: str) -> str | None:
    """The newest release known, "tflite-runtime 2.14.0", if ``requirement`` names a newer one.

    Raises:
        UsageError: It is not such a requirement.
    """
    name, asked = _stated_release(requirement)
    return f"{name} {_NEWEST[name]}" if asked > _numbers(_NEWEST[name]) else None


def _stated_release(requirement: str) -> tuple[str, tuple[int, ...]]:
    stated = re.fullmatch(r"(tflite-runtime|ai-edge-litert)==(\d+(?:\.\d+){0,3})", requirement)
    if stated is None:
        raise UsageError(
            f"runtime {requirement!r} is not a release of a TFLite runtime",
            hint="write it as in tflite-runtime==2.14 or ai-edge-litert==2.1.0",
        )
    return stated[1], _numbers(stated[2])


def refused_by(release: str, operators: Mapping[str, int]) -> list[str]:
    """The operators that ``release`` does not load: "GELU version 1", by name.

    Args:
        release: What :func:`tflite_release` returns.
        operators: Builtin operator name to the highest version that the file asks for.
    """
    takes = _tflite_releases()[release]
    return [
        f"{name} version {version}"
        for name, version in sorted(operators.items())
        if version > takes.get(name, 0)
    ]


def older_release(one: str, other: str) -> str:
    """The one of two releases, as :func:`tflite_release` returns them, that loads less."""
    return min(one, other, key=list(_tflite_releases()).index)


def highest_opset(version: str) -> int | None:
    """The highest opset that a release of ONNX Runtime loads, among those tried.

    None if the release is older than every release tried. ``version`` may have a suffix, as in
    1.20.0rc1.
    """
    stated = re.match(r"\d+(?:\.\d+)*", version)
    asked = _numbers(stated[0]) if stated else ()
    opsets = [opset for release, opset, _ in _ONNXRUNTIME if _numbers(release) <= asked]
    return opsets[-1] if opsets else None


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return tuple(numbers + [0] * (4 - len(numbers)))


def lowest_onnxruntime(opset: int, ir_version: int) -> str:
    """The lowest release that loads an ONNX file of this opset (default domain) and IR version.

    Returns:
        "onnxruntime 1.14", or "newer than onnxruntime 1.31 (opset 99)" where the table ends before.
    """
    for release, highest_opset, highest_ir in _ONNXRUNTIME:
        if opset <= highest_opset and ir_version <= highest_ir:
            return f"onnxruntime {release}"
    newest_opset = _ONNXRUNTIME[-1][1]
    what = f"opset {opset}" if opset > newest_opset else f"IR version {ir_version}"
    return f"newer than {_NEWEST_ONNXRUNTIME} ({what})"


@cache
def _tflite_releases() -> dict[str, dict[str, int]]:
    """Release, oldest first, to the highest version it accepts of each operator."""
    accepted: dict[str, int] = {}
    releases = {}
    for release, added in _TFLITE_ADDED.items():
        for entry in added.split():
            name, _, version = entry.partition(":")
            accepted[name] = int(version)
        releases[release] = dict(accepted)
    return releases
