"""Options of the command line under their names in Python.

Messages and hints are written once, with the options of the command line. Whoever calls from Python
reads them through ``str()``, which puts the arguments of ``edgeconv.export.export`` in their place;
the command line prints them as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# What follows an option is its value, or the next word of the sentence. Marks that end a part of a
# sentence belong to no value.
_TOKEN = r"\S*[^\s,;:.)`]"
_NUMBER = r"\d[\d.]*(?<!\.)"
_SIZE = r"\d[\dx,]*(?<!,)"
_SPECIFIED = rf"(?=\S*[:=])(?:{_TOKEN})"
_FILE = rf"(?=\S*[./])(?:{_TOKEN})"
_NEVER = r"(?!)"


@dataclass(frozen=True)
class _Argument:
    """An argument that stands for an option.

    Attributes:
        bare: What stands for the option without a value.
        value: The pattern of its values; behind "as in" any word is one.
        valued: Makes the text that stands for option and value.
    """

    bare: str
    value: str = _NEVER
    valued: Callable[[str], str] = str


def _text(name: str, value: str = _NEVER) -> _Argument:
    return _Argument(name, value, lambda given: f'{name}="{given}"')


def _number(name: str) -> _Argument:
    return _Argument(name, _NUMBER, lambda given: f"{name}={given}")


def _texts(name: str, value: str) -> _Argument:
    return _Argument(
        name, value, lambda given: f"{name}=[{', '.join(map(_quoted, given.split(',')))}]"
    )


def _inputs() -> _Argument:
    return _Argument("inputs", f"image(?!:)|{_SPECIFIED}", lambda given: f'inputs=["{given}"]')


def _flag(name: str, value: bool = True) -> _Argument:
    return _Argument(f"{name}={value}")


def _quantization(name: str, value: str = _NEVER, bare: str = "…") -> _Argument:
    return _Argument(
        f"quantization=QuantizeOptions({name}={bare})",
        value,
        lambda given: f"quantization=QuantizeOptions({name}={_literal(given)})",
    )


def _model_args() -> _Argument:
    def valued(given: str) -> str:
        name, _, value = given.partition("=")
        return f'model_args={{"{name}": {_literal(value)}}}'

    return _Argument("model_args", r"[\w.]+=" + _TOKEN, valued)


def _quoted(text: str) -> str:
    return f'"{text}"'


def _literal(text: str) -> str:
    words = {"true": "True", "false": "False", "none": "None", "None": "None", "VALUE": "VALUE"}
    if text.startswith("[") and text.endswith("]"):
        return f"[{', '.join(map(_literal, text[1:-1].split(',')))}]"
    number = re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text)
    return words.get(text, text if number else _quoted(text))


ARGUMENTS: Mapping[str, _Argument] = {
    "--about": _text("about"),
    "--accuracy-budget": _number("accuracy_budget"),
    "--batch": _number("batch"),
    "--bias-absorption": _quantization("bias_absorption", bare="True"),
    "--bias-correction": _quantization("bias_correction", bare="True"),
    "--calibration": _text("calibration", "random"),
    "--calibration-size": _number("calibration_size"),
    "--cut-outputs": _texts("cut_outputs", _TOKEN),
    "--data": _text("data"),
    "--dynamic-batch": _flag("dynamic_batch"),
    "--effort": _quantization("effort", _NUMBER),
    "--equalization": _quantization("equalization", bare="True"),
    "--example": _text("example", _FILE),
    "--force": _flag("force"),
    "--format": _texts("formats", "onnx|tflite"),
    "--input": _inputs(),
    "--input-size": _text("input_size", _SIZE),
    "--io": _text("io", "float32|float16|int16|int8|uint8"),
    "--keep-float": _quantization("keep_float"),
    "--labeled": _text("labeled"),
    "--labels": _text("labels"),
    "--layers": _quantization("layers"),
    "--layout": _text("layout", "nchw|nhwc"),
    "--max-latency": _number("max_latency"),
    "--max-size": _number("max_size"),
    "--mean": _Argument("preprocessing=Preprocessing(mean=…)"),
    "--min-sqnr": _number("min_sqnr"),
    "--model-arg": _model_args(),
    "--name": _text("name"),
    "--no-verify": _flag("verify", value=False),
    "--onnx-activations": _quantization("activation_type"),
    "--opset": _number("opset"),
    "--out": _text("out"),
    "--output": _text("output", "probabilities|label|logits|top5"),
    "--precision": _texts("precisions", "float32|float16|int8-dynamic|int8|int16x8"),
    "--preprocess": _text("preprocessing", "timm|torchvision|none"),
    "--pretrained": _flag("pretrained"),
    "--range": _quantization("range_method"),
    "--reconstruction": _quantization("reconstruction", bare="True"),
    "--repair": _quantization("repair", bare="True"),
    "--rounding": _quantization("rounding"),
    "--runtime": _text("runtime"),
    "--search": _flag("search"),
    "--split-outputs": _flag("split_outputs"),
    "--std": _Argument("preprocessing=Preprocessing(std=…)"),
    "--target": _text("target"),
    "--task": _text("task", _SPECIFIED),
    "--truth": _text("truth"),
    "--weights": _text("weights", _FILE),
    "--weights-key": _text("weights_key", r"(?<=pass --weights-key )" + _TOKEN),
}
"""What stands for each option that a message may name; the others have no argument."""

_OPTION = re.compile(
    "|".join(
        rf"(?<![\w-]){option}(?![\w-])(?: (?P<v{index}>{argument.value})(?=$|[\s,;:.)`]))?"
        for index, (option, argument) in enumerate(ARGUMENTS.items())
    )
)
# Several of one option are one dict in Python.
_MODEL_ARGS = re.compile(rf"--model-arg [\w.]+={_TOKEN}(?: --model-arg [\w.]+={_TOKEN})+")
_AS_IN = re.compile(rf"(?<=as in )(--[a-z-]+) ({_TOKEN})")
_COMMAND = re.compile(r"(`[^`-][^`]*`)")
_PHRASES = {
    "edgeconv --debug shows the whole traceback": "the error above has the whole traceback",
    "edgeconv --debug shows what it says": "the error above shows what it says",
    "--mean and --std": "preprocessing=Preprocessing(mean=…, std=…)",
}


def in_python(text: str) -> str:
    """The text with arguments of Python for options; commands in backticks stay as they are."""
    if "--" not in text:
        return text
    for phrase, ours in _PHRASES.items():
        text = text.replace(phrase, ours)
    parts = _COMMAND.split(text)
    return "".join(part if index % 2 else _rendered(part) for index, part in enumerate(parts))


def _rendered(text: str) -> str:
    text = _MODEL_ARGS.sub(_several, text)
    return _OPTION.sub(_argument, _AS_IN.sub(_example, text))


def _several(match: re.Match[str]) -> str:
    pairs = (part.strip().partition("=") for part in match[0].split("--model-arg")[1:])
    given = ", ".join(f'"{name}": {_literal(value)}' for name, _, value in pairs)
    return f"model_args={{{given}}}"


def _example(match: re.Match[str]) -> str:
    argument = ARGUMENTS.get(match[1])
    return match[0] if argument is None else argument.valued(match[2])


def _argument(match: re.Match[str]) -> str:
    option, _, value = match[0].partition(" ")
    argument = ARGUMENTS[option]
    return argument.valued(value) if value else argument.bare
