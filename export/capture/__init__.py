"""The way in: a network in PyTorch or ONNX becomes a float ONNX graph with static shapes."""
