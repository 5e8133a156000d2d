"""Test that every benchmark script finds the modules that it imports."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# These need a package of their own environment (benchmarks/README.md).
PACKAGES = {
    "benchmarks.peers.ai_edge": "ai_edge_quantizer",
    "benchmarks.peers.aimet": "aimet_onnx",
    "benchmarks.peers.export_litert_torch": "litert_torch",
    "benchmarks.peers.export_timm": "litert_torch",
    "benchmarks.peers.held_out": "ai_edge_quantizer",
    "benchmarks.transposes": "timm",
}
SCRIPTS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "benchmarks").rglob("*.py")
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_import(script: str) -> None:
    if script in PACKAGES:
        pytest.importorskip(PACKAGES[script])
    importlib.import_module(script)
