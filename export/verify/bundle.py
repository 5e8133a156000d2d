"""Verify a bundle on disk, perhaps on another machine than the one that made it."""

from __future__ import annotations

from edgeconv.bundle import Bundle, Verification
from edgeconv.export.verify.parity import verify_artifacts
from edgeconv.export.verify.reference import load_reference
from edgeconv.versioned import Versioned


class VerificationReport(Versioned):
    """``edgeconv verify --json``: figures by the artifact's path."""

    OLDER = (1,)

    schema_version: int = 2
    artifacts: dict[str, Verification]


def verify_bundle(bundle: Bundle) -> VerificationReport:
    """Run every file of a bundle on its runtime against the stored outputs of the network.

    The operators of integer files are not checked one by one again: that takes the quantized graph,
    which only the export has.

    Raises:
        BundleError: The stored reference is missing or damaged.
        EdgeconvError: A runtime refuses its file.
    """
    reference = load_reference(bundle)
    return VerificationReport(
        artifacts=verify_artifacts(bundle.path, bundle.manifest.artifacts, reference)
    )
