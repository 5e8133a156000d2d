"""The network zoo: networks by name, their layers, and what they cost."""

from edgeconv.models import mlperf_tiny, mobilenet_v1, mobilenet_v2, resnet
from edgeconv.models.card import Accuracy, NetworkInfo, Preprocessing, Task
from edgeconv.models.options import UnknownOption
from edgeconv.models.registry import (
    UnknownNetwork,
    create_model,
    input_shape,
    list_models,
    model_info,
    model_options,
    preprocessing,
)

# Importing a family registers its networks.
FAMILIES = (mlperf_tiny, mobilenet_v1, mobilenet_v2, resnet)

__all__ = [
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
    "preprocessing",
]
