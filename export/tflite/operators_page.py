"""Writes ``docs/operators.md``: ``python -m edgeconv.export.tflite.operators_page``."""

from __future__ import annotations

import inspect
import re
from functools import partial
from pathlib import Path

import click

from edgeconv.export.tflite import ops
from edgeconv.export.tflite.registry import (
    NO_KERNEL,
    Integer,
    Lower,
    Rule,
    decompositions,
    names,
    rule,
)

PAGE = Path("docs/operators.md")

INT8 = {
    Integer.NONE: "in float",
    Integer.MOVES: "yes, keeps the scale of its input",
    Integer.INDEX_RESULT: "yes",
    Integer.COMPUTES: "yes",
}

HEAD = """\
# ONNX operators in TFLite files

Written by `python -m edgeconv.export.tflite.operators_page`; do not edit it by hand.

Every operator here is lowered in float32. The column *int8* says what becomes of it in a quantized
graph: an operator "in float" runs between a DEQUANTIZE and a QUANTIZE, and the export names it with
the reason. So does one whose node has no integer form for another reason: computed weights, a
result without a QuantizeLinear, an attribute that the integer kernel does not know.

A function of one element is mostly written in float in an int8 graph, too, between a DEQUANTIZE
and a QUANTIZE of its own: XNNPACK makes a table of its 256 codes, which is exact and takes fewer
instructions than TFLite's int8 kernel. That counts as int8 here; a runtime without such tables
computes it in float.

An operator whose inputs are all known before the network runs is computed at export and leaves no
trace, whichever it is: shapes, ranges, constant masks. Constant, ConstantOfShape, EyeLike, Range,
Shape and Size exist in this way alone.

Operators that ONNX defines as functions of others (Attention, RotaryEmbedding, CenterCropPad,
SoftmaxCrossEntropyLoss, ...) and a model's own functions are written out first. So are If, Loop and
Scan: the side of a branch that is taken, or both and a choice between their results where the
network decides; the iterations of a loop of known length, up to 512.

{table}

## Types, shapes and sizes

| what | what becomes of it |
|---|---|
| float32, int32, int64, bool | kept |
| int8, uint8 with a scale (QuantizeLinear, DequantizeLinear) | int8 inside; at the inputs and \
outputs as the graph states them |
| int8, uint8 without a scale | moved, cast and compared, as they are; arithmetic in int32, cut \
to the byte again |
| constant axes, shapes, indices, counts in int64 | int32, as TFLite's kernels want them |
| int64 tensors that the network computes | kept in int64; TFLite has no kernel for Div, Pow and \
ArgMax of them, which are refused: "cast to int32" |
| float16 | computed in float32, which loses nothing; inputs and outputs stay float16, with a CAST |
| int16, uint16, uint32 without a scale | computed in int32 or int64, cut to their own type again; \
inputs and outputs keep it, with a CAST |
| int16, uint16 with a scale | refused: `--precision int16x8` writes such files |
| float64, bfloat16, float8, uint64, types of less than 8 bits, strings, complex | refused: \
"which the TFLite export does not write; use float32" |
| a dimension without a size | refused: "export with fixed ones"; a file that is exported gets \
`--batch` (1 if not given) and `--input-size` in their place |
| a shape that only run time knows (NonZero, a computed Reshape) | refused, by the name of the \
operator that computes it |
| a tensor without elements | known before the network runs, so computed at export; kept at inputs \
and outputs |
| a value of 2 GiB or more | refused: no runtime could hold it |
| opset below 13 | refused: "convert it with onnx.version_converter first"; a file that is \
exported is converted |
"""


def page() -> str:
    """The whole text of the page."""
    rows = ["| operator | float | int8 | notes |", "|---|---|---|---|"]
    for name in names():
        found = rule(name)
        if found is None:
            rows.append(f"| {name} | yes | in float | {_sentence(decompositions()[name])} |")
            continue
        integer = "" if name.endswith("Linear") else INT8[found.integer]
        rows.append(f"| {name} | yes | {integer} | {_note(found)} |")
    return HEAD.format(table="\n".join(rows))


def _note(found: Rule) -> str:
    """What the operator becomes, and why it has no integer form if TFLite has a kernel."""
    reason = "" if found.reason == NO_KERNEL else f"in float because {found.reason}"
    return "; ".join(filter(None, (_form(found.lower), reason)))


def _form(function: Lower) -> str:
    """The first sentence of the lowering function, or the TFLite operator that a table names."""
    if not isinstance(function, partial):
        return _sentence(function)
    stated = [value for value in function.keywords.values() if isinstance(value, str)]
    formulas = [value for value in function.keywords.values() if callable(value)]
    return ", ".join([*stated, *map(_sentence, formulas)])


def _sentence(function: object) -> str:
    text = inspect.getdoc(function) or ""
    first = re.split(r"(?<=\.)\s", text.replace("\n", " "), maxsplit=1)[0]
    return re.sub(r":\w+:`(\w+)`", r"\1", first).replace("``", "`").rstrip(".:").replace("|", "\\|")


@click.command()
@click.option("-o", "--out", type=click.Path(path_type=Path), default=PAGE, show_default=True)
def main(out: Path) -> None:
    """Write the page of the operators that the TFLite export knows."""
    assert ops.__all__, "the operators register when they are imported"
    out.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
