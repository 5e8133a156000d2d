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

FOLLOWS = "between int8 values"

HEAD = """\
# ONNX operators in TFLite files

Written by `python -m edgeconv.export.tflite.operators_page`; do not edit it by hand.

edgeconv lowers every operator here in float32. The column *int8* says how it runs in a quantized
graph:

- **yes**: on int8 values.
- **yes, keeps the scale of its input**: it moves or selects int8 values.
- **between int8 values**: on int8 values if the values before and behind it are quantized, as in
  `Conv → Exp → Conv` or in a QDQ graph that quantizes them. The quantizer of `edgeconv export` does
  not quantize them for this operator's sake; the notes say why. A run of such operators stays in
  float from its first input to its last result.
- **in float**: between a DEQUANTIZE and a QUANTIZE. The export names the node and the reason.

A node of the first three groups also runs in float, and is named, if it has computed weights, a
result without a QuantizeLinear, or an attribute that the integer kernel does not have.

Most functions of one element are a DEQUANTIZE, float operators and a QUANTIZE in int8 graphs, too:
XNNPACK replaces such a sequence with a table of 256 values. The table is exact and takes fewer
instructions than TFLite's int8 kernel ([figures](../benchmarks/results/integer_operators.md)). It
counts as int8 here. A runtime without such tables computes the operators in float.

The exporter computes an operator whose inputs are all constant, whichever operator it is: shapes,
ranges, constant masks. Constant, ConstantOfShape, EyeLike, Range, Shape and Size are always
computed so.

The exporter first writes out the operators that ONNX defines as functions of others (Attention,
RotaryEmbedding, CenterCropPad, SoftmaxCrossEntropyLoss, ...) and the model's own functions. It
replaces an If whose condition is constant with the branch that is taken, any other If with both
branches and a selection between their results, and a Loop or Scan of known length with its
iterations, up to 512.

{table}

## Types, shapes and sizes

| what | what becomes of it |
|---|---|
| float32, int32, int64, bool | kept |
| int8, uint8 with a scale (QuantizeLinear, DequantizeLinear) | int8 inside; at the inputs and \
outputs as the graph states them |
| int8, uint8 without a scale | cast as they are; moved, compared and computed with in int32, \
reduced to 8 bits again |
| constant axes, shapes, indices, counts in int64 | int32, as TFLite's kernels want them |
| int64 tensors that the network computes | kept in int64; what TFLite computes in int32 only \
(Div, Pow, ArgMax, ArgMin, the bitwise operators) is written with operators that it has, exact for \
all 64 bits; quotients of numbers that are known to fit into 32 bits in int32 between CASTs |
| float16 | computed in float32, which loses nothing; inputs and outputs stay float16, with a CAST |
| int16, uint16, uint32 without a scale | computed in int32 or int64, reduced to their own type \
again; inputs and outputs keep it, with a CAST |
| int16 with a scale | int16 where the zero point is 0 and TFLite has an int16 kernel, else in \
float; refused with another zero point, or beside int8 activations |
| uint16 with a scale | refused |
| float64, bfloat16 | `edgeconv export` writes them as float32, and says so |
| float8, uint64, types of less than 8 bits, strings, complex | refused; the \
hint is "use float32" |
| a dimension without a size | refused by the lowering, which needs fixed shapes; \
`edgeconv export` puts `--batch` (1 by default) and `--input-size` in their place |
| a shape that is only known at run time (NonZero, a computed Reshape) | refused; the message \
names the operator that computes it |
| NonMaxSuppression | refused: its result has a row for each box that is kept, and so has all \
that is gathered by it. NON_MAX_SUPPRESSION_V4 takes one class of one image and has a fixed number \
of rows, filled up with the index 0, beside a count that no ONNX graph reads. Cut to the count by \
a SLICE, its result and all behind it have sizes that are not known before a run, while the \
lowering, the checks of each operator and the integers of int8 files need fixed ones; where no box \
is kept, LiteRT 2.3 cannot return what was gathered. Of equal scores, which int8 files have many \
of, LiteRT 2.3 and tflite-runtime 2.14 take another box first than ONNX Runtime. `--cut-outputs` \
exports the boxes and scores before it, with which it runs outside of the file; with `--format \
onnx` it stays |
| a tensor without elements | computed at export; kept at inputs and outputs |
| a value of 2 GiB or more | refused: no runtime could hold it |
| opset below 13 | refused by the lowering; `edgeconv export` converts the file first |

## Indices that a table does not have

PyTorch and ONNX Runtime stop with an error. Not every release of TFLite checks indices, so the
file takes each computed index modulo the size of the axis (FLOOR_MOD), which it needs for negative
ones in any case: 10 in a table of 10 rows reads row 0. No index, however large, reads or writes
memory of another tensor. An index that is wrong is therefore not noticed on the device: check ids
before a run.

## NaN and infinity

Runtimes differ where an input is NaN, and none of them is PyTorch everywhere. Measured on
ONNX Runtime 1.31, LiteRT 2.3 and tflite-runtime 2.14; what is not named here passes NaN on in all
of them. Verification compares files on finite inputs; a network that gives NaN for them is refused.

| operator | PyTorch | ONNX Runtime | LiteRT | tflite-runtime 2.14 |
|---|---|---|---|---|
| Max, Min | NaN | NaN | the first operand, where the second is NaN | as LiteRT |
| MaxPool, ReduceMax, ReduceMin, TopK, ArgMax, ArgMin | NaN, or its place | ignores most NaN | \
ignores most NaN; a maximum may become infinite | as LiteRT |
| AveragePool | NaN | NaN | minus infinity | minus infinity |
| Sign | 0 | NaN | NaN | 0 |
| Clip with other bounds than those of a fused activation | NaN | NaN | NaN | the lower bound |
| Sigmoid, Tanh | NaN | NaN | NaN | 0, 1 |
| ThresholdedRelu, Shrink | NaN | 0 | NaN | 0 |

Infinity is passed on as in ONNX, except that what a constant matrix or filter computes may be NaN
beside it, from 0 times infinity, and that ONNX Runtime cuts it to the largest float32 in a Clip
without an upper bound. This is what becomes of one infinity, in a map of 4 × 4 that is resized to
8 × 8, or in the columns of a Col2Im with a window of 2 × 2; all other elements are equal:

| operator | PyTorch, ONNX Runtime | LiteRT | tflite-runtime 2.14 |
|---|---|---|---|
| Col2Im | 1 infinite | 1 infinite, 3 NaN | 4 infinite |
| Resize, linear | 16 infinite, 9 NaN | 4 infinite, 21 NaN | 4 infinite, 21 NaN |
| Resize, cubic | 49 infinite | 49 infinite, 15 NaN | 64 infinite |
| Resize, cubic, align_corners | 36 infinite, 13 NaN | 36 infinite, 28 NaN | 64 infinite |
| Resize, nearest | 4 infinite | 4 infinite | 4 infinite |

A BatchNormalization that no convolution absorbs may be NaN there too. On LiteRT
numbers below 1.2e-38 count as 0, SQRT is off above 9e37, and LOG gives infinity above 1.7e38. SIN
and COS are off by 2e-6 at 1e6 and by 2e-5 at 1e7, and are no sine or cosine at 1e9.
"""


