"""What is advised where int8 keeps little although repair has left operators in float."""

from __future__ import annotations

from edgeconv.bundle import Format, Precision
from edgeconv.export.graph_edit import LOSES
from edgeconv.export.verify.failure import trained_weights
from support.manifests import made_artifact


def test_repair_is_not_advised_where_it_was_done() -> None:
    """Operators that the search leaves in float have a reason of their own in the manifest."""
    artifact = made_artifact("net.onnx", Format.ONNX, Precision.INT8)
    repaired = artifact.model_copy(update={"float_fallback": (f"conv_1 (Conv): {LOSES}",)})
    other = artifact.model_copy(update={"float_fallback": ("argmax (ArgMax): no integer kernel",)})
    for untouched in (artifact, other):
        assert "pass --repair (on from --effort 1)" in trained_weights(untouched)
    assert "--repair" not in trained_weights(repaired)
    assert "pass --min-sqnr, which leaves more operators in float" in trained_weights(repaired)
