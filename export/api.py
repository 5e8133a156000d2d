"""The export in one call."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec

from edgeconv.bundle import Bundle
from edgeconv.errors import IncompleteExport
from edgeconv.export.accuracy_budget import export_within
from edgeconv.export.alone import ONE_AT_A_TIME, alone
from edgeconv.export.capture.model_in_memory import InMemory, as_file
from edgeconv.export.pipeline import run, survey_part
from edgeconv.export.prepare import find_source
from edgeconv.export.quantize import Surveyed
from edgeconv.export.quantize.accuracy.surveyed_file import load_surveyed
from edgeconv.export.request import ExportRequest, ResolvedRequest
from edgeconv.export.target import resolve_request
from edgeconv.staging import staged

logger = logging.getLogger(__name__)

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
    if isinstance(request.model, InMemory):
        with as_file(request.model) as file:
            return _export(replace(request, model=file))
    return _export(request)


def _export(request: ExportRequest) -> Bundle:
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
    with alone(request.asked.model):
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
    with alone(request.asked.model):
        return survey_part(request, find_source(request.asked), index, parts)


def load_part(path: Path) -> Surveyed:
    """Read what a part of the calibration data showed, while no thread exports.

    NumPy reads headers by way of Python's ``ast``, as PyTorch's exporter reads sources. In Python
    3.11 all threads share its count of recursions, and an export may fail on a wrong one.

    Raises:
        DataError: The file is damaged.
    """
    with ONE_AT_A_TIME:
        return load_surveyed(path)
