"""The ranges of activations, from one pass over calibration samples."""
