"""Say what of a network PyTorch's exporter cannot take, and where the user wrote it."""

from __future__ import annotations

import keyword
import linecache
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

import torch
from torch import fx, nn
from torch._ops import OpOverload
from torch.nn import functional as F  # noqa: N812  # as PyTorch's own pages call it
from torch.nn.utils import rnn

from edgeconv.errors import TRACEBACK_HINT, CaptureError, first_line
from edgeconv.export.capture.wrapped import own_name

_ELSEWHERE = "or export the network without this part and compute it outside"
_FRAME = re.compile(r'File "(?P<file>.+?)", line (?P<line>\d+)')
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_TRANSFORMS = {
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "vjp",
    "vmap",
    "linearize",
}
_LIBRARY = Path(sysconfig.get_path("stdlib"))
_OWN = Path(__file__).parents[1]
_TORCH = Path(torch.__file__).parent


@dataclass(frozen=True)
class SourceLine:
    """A line of the user's source."""

    file: Path
    line: int

    @classmethod
    def of_trace(cls, trace: str) -> SourceLine | None:
        """The innermost line that is not PyTorch's own in a stack that an FX node keeps."""
        places = [cls(Path(m["file"]), int(m["line"])) for m in _FRAME.finditer(trace)]
        return next((place for place in reversed(places) if place.is_users), None)

    @classmethod
    def of_error(cls, error: BaseException) -> SourceLine | None:
        """The innermost line that is not PyTorch's own among those that led to ``error``."""
        found = None
        for frame, line in traceback.walk_tb(error.__traceback__):
            place = cls(Path(frame.f_code.co_filename), line)
            found = place if place.is_users else found
        return found

    @property
    def is_users(self) -> bool:
        """Whether it is neither ours nor PyTorch's nor the standard library's."""
        folders = set(self.file.parents)
        library = _LIBRARY in folders and "site-packages" not in self.file.parts
        return self.file.is_file() and not library and not ({_TORCH, _OWN} & folders)

    def __str__(self) -> str:
        """The place as editors take it, and the code."""
        file = self.file
        if file.is_relative_to(Path.cwd()):
            file = file.relative_to(Path.cwd())
        code = linecache.getline(str(self.file), self.line).strip()
        return f"{file}:{self.line} ({code})" if code else f"{file}:{self.line}"


def untraceable(
    name: str,
    network: nn.Module,
    inputs: Sequence[torch.Tensor],
    error: Exception,
) -> CaptureError:
    """What to raise for a network that torch.export fails on.

    Args:
        name: What it is called.
        network: The network.
        inputs: What it was traced on.
        error: What torch.export raised.
    """
    shapes = ", ".join("×".join(map(str, tensor.shape)) for tensor in inputs)
    message = f"torch.export cannot trace {name}"
    module = _failing_module(network, error)
    place = SourceLine.of_error(error)
    function = _failing_function(error)
    where = f" in {function}" if function else ""
    where += f" in {module}" if module else ""
    where += f" at {place}" if place else ""
    if _packs_sequences(error):
        return CaptureError(
            f"{message}: it packs sequences (torch.nn.utils.rnn.PackedSequence){where}",
            hint="give the layer the padded batch (one sequence needs no packing), and take the "
            "last step of each sequence with torch.gather",
        )
    if "data-dependent" in str(error) and function:
        return CaptureError(
            f"{message}: {function} decides by the value of a tensor"
            + where.removeprefix(f" in {function}"),
            hint=f"write out what it computes with other operators there, {_ELSEWHERE}",
        )
    if "data-dependent" in str(error):
        return CaptureError(
            f"{message}: Python decides by the value of a tensor{where}",
            hint=f"use torch.where there, {_ELSEWHERE}",
        )
    if "PackedParams" in str(error):  # the class of quantized weights
        return CaptureError(
            f"{message}: its layers hold weights that torch.ao.quantization has converted",
            hint="export the network as it is before convert or quantize_dynamic, with "
            "--calibration, or with --precision int8-dynamic",
        )
    scripted = [
        (path, each)
        for path, each in network.named_modules()
        if isinstance(each, torch.jit.ScriptModule)
    ]
    if scripted:
        path, layer = scripted[0]
        return CaptureError(
            f"{message}: its layer {own_name(path)!r} ({layer.original_name}) is a TorchScript "
            "module, which has no Python to trace",
            hint="make it without torch.jit.script and torch.jit.trace, or put the module that it "
            "was scripted or traced from in its place",
        )
    if ".numpy() is not supported" in str(error):
        return CaptureError(
            f"{message}: it turns a tensor into a NumPy array{where}",
            hint="compute with torch there; remove a hook that only looks at values",
        )
    transform = _transform(network, inputs)
    if transform is not None:
        return CaptureError(
            f"{message}: it cannot follow torch.func.{transform[0]} at {transform[1]}",
            hint=f"write out the derivative or the batch with other operators there, {_ELSEWHERE}",
        )
    if (node := _unwritable(error)) is not None and _draws(node):
        return _drawn(str(node.target), f", which {called_by(node, name)}")
    cause = _COLORS.sub("", first_line(error))
    return CaptureError(
        f"{message} on inputs of shape {shapes}: {cause}{where}",
        hint=f"write it with other operators there, {_ELSEWHERE}"
        if place or function
        else TRACEBACK_HINT,
    )


