"""Full integer quantization by ai-edge-quantizer, with its own ranges and with plain min-max."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ai_edge_quantizer import quantizer, recipe
from ai_edge_quantizer.calibrator import Calibrator
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils.qsv_utils import min_max_update
from ai_edge_quantizer.utils.tfl_interpreter_utils import create_tfl_interpreter

Samples = Sequence[npt.NDArray[np.float32]]


def quantize_default(source: Path, samples: Samples, path: Path) -> Path:
    """Quantize with the tool's own calibration, a moving average of min and max.

    Args:
        source: A float32 file with one input.
        samples: What the input takes, one array each.
        path: The int8 file to write.
    """
    tool = quantizer.Quantizer(str(source), recipe.static_wi8_ai8())
    return _write(tool, tool.calibrate(_data(source, samples), num_threads=1), path)


def quantize_min_max(source: Path, samples: Samples, path: Path) -> Path:
    """Quantize with the min and max over all samples, which the tool's lower-level API offers."""
    tool = quantizer.Quantizer(str(source), recipe.static_wi8_ai8())
    recipes = RecipeManager()
    recipes.load_quantization_recipe(tool.get_quantization_recipe())
    calibrator = Calibrator(str(source), num_threads=1, qsv_update_func=min_max_update)
    calibrator.calibrate(_data(source, samples), recipes)
    return _write(tool, calibrator.get_model_qsvs(), path)


def _data(source: Path, samples: Samples) -> dict[str, list[dict[str, object]]]:
    """Arrange the calibration samples by signature and input."""
    (signature,) = create_tfl_interpreter(str(source)).get_signature_list().items()
    key, interface = signature
    (name,) = interface["inputs"]
    return {key: [{name: sample} for sample in samples]}


def _write(tool: quantizer.Quantizer, ranges: dict[str, dict[str, object]], path: Path) -> Path:
    tool.quantize(ranges).export_model(str(path), overwrite=True)
    return path
