"""Programs that torch.export made: from Python, or from a ``.pt2`` file.

torch.export.load unpickles parts of a file, and calls what its graph names. So a file is looked
through first, and refused if it holds more than tensors and operators of PyTorch.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from edgeconv.errors import CaptureError, UsageError, first_line
from edgeconv.export.capture.arguments import Call
from edgeconv.export.capture.size_expressions import is_of_sizes
from edgeconv.export.capture.source import Source
from edgeconv.export.quiet import quiet_python
from edgeconv.model_args import ModelArgs
from edgeconv.stand_in import refuse_stand_in

_OPERATORS = re.compile(
    r"(torch\.ops\.(aten|prims|higher_order|quantized_decomposed|torchvision|torchao)"
    r"(\.[A-Za-z]\w*){1,2}|torch\.sym_\w+|_?operator\.\w+|math\.\w+|torch\._check\w*)"
)
_MOST_BYTES = 2**32
_SHOWN = 200  # characters


def from_program(program: ExportedProgram, spec: str = "") -> Source:
    """The network that an exported program is, with the inputs that it was exported on.

    Raises:
        CaptureError: The program states no inputs.
    """
    module = program.module()
    example = program.example_inputs
    if example is None:
        raise CaptureError(
            "the exported program keeps no example inputs", hint="give them with --example"
        )
    args, kwargs = example
    call = Call(args, kwargs, open_batch=_leaves_batch_open(program))
    return Source(spec or type(program).__name__, module, example=call)


def _leaves_batch_open(program: ExportedProgram) -> bool:
    """Whether the first dimension of an input is one that torch.export.Dim left open."""
    inputs = set(program.graph_signature.user_inputs)
    values = (node.meta.get("val") for node in program.graph.nodes if node.name in inputs)
    return any(
        isinstance(value, torch.Tensor)
        and value.ndim > 0
        and isinstance(value.shape[0], torch.SymInt)
        for value in values
    )


def load_program(path: Path, args: ModelArgs) -> Source:
    """Read a ``.pt2`` file.

    Raises:
        UsageError: It does not take such arguments.
        CaptureError: It is damaged, or holds what is not safe to load.
    """
    if args:
        raise UsageError(
            f"--model-arg does not apply to {path.name}: a program is complete", hint="leave it out"
        )
    refuse_stand_in(path, CaptureError)
    try:
        _refuse_code(path)
        with quiet_python():  # it logs the traceback of what it meets, and raises another error
            program = torch.export.load(path)
    except CaptureError:
        raise
    except Exception as error:  # torch.export.load raises many kinds for a damaged file
        cause = first_line(error)
        if "warnings above" in cause:
            cause = "PyTorch cannot read its archive"
        raise CaptureError(
            f"{path} is not a readable program: {cause}",
            hint="write it with torch.export.save, with this version of torch",
        ) from error
    return from_program(program, path.name)


def _refuse_code(path: Path) -> None:
    """Raise CaptureError if loading the file would run something that is in it."""
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > _MOST_BYTES:
            raise CaptureError(f"{path} is too large", hint="save a smaller network")
        names = archive.namelist()
        if any("/aotinductor/" in name for name in names):
            raise CaptureError(
                f"{path} holds compiled code", hint="write it with torch.export.save"
            )
        pickled: set[str] = set()
        for name in (name for name in names if name.endswith(".json")):
            graph = json.loads(archive.read(name))
            _check_graph(path, graph)
            pickled |= set(_pickled(graph))
        for name in names:
            last = name.rpartition("/")[2]
            if last.startswith(("custom_obj", "opaque_obj")):
                raise CaptureError(
                    f"{path} holds objects, which are not safe to load",
                    hint="save the module's weights with safetensors, and name its factory",
                )
            if last.endswith(".pt") or last in pickled:
                _check_pickle(path, name, archive.read(name))


def _pickled(tree: Any) -> Iterator[str]:
    """The files of the tensors that a configuration says to unpickle."""
    if isinstance(tree, dict):
        if tree.get("use_pickle"):
            yield str(tree.get("path_name"))
        for item in tree.values():
            yield from _pickled(item)


def _check_pickle(path: Path, name: str, content: bytes) -> None:
    if not content:
        return
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as error:  # torch.load raises many kinds
        raise CaptureError(
            f"{path}: {name} holds more than tensors, which is not safe to load",
            hint="save the module's weights with safetensors, and name its factory",
        ) from error


def _check_graph(path: Path, graph: Any) -> None:
    for key, value in _strings(graph):
        if key == "target" and not _OPERATORS.fullmatch(value):
            raise CaptureError(
                f"{path} calls {value!r}, which is not an operator of PyTorch",
                hint="export the module that it was made of, or write it with PyTorch's operators",
            )
        if key == "expr_str" and not is_of_sizes(value):
            raise CaptureError(
                f"{path} has the size {value[:_SHOWN]!r}, which is not an expression of sizes",
                hint="write it again with torch.export.save, with fixed shapes",
            )


def _strings(tree: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(tree, str):
        yield key, tree
    elif isinstance(tree, dict):
        for name, item in tree.items():
            yield from _strings(item, name)
    elif isinstance(tree, list):
        for item in tree:
            yield from _strings(item, key)
