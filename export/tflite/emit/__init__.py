"""Short sequences of TFLite operators that several operators of ONNX are lowered to."""
