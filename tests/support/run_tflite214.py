"""Run a TFLite file on named inputs: python run_tflite214.py MODEL INPUTS.npz OUTPUTS.npz

For the Python of an old tflite_runtime, so it imports nothing else.
"""

import sys

import numpy as np
from tflite_runtime.interpreter import Interpreter

model, given, got = sys.argv[1:]
interpreter = Interpreter(model_path=model)
interpreter.allocate_tensors()
runner = interpreter.get_signature_runner()
with np.load(given) as inputs:
    np.savez(got, **runner(**inputs))
