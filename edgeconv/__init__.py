"""edgeconv: export PyTorch networks to verified ONNX and TFLite files and measure them on boards.

Importing this package imports no torch; ``edgeconv.models`` and ``edgeconv.export`` do.
"""

__version__ = "0.1.0"
