"""The files that run on a device. They are sent there as they are, never imported here."""

from pathlib import Path

RUNNER = Path(__file__).with_name("runner.py")
PROBE = Path(__file__).with_name("probe.py")
ENVIRONMENT = Path(__file__).with_name("environment.py")
LOCK = Path(__file__).with_name("lock.py")
