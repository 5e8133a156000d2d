"""Wrong calls from Python: each is a UsageError that says the right name or value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeconv.bench.result import BenchOptions
from edgeconv.errors import UsageError
from edgeconv.export import InputShape, InputSpec, Preprocessing, QuantizeOptions, Target
from edgeconv.export.layer_rules import LayerRule
from edgeconv.export.request import ExportRequest
from edgeconv.preprocessing import Interpolation


def export(**options: Any) -> ExportRequest:
    """What ``export`` does with its arguments first."""
    request = ExportRequest("resnet8", **options)
    request.check()
    return request


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: export(calibraton="x"),
            "no argument 'calibraton'\nhint: did you mean calibration=",
        ),
        (
            lambda: export(range="minmax"),
            "export has no argument 'range'\n"
            "hint: did you mean quantization=QuantizeOptions(range_method=…)?",
        ),
        (lambda: export(mean=0.5), "did you mean preprocessing=Preprocessing(mean=…)?"),
        (
            lambda: export(quantization={"effort": 2}),
            "quantization is a dict\nhint: pass quantization=QuantizeOptions(effort=2)",
        ),
        (lambda: export(preprocessing={"mean": 0.5}), "pass preprocessing=Preprocessing(mean=0.5)"),
        (lambda: ExportRequest("resnet8", "out"), "export: too many positional arguments"),  # type: ignore[misc]
        (lambda: ExportRequest(), "missing a required argument: 'model'"),  # type: ignore[call-arg]
        (lambda: export(labels="cat"), "labels is 'cat'\nhint: pass a list of texts, such as"),
        (lambda: export(labels=Path("l.txt")), "Path('labels.txt').read_text().splitlines()"),
        (lambda: export(cut_outputs="a"), "hint: pass ['a']"),
        (lambda: export(inputs="x:1,4"), "hint: pass ['x:1,4']"),
        (lambda: export(inputs={"x": (1, 4)}), "hint: pass a list with InputSpec(name=…, shape=…"),
        (lambda: export(weights={}), "load them yourself: network.load_state_dict(…)"),
        (lambda: export(target="pi4"), "edgeconv.device.facts.target_of"),
        (lambda: export(verify="no"), "verify is 'no'\nhint: pass True or False"),
        (lambda: export(opset="20"), "opset is '20'\nhint: pass a whole number"),
        (lambda: export(batch=2.0), "batch is 2.0\nhint: pass a whole number"),
        (lambda: export(input_size=8.0), "input_size is 8.0"),
        (lambda: export(model_args={"a": {1}}), "model_args is {'a': {1}}\nhint: pass a dict from"),
        (lambda: export(progress=True), "progress is True\nhint: pass a function"),
        (lambda: export(min_sqnr=float("nan")), "min_sqnr is a number of decibels, not nan"),
        (lambda: export(task="clasification"), "no task 'clasification'\nhint: did you mean 'clas"),
        (lambda: QuantizeOptions(range="mse"), "did you mean range_method=…?"),  # type: ignore[call-arg]
        (lambda: QuantizeOptions(effort=7), "effort is from 0 to 3, not 7"),
        (lambda: QuantizeOptions(float_places=-1), "float_places is at least 0, not -1"),
        (lambda: QuantizeOptions(equalization="yes"), "hint: pass True or False"),  # type: ignore[arg-type]
        (
            lambda: Preprocessing(interpolation="cubic"),  # type: ignore[arg-type]
            "Preprocessing: interpolation: Input should be 'nearest', 'bilinear', 'bicubic' or "
            "'lanczos'\nhint: did you mean 'bicubic'?",
        ),
        (lambda: Preprocessing(std=0), "std: a standard deviation is zero"),  # type: ignore[arg-type]
        (lambda: Preprocessing(means=0.5), "did you mean mean=…?"),  # type: ignore[call-arg]
        (lambda: Preprocessing(0.5), "Preprocessing takes its fields by name"),  # type: ignore[misc]
        (lambda: Target(device="pi"), "architecture: it is missing"),  # type: ignore[call-arg]
        (lambda: BenchOptions(runs=0), "runs: Input should be greater than or equal to 1"),
        (lambda: LayerRule(name="*", precision="int4"), "LayerRule: precision: Input should be"),  # type: ignore[arg-type]
        (lambda: InputSpec("x", (1, 4), "float"), "type 'float'\nhint: did you mean 'float32'?"),
        (lambda: InputSpec("x", (1, 4), float), "pass its name, one of float32, int64"),  # type: ignore[arg-type]
        (lambda: InputSpec("x", (1, 0)), "has an empty dimension"),
        (lambda: InputShape(1, 12, 8), "pass the whole shape, batch first: InputShape((1, 12, 8))"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_call_says_the_right_one(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert message in str(caught.value)


def test_what_is_near_enough_is_taken() -> None:
    assert QuantizeOptions(keep_float=["head"]).keep_float == frozenset({"head"})  # type: ignore[arg-type]
    assert QuantizeOptions(layers=[]) == QuantizeOptions()  # type: ignore[arg-type]
    assert InputSpec("x", [1, 4]).shape == (1, 4)  # type: ignore[arg-type]
    assert Preprocessing(interpolation="bicubic").interpolation is Interpolation.BICUBIC  # type: ignore[arg-type]
    assert InputShape([1, 12]) == (1, 12)
    assert export(min_sqnr=30, input_size=[3, 8, 8]).size == [3, 8, 8]


def test_documents_are_read_without_the_checks_for_people() -> None:
    """A damaged document is an error of its reader, which names the file."""
    with pytest.raises(ValueError, match="1 validation error"):
        Preprocessing.model_validate({"std": 0})
