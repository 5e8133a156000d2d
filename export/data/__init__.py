"""Samples for calibration, verification and evaluation, read one at a time."""
