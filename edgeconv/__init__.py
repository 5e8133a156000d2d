"""edgeconv: export PyTorch networks to verified ONNX and TFLite files and measure them on boards.

Importing this package imports no torch; ``edgeconv.models`` and ``edgeconv.export`` do. It switches
off the telemetry of ONNX Runtime for this process and its children: from release 1.31 on, importing
ONNX Runtime on Linux opens a connection and writes a device id into the user's cache, unless this
variable is set before.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
