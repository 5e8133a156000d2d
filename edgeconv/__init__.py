"""edgeconv: export PyTorch networks to verified ONNX and TFLite files and measure them on boards.

Importing this package imports no torch; ``edgeconv.models`` and ``edgeconv.export`` do. It switches
off the telemetry of libraries for this process and its children. From release 1.31 on, importing
ONNX Runtime on Linux opens a connection and writes a device id into the user's cache, unless its
variable is set before. huggingface_hub, by which timm loads weights, says which libraries ask.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