def _transform(network: nn.Module, inputs: Sequence[torch.Tensor]) -> tuple[str, SourceLine] | None:
    """The first transform of torch.func that a network calls, and where; None if it calls none.

    torch.export fails on some only when the network has returned, and its error says no place.
    """
    found: list[tuple[str, SourceLine]] = []

    def watch(frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_name
        if event == "call" and not found and name in _TRANSFORMS:
            caller = frame.f_back
            if caller is None or "functorch" not in frame.f_code.co_filename:
                return
            place = SourceLine(Path(caller.f_code.co_filename), caller.f_lineno)
            if place.is_users:
                found.append((name, place))

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        with torch.no_grad():
            network(*inputs)
    except Exception:  # the user's own forward(): anything can come out of it
        return None
    finally:
        sys.setprofile(before)
    return found[0] if found else None


def inexpressible(name: str, error: Exception) -> CaptureError:
    """What to raise for a network that torch.onnx cannot write."""
    root = list(_causes(error))[-1]
    cause = _COLORS.sub("", first_line(root))
    node = _failing_node(error)
    if node is None or node.op != "call_function":
        return CaptureError(
            f"torch.onnx.export cannot express {name} as ONNX: {cause}", hint=TRACEBACK_HINT
        )
    where = f", which {called_by(node, name)}"
    # An operator that is known but fails says why; of an unknown one there is no more to say.
    why = "" if "No ONNX function found" in cause else f": {cause}"
    # Some are primitives by now; users know them as operators.
    operator = str(node.target).replace("prims.", "aten.", 1).replace("bessel_i", "i", 1)
    if _draws(node):
        return _drawn(operator, where)
    return CaptureError(
        f"PyTorch's exporter cannot express {operator} as ONNX{where}{why}",
        hint=_way_around(operator),
    )


def _drawn(operator: str, where: str) -> CaptureError:
    return CaptureError(
        f"{operator}{where}, draws random numbers, to which no file can be compared",
        hint="feed them as an input",
    )


def _unwritable(error: Exception) -> fx.Node | None:
    """The node whose operator FX cannot write as Python, as its name holds a keyword.

    The one of random_(0, 5) is called ``aten.random_.from``.
    """
    if not isinstance(error, SyntaxError):
        return None
    for frame in _frames(error.__traceback__):
        graph = frame.get("graph")
        nodes: Iterable[fx.Node] = graph.nodes if isinstance(graph, fx.Graph) else ()
        for node in nodes:
            if any(map(keyword.iskeyword, str(node.target).split("."))):
                return node
    return None


def called_by(node: fx.Node, name: str) -> str:
    """Which module of the network ``name`` calls an operator, and in which line of the user's."""
    place = SourceLine.of_trace(node.meta.get("stack_trace") or "")
    return f"{_module_of(node) or name} calls" + (f" at {place}" if place else "")


def _draws(node: fx.Node) -> bool:
    """Whether an operator exists to draw random numbers; one that can drop some does not."""
    operator = node.target
    return (
        isinstance(operator, OpOverload)
        and torch.Tag.nondeterministic_seeded in operator.tags
        and not any("dropout" in argument.name for argument in operator._schema.arguments)
    )


def _way_around(operator: str) -> str:
    if re.search(r"linalg|svd|\bqr\b|pinv|lstsq|matrix|geqrf|\blu_|slogdet", operator):
        return (
            "torch.linalg.inv, solve, cholesky and det of a fixed size can be exported: write it "
            f"with them, {_ELSEWHERE}"
        )
    if re.search(r"gamma|zeta|bessel|\bi[01]|airy|polynomial", operator):
        return (
            "where its argument is one of few numbers, index a table that __init__ computes; else "
            f"write a polynomial for the range that it has, {_ELSEWHERE}"
        )
    if "fake_quantize" in operator:
        return (
            "ONNX quantizes activations to 8 bits: train with torch.quint8 or torch.qint8 in full, "
            "or call torch.ao.quantization.disable_fake_quant on the network for its float form"
        )
    return f"write it with other operators there, {_ELSEWHERE}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _failing_node(error: Exception) -> fx.Node | None:
    """The node that was being translated; the exporter's errors hold it as text only."""
    found = None
    for cause in _causes(error):
        for frame in _frames(cause.__traceback__):
            for name in ("node", "n"):  # as the exporter and the interpreter of FX call it
                local = frame.get(name)
                found = local if isinstance(local, fx.Node) else found
    return found


def _failing_module(network: nn.Module, error: Exception) -> str:
    """The innermost module that was running when ``error`` was raised."""
    names = {id(module): own_name(name) for name, module in network.named_modules()}
    found = ""
    for frame in _frames(error.__traceback__):
        module = frame.get("self")
        if isinstance(module, nn.Module) and names.get(id(module)):
            found = f"{names[id(module)]} ({type(module).__name__})"
    return found


def _failing_function(error: Exception) -> str:
    """The function of torch.nn.functional that the network called when ``error`` was raised."""
    frames = traceback.walk_tb(error.__traceback__)
    codes = [frame.f_code for frame, _ in frames if frame.f_code.co_filename == F.__file__]
    return f"torch.nn.functional.{codes[0].co_name}" if codes else ""


def _packs_sequences(error: Exception) -> bool:
    """Whether a function of PyTorch that fails packs sequences, unpacks them or reads them so."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(
        frame.f_code.co_filename == rnn.__file__
        or any(isinstance(value, rnn.PackedSequence) for value in frame.f_locals.values())
        for frame, _ in frames
        if _TORCH in Path(frame.f_code.co_filename).parents
    )


def _frames(trace: TracebackType | None) -> Iterator[dict[str, object]]:
    return (frame.f_locals for frame, _ in traceback.walk_tb(trace))


def _module_of(node: fx.Node) -> str:
    """The qualified name and the class of the module that called the operator."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    # A trace that was not finished begins its names with that of PyTorch's own root.
    if not stack or not (name := own_name(stack[-1][0].removeprefix("_export_root."))):
        return ""
    kind = stack[-1][1]
    return f"{name} ({str(kind).rpartition('.')[2]})"
