"""What is asked about a chain of stages, once all of them are exported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgeconv.bundle import Bundle
from edgeconv.sweep.contents import content_of
from edgeconv.sweep.jobs import ExitJob, ExportJob
from edgeconv.sweep.plan import Plan


def stages_of_chains(exports: Iterable[ExportJob]) -> dict[str, list[ExportJob]]:
    """The stages of every chain, in their order."""
    chains: dict[str, list[ExportJob]] = {}
    for job in exports:
        if job.chain is not None:
            chains.setdefault(job.chain, []).append(job)
    return {chain: sorted(jobs, key=lambda job: job.stage) for chain, jobs in chains.items()}


class Chains:
    """The chains of a plan, and which of their stages are exported.

    Args:
        plan: The plan.
        exports: Its exports.
        contents: The hashes of the data that decides about accuracy.
    """

    def __init__(
        self, plan: Plan, exports: Sequence[ExportJob], contents: tuple[str | None, ...]
    ) -> None:
        self._evaluate, self._contents = plan.evaluate, contents
        self._stages = stages_of_chains(exports)
        self._exported: dict[str, dict[int, Bundle]] = {}

    def is_last(self, job: ExportJob) -> bool:
        """Whether a stage is the last of its chain."""
        assert job.chain is not None
        return self._stages[job.chain][-1] == job

    def exported(self, job: ExportJob, bundle: Bundle) -> list[ExitJob]:
        """Take a stage, and say what to ask about its chain if it was the last to come."""
        assert job.chain is not None
        bundles = self._exported.setdefault(job.chain, {})
        bundles[job.stage] = bundle
        stages = self._stages[job.chain]
        if len(bundles) < len(stages) or self._evaluate is None:
            return []
        in_order = [bundles[stage.stage] for stage in stages]
        files = tuple(
            content
            for each in in_order
            # The manifest says how images become inputs, so it counts as well.
            for content in (
                content_of(each.path / "manifest.json"),
                *(artifact.sha256 for artifact in each.manifest.artifacts),
            )
        )
        return [
            ExitJob(
                bundles=tuple(stage.key() for stage in stages),
                files=files,
                data=self._evaluate.data,
                truth=self._evaluate.truth,
                contents=self._contents,
                shards=self._evaluate.shards,
                index=index,
            )
            for index in range(self._evaluate.shards)
        ]