def page() -> str:
    """Write the text of the page."""
    rows = ["| operator | float | int8 | notes |", "|---|---|---|---|"]
    for name in names():
        found = rule(name)
        if found is None:
            rows.append(f"| {name} | yes | in float | {_sentence(decompositions()[name])} |")
            continue
        integer = "" if name.endswith("Linear") else _int8(found)
        rows.append(f"| {name} | yes | {integer} | {_note(found)} |")
    return HEAD.format(table="\n".join(rows))


def _int8(found: Rule) -> str:
    follows = found.integer is not Integer.NONE and found.reason
    return FOLLOWS if follows else INT8[found.integer]


def _note(found: Rule) -> str:
    """Say what the operator becomes, and why it is in float unless TFLite just has no kernel."""
    form = _form(found.lower)
    if found.reason in ("", NO_KERNEL):
        return form
    left = "in float" if found.integer is Integer.NONE else "not quantized by edgeconv"
    return "; ".join(filter(None, (form, f"{left} because {found.reason}")))


def _form(function: Lower) -> str:
    """Take the note of the lowering function, or the operator that a table names."""
    if not isinstance(function, partial):
        return _sentence(function)
    stated = [value for value in function.keywords.values() if isinstance(value, str)]
    formulas = [value for value in function.keywords.values() if callable(value)]
    return ", ".join([*stated, *map(_sentence, formulas)])


def _sentence(function: object) -> str:
    """Take the summary of a docstring, and a sentence in it that begins with "In int8"."""
    text = (inspect.getdoc(function) or "").replace("\n", " ")
    sentences = re.split(r"(?<=[.:])\s+", text)
    kept = [item for item in sentences[1:] if item.startswith("In int8")]
    note = ". ".join(item.rstrip(".:") for item in [_summary(text), *kept])
    return re.sub(r":\w+:`(\w+)`", r"\1", note).replace("``", "`").replace("|", "\\|")


def _summary(text: str) -> str:
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


@click.command()
@click.option("-o", "--out", type=click.Path(path_type=Path), default=PAGE, show_default=True)
def main(out: Path) -> None:
    """Write the page of the operators that the TFLite export knows."""
    assert ops.__all__, "the operators register when they are imported"
    out.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
