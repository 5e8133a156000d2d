"""Profiles by operator, made up as a device would report them."""

from __future__ import annotations

from edgeconv.bench.profile.profile import OperatorResult
from edgeconv.bench.profile.records import ProfiledModel, ProfiledOperator
from edgeconv.bench.profile.roofline import Peaks, macs
from edgeconv.bench.profile.roofline_boards import board_called
from edgeconv.bench.result import ModelFile
from edgeconv.device.messages import Operator, Tensor
from support.results import MACHINE

PI3 = "Raspberry Pi 3 Model B Plus Rev 1.3"
PI4 = "Raspberry Pi 4 Model B Rev 1.4"
PI5 = "Raspberry Pi 5 Model B Rev 1.0"


def tensor(dtype: str, *shape: int) -> Tensor:
    return Tensor(dtype=dtype, shape=shape)


def conv(
    dtype: str, ns: int, *, name: str = "conv", size: int = 28, channels: int = 64
) -> Operator:
    """Make up a TFLite convolution of 1x1 with as many channels in as out, NHWC."""
    return Operator(
        name=name,
        operator="CONV_2D",
        ns=ns,
        inputs=(tensor(dtype, 1, size, size, channels), tensor(dtype, channels, 1, 1, channels)),
        outputs=(tensor(dtype, 1, size, size, channels),),
    )


def depthwise(dtype: str, ns: int) -> Operator:
    """Make up a TFLite depthwise convolution of 3x3 over 28x28 and 64 channels."""
    return Operator(
        name="depthwise",
        operator="DEPTHWISE_CONV_2D",
        ns=ns,
        inputs=(tensor(dtype, 1, 28, 28, 64), tensor(dtype, 1, 3, 3, 64)),
        outputs=(tensor(dtype, 1, 28, 28, 64),),
    )


def node(
    operator: str, ns: int, dtype: str, *shape: int, into: str | None = None, name: str = ""
) -> Operator:
    """Make up an operator with one input and one output, of type ``into`` if that differs."""
    return Operator(
        name=name or operator.lower(),
        operator=operator,
        ns=ns,
        inputs=(tensor(dtype, *shape),),
        outputs=(tensor(into or dtype, *shape),),
    )


def profiled(
    name: str,
    operators: list[Operator],
    *,
    board: str | None = None,
    delegated: dict[str, bool] | None = None,
    tick_ns: int = 1,
) -> ProfiledModel:
    """Make up the profile of a file on one thread of a board at its nominal frequency.

    ``delegated`` is by the operators' names; the delegate took all others.
    """
    known = board_called(board)
    peaks = Peaks.of(known, 1e6 * known.megahertz, 1) if known else None
    return ProfiledModel(
        file=ModelFile(name=name, bytes=1000, sha256="0" * 64),
        runtime_version="2.3",
        machine=MACHINE.model_copy(update={"board": board}),
        tick_ns=tick_ns,
        frequency_hz=None,
        peaks=peaks,
        operators=tuple(
            ProfiledOperator(
                **dict(one),
                delegated=(delegated or {}).get(one.name, True),
                macs=macs(one),
                roof=peaks.roof(one) if peaks else None,
            )
            for one in operators
        ),
    )


def made_profile(*models: ProfiledModel) -> OperatorResult:
    from datetime import datetime, timezone

    from edgeconv.bench import BenchOptions
    from edgeconv.bench.profile.roofline_int8 import int8_against_float

    return OperatorResult(
        edgeconv_version="0",
        started=datetime(2026, 1, 2, tzinfo=timezone.utc),
        device="ssh://pi",
        options=BenchOptions(),
        models=models,
        int8_against_float=int8_against_float(models),
    )
