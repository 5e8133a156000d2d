"""A target counts as reached only if all samples together reach it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy.typing as npt
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgeconv.export.capture.module import capture_module
from edgeconv.export.data.samples import Batch, Sample
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import quantize
from edgeconv.export.quantize.accuracy.judge import Judge, worst_db
from edgeconv.export.quantize.accuracy.reaching import Reaching
from edgeconv.export.runtimes import NamedOutputs
from support.plain_options import PLAIN

SATURATING = pytest.mark.parametrize("end", [nn.Softmax(-1), nn.Sigmoid()])


# Halves take turns, so that these are the last samples of one half and of the other.
LATE, COUNT = (22, 23), 24


def saturating(end: nn.Module) -> tuple[ir.Model, list[Sample]]:
    """A network, and samples that saturate its outputs, but for the late ones."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4), end
    ).eval()
    with torch.no_grad():
        network[4].weight *= 50
        found = 10 * torch.randn(2000, 16)
        scores = network[:5](found)
        if isinstance(end, nn.Softmax):  # of which the largest two count
            scores = scores.topk(2).values.diff()
    saturated = found[scores.abs().amin(1).argsort(descending=True)[:COUNT]].numpy()
    unsure = found[scores.abs().amax(1).argsort()[:COUNT]].numpy()
    data = [((unsure if at in LATE else saturated)[at : at + 1],) for at in range(COUNT)]
    return optimize(capture_module(network, data[0], ["y"], 20)), data


@pytest.mark.slow
@SATURATING
def test_repair_reaches_its_target_over_all_samples(end: nn.Module) -> None:
    graph, data = saturating(end)
    judge = Judge.on(graph, data)
    measure = judge.measuring(quantize(graph, data, PLAIN).model)
    target = worst_db(measure(judge.kept)) + 3
    # The first samples say that nothing has to be done.
    assert worst_db(measure(judge.kept[:8])) > target + 6
    repaired = quantize(graph, data, replace(PLAIN, repair=True, repair_to=target))
    assert judge.sqnr_db(repaired.model) >= target
    assert any("would lose too much" in entry for entry in repaired.float_fallback)


@SATURATING
def test_what_is_certain_is_what_all_samples_say(end: nn.Module) -> None:
    graph, data = saturating(end)
    judge = Judge.on(graph, data)
    candidate = quantize(graph, data, PLAIN).model
    reaching = Reaching(judge, candidate)
    assert reaching.sqnr_db == judge.sqnr_db(candidate)
    for off_db in (-12, -6, -1, -0.01, 0.01, 1, 6, 12):
        target = reaching.sqnr_db + off_db
        assert reaching.reaches(candidate, target) == (off_db < 0)


@SATURATING
def test_a_few_samples_may_say_that_too_much_is_lost(
    end: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The late samples are among the first that are run, and have most of the noise."""
    graph, data = saturating(end)
    judge = Judge.on(graph, data)
    candidate = quantize(graph, data, PLAIN).model
    reaching = Reaching(judge, candidate)
    ran = counted(monkeypatch)
    assert not reaching.reaches(candidate, reaching.sqnr_db + 1)
    assert len(ran) < 6


def test_samples_that_keep_alike_decide_far_from_the_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)).eval()
    data: list[Sample] = [(x[None].numpy(),) for x in torch.randn(32, 64)]
    graph = optimize(capture_module(network, data[0], ["y"], 20))
    judge = Judge.on(graph, data)
    candidate = quantize(graph, data, PLAIN).model
    reaching = Reaching(judge, candidate)
    ran = counted(monkeypatch)
    assert reaching.reaches(candidate, reaching.sqnr_db - 12, certain=False)
    assert not reaching.reaches(candidate, reaching.sqnr_db + 12, certain=False)
    assert len(ran) == 8
    assert reaching.reaches(candidate, reaching.sqnr_db - 12)
    assert len(ran) == 8 + 32


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """The samples that are run from now on."""
    ran: list[Batch] = []
    run = NamedOutputs.run

    def noted(self: NamedOutputs, names: Sequence[str], batch: Batch) -> list[npt.NDArray[Any]]:
        ran.append(batch)
        return run(self, names, batch)

    monkeypatch.setattr(NamedOutputs, "run", noted)
    return ran
