"""The devices' tests share the tiny models of the benchmark's."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "bench"))
