"""What a plan tries: every network with every size, checkpoint, precision, effort and range."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from pathlib import Path

from edgeconv.bundle import Precision, Target
from edgeconv.device import open_device
from edgeconv.device.facts import target_of
from edgeconv.errors import UsageError
from edgeconv.export.quantize_options import RangeMethod
from edgeconv.limits import SWEEP_EXPORTS
from edgeconv.sweep.contents import content_of_data, content_of_model, content_of_weights
from edgeconv.sweep.jobs import ExportJob, Value
from edgeconv.sweep.plan import Models, Plan

Size = int | str | None
_PATTERN = re.compile(r"[*?\[]")
_PLACE = re.compile(r"\{(\w+)\}")


def candidates(plan: Plan) -> list[ExportJob]:
    """The exports of a plan, each once and in its order.

    Raises:
        UsageError: A pattern matches nothing, a file is missing, or a name in ``weights`` is
            unknown.
        LimitExceeded: There are too many.
        MeasurementError: A target does not answer.
    """
    targets = _targets(plan)
    named = [tuple(dict.fromkeys(n for p in m.name for n in matching(p))) for m in plan.model]
    networks = sum(
        len(names) * len(models.input_size or (None,)) * prod(map(len, models.args.values()))
        for names, models in zip(named, plan.model, strict=True)
    )
    SWEEP_EXPORTS.check(networks * len(targets) * len(_settings(plan)), "the plan has")
    jobs = (
        job
        for place, (names, models) in enumerate(zip(named, plan.model, strict=True))
        for job in _of(names, models, plan, place, targets)
    )
    return list({job.key(): job for job in jobs}.values())


def _targets(plan: Plan) -> list[Target | None]:
    """What the targets of a plan have; each is asked."""
    if plan.export.targets is None:
        return [None]
    opened = map(open_device, plan.export.targets)
    return [target_of(device.name, device.probe()) for device in opened]


def _of(
    names: Sequence[str],
    models: Models,
    plan: Plan,
    place: int,
    targets: Sequence[Target | None],
) -> Iterator[ExportJob]:
    calibration = plan.export.calibration
    data = None if calibration is None else content_of_data(calibration)
    argument = None if plan.early_exit is None else plan.early_exit.argument
    argument = argument if argument in models.args else None
    for name, size, args in product(names, models.input_size or (None,), _combinations(models)):
        weights = models.weights and _filled(models.weights, {**args, "name": name})
        contents = content_of_model(name), weights and content_of_weights(Path(weights))
        for (precision, effort, ranges), target in product(_settings(plan), targets):
            calibrated = precision.calibrated
            device = "" if target is None else target.device
            settings = precision.value, effort, ranges.value, device
            yield ExportJob(
                model=name,
                args=args,
                input_size=size,
                weights=weights,
                pretrained=models.pretrained,
                formats=plan.export.formats,
                target=target,
                precision=precision,
                effort=effort if calibrated else 1,
                range_method=ranges if calibrated else RangeMethod.AUTO,
                calibration=calibration if calibrated else None,
                calibration_size=plan.export.calibration_size,
                calibration_shards=plan.export.calibration_shards if calibrated else 1,
                contents=(*contents, data if calibrated else None),
                stage_argument=argument,
                chain=argument and _chain(place, name, size, args, argument, *settings),
            )


def _chain(
    place: int, name: str, size: Size, args: dict[str, Value], argument: str, *settings: str | int
) -> str:
    """The same for all stages of a chain, and for nothing else."""
    others = sorted((key, value) for key, value in args.items() if key != argument)
    return json.dumps([place, name, size, others, *settings])


def _settings(plan: Plan) -> list[tuple[Precision, int, RangeMethod]]:
    """Efforts and ranges are of calibrated files; of the others there is one of each."""
    choices = list(product(plan.export.efforts, plan.export.ranges))
    return [
        (precision, *choice)
        for precision in plan.export.precisions
        for choice in (choices if precision.calibrated else choices[:1])
    ]


def _combinations(models: Models) -> list[dict[str, Value]]:
    return [
        dict(zip(models.args, values, strict=True)) for values in product(*models.args.values())
    ]


def _filled(text: str, values: dict[str, Value]) -> str:
    """The path of the weights of one network: each ``{argument}`` is its value."""

    def value(place: re.Match[str]) -> str:
        if place[1] not in values:
            raise UsageError(
                f"model.weights: {{{place[1]}}} is no argument of the model",
                hint=f"name one of {', '.join(values)}",
            )
        return re.sub(r"[^\w.-]", "_", str(values[place[1]]))

    return _PLACE.sub(value, text)


def matching(pattern: str) -> list[str]:
    """The model specifications that a name or pattern stands for.

    Raises:
        UsageError: A pattern matches nothing.
    """
    if not _PATTERN.search(pattern) or pattern.endswith((".py", ".onnx", ".pt2")):
        return [pattern]
    library, colon, rest = pattern.rpartition(":")
    if library == "timm":
        try:
            import timm
        except ImportError as error:
            raise UsageError(
                f"{pattern} needs timm", hint="install it with: pip install 'edgeconv[timm]'"
            ) from error
        names = fnmatch.filter(timm.list_models(), rest)
    elif not colon:
        from edgeconv.models import list_models

        names = list_models(pattern)
    else:
        names = []
    if not names:
        raise UsageError(
            f"model.name: no network matches {pattern!r}", hint="`edgeconv models` lists the zoo"
        )
    return [f"{library}{colon}{name}" for name in names]
