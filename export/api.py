"""The export in one call."""

from __future__ import annotations

import functools
import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

from torch import nn

from edgeconv.bundle import Bundle
from edgeconv.errors import IncompleteExport
from edgeconv.export.accuracy_budget import export_within
from edgeconv.export.pipeline import run, survey_part
from edgeconv.export.prepare import find_source
from edgeconv.export.quantize import Surveyed
from edgeconv.export.request import ExportRequest, ResolvedRequest
from edgeconv.export.target import resolve_request
from edgeconv.staging import staged

logger = logging.getLogger(__name__)

# PyTorch's exporter, the silence around it and standard error belong to the whole process, so
# exports of several threads wait for each other. An export may begin another one.
_ONE_AT_A_TIME = threading.RLock()

P = ParamSpec("P")


def _with_the_arguments_of(
    request: Callable[P, ExportRequest],
) -> Callable[[Callable[[ExportRequest], Bundle]], Callable[P, Bundle]]:
    """Give a function of a request the arguments that make one, with their types and help."""

    def decorate(function: Callable[[ExportRequest], Bundle]) -> Callable[P, Bundle]:
        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> Bundle:
            return function(request(*args, **kwargs))

        signature = inspect.signature(request)
        arguments = str(inspect.getdoc(request)).partition("\n\n")[2]
        called.__doc__ = f"{inspect.getdoc(function)}\n\n{arguments}"
        called.__signature__ = signature.replace(  # type: ignore[attr-defined]  # see PEP 362
            return_annotation="Bundle"
        )
        return called

    return decorate


@_with_the_arguments_of(ExportRequest)
def export(request: ExportRequest) -> Bundle:
    """Export a network and return the bundle on disk.

    The arguments are the fields of :class:`edgeconv.export.request.ExportRequest`.

    Raises:
        UsageError: The request is wrong; nothing was done.
        IncompleteExport: Some files failed; the bundle on disk has the others.
        EdgeconvError: It failed and left no bundle; the subclasses in ``edgeconv.errors`` say why.
    """
    resolved = resolve_request(request)
    if resolved.note is not None:
        logger.info("%s", resolved.note)
    if request.has_budget:
        return export_within(resolved).met()
    return carry_out(resolved)


def carry_out(request: ResolvedRequest, surveyed: Surveyed | None = None) -> Bundle:
    """Do what a resolved request asks for, but for a budget.

    Args:
        request: The request.
        surveyed: What :func:`calibrate_part` found on all parts of the calibration data. The files
            are to the byte those of one pass over all of it.

    Raises:
        UsageError: The request does not go with the network; nothing was done.
        IncompleteExport: Some files failed; the bundle on disk has the others.
        EdgeconvError: It failed and left no bundle.
    """
    with _ONE_AT_A_TIME, _modes_kept(request.asked.model):
        source = find_source(request.asked)
        with staged(request.out, force=request.asked.force) as stage:
            outcome = run(request, source, stage, surveyed=surveyed)
    if outcome.failures:
        raise IncompleteExport(request.out, outcome.failures)
    return Bundle(request.out, outcome.manifest)


def calibrate_part(request: ResolvedRequest, index: int, parts: int) -> Surveyed | None:
    """Calibrate on one of so many consecutive parts of the calibration data.

    Every part reads all samples, which shows the outlying ones; the network runs on its own.

    Returns:
        What was seen, which adds up exactly; None for a network that needs no calibration.

    Raises:
        EdgeconvError: As of :func:`carry_out`.
    """
    with _ONE_AT_A_TIME, _modes_kept(request.asked.model):
        return survey_part(request, find_source(request.asked), index, parts)


@contextmanager
def _modes_kept(model: object) -> Iterator[None]:
    """Give every part of the caller's network its mode back: an export puts it into eval mode."""
    parts = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [part.training for part in parts]
    try:
        yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode
