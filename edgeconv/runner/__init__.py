"""What runs on a device: the standard library, NumPy and one runtime, and nothing of ours.

``runner.py`` measures; it and the modules that it imports are sent as one archive, which
:mod:`edgeconv.device.archive` makes. The other three are programs of one file, sent as they are.
"""

from pathlib import Path

PROBE = Path(__file__).with_name("probe.py")
ENVIRONMENT = Path(__file__).with_name("environment.py")
LOCK = Path(__file__).with_name("lock.py")
