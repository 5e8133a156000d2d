"""What is inside a model file: operators, parameters, MACs, memory, quantization."""

from __future__ import annotations

from pathlib import Path

from edgeconv.errors import DataError, UsageError
from edgeconv.export.inspect.report import FileReport
from edgeconv.near_names import near_paths
from edgeconv.stand_in import refuse_stand_in

__all__ = ["FileReport", "inspect_file"]

TFLITE_IDENTIFIER = b"TFL3"


def inspect_file(path: Path) -> FileReport:
    """Describe an ONNX or TFLite file; its content decides which of them it is, not its name.

    Raises:
        UsageError: There is no file at ``path``.
        DataError: The file is neither, is damaged, or keeps data outside its folder.
    """
    if not path.is_file():
        hint = near_paths(path, "name an .onnx or .tflite file")
        raise UsageError(f"there is no file {path}", hint=hint)
    data = path.read_bytes()
    if not data:
        raise DataError(f"{path} is empty", hint="make or copy it again")
    refuse_stand_in(path)
    if path.suffix == ".tflite" or data[4:8] == TFLITE_IDENTIFIER:
        from edgeconv.export.inspect.tflite_file import inspect_tflite

        return inspect_tflite(path, data)
    from edgeconv.export.inspect.onnx_file import inspect_onnx

    return inspect_onnx(path, data)
