"""The network zoo: networks by name, their layers, and what they cost."""

from edgeconv.models import (
    densenet,
    efficientnet,
    ghostnet,
    googlenet,
    mlperf_tiny,
    mnasnet,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    mobilenet_v4,
    nin,
    preact_resnet,
    resnet,
    resnet_variants,
    shufflenet_v2,
    squeezenet,
    vgg,
    xception,
)
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
FAMILIES = (
    densenet,
    efficientnet,
    ghostnet,
    googlenet,
    mlperf_tiny,
    mnasnet,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    mobilenet_v4,
    nin,
    preact_resnet,
    resnet,
    resnet_variants,
    shufflenet_v2,
    squeezenet,
    vgg,
    xception,
)

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
    "preprocessing",
]
