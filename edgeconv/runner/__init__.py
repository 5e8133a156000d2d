"""The one file that runs on a device. It is copied there, never imported here."""

from pathlib import Path

RUNNER = Path(__file__).with_name("runner.py")
