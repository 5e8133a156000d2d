"""The network zoo: networks by name, their layers, and what they cost."""

import sys

from edgeconv.models.card import Accuracy, NetworkInfo, Preprocessing, Task
from edgeconv.models.families import find_families
from edgeconv.models.options import UnknownOption
from edgeconv.models.registry import (
    UnknownNetwork,
    create_model,
    input_shape,
    list_models,
    model_info,
    model_options,
    output_names,
    preprocessing,
)

# A module of this package is a family because it registers a network; there is no list to edit.
FAMILIES = find_families(sys.modules[__name__])

__all__ = [
    "FAMILIES",
    "Accuracy",
    "NetworkInfo",
    "Preprocessing",
    "Task",
    "UnknownNetwork",
    "UnknownOption",
    "create_model",
    "input_shape",
    "list_models",
    "model_info",
    "model_options",
    "output_names",
    "preprocessing",
]
