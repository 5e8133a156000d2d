"""Programs of a single operator of PyTorch in float32, as TFLite: how many are equal to PyTorch.

    python -m benchmarks.single_operators [--fresh] [--samples 1] [--log FILE] [NAME…]

All of it takes up to an hour of processor time. With --log a run that was cut off goes on where it
was; to try some operators again, take their lines out of the file. With --fresh it is one sample of
each operator that has several: another than the first, by a hash of the name, with other numbers.
Nothing of those was looked at before their figures were published.

The programs are the sample inputs of PyTorch's own database of operators, which needs the package
expecttest: every tensor among the arguments is an input of the network, and everything else is
fixed. What PyTorch's exporter can write and ONNX Runtime can run counts, but not what has
no value to be equal to: random numbers, which edgeconv refuses by name, and memory that nothing was
written to (torch.empty). A program is equal if every output of both files, on LiteRT and on ONNX
Runtime, has PyTorch's shape and type, and lies within 1e-5 of the largest value of that output
(1e-6 at least). Half of the operators, by a hash of their names, were held out of the first
samples: what failed there was only counted until a page with it was published.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import signal
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measuring import markdown_table

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "benchmarks" / "results" / "single_operators.md"
EQUAL, UNCOUNTED = "equal", "does not count"
RANDOM = "it draws random numbers"
SINGLE = "float32 in the place of float64, which a warning says"
FRESH_PART = "## Other samples of the same operators"
OFF_ON_ONNX, OFF = "ONNX Runtime's values differ", "LiteRT's values differ"


def is_held_out(name: str) -> bool:
    """Whether an operator is only counted."""
    return zlib.crc32(name.encode()) % 2 == 1


def names() -> list[str]:
    """The operators of the database that take float32."""
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    return sorted({op.full_name for op in op_db if torch.float32 in op.dtypes})


def places(op: Any, samples: int, fresh: bool) -> Iterator[int]:
    """Which samples of an operator are taken."""
    import torch

    if not fresh:
        yield from range(samples)
        return
    try:
        count = sum(1 for _ in op.sample_inputs("cpu", torch.float32, requires_grad=False))
    except Exception:  # an operator that is no network at all
        return
    if count > 1:
        yield 1 + zlib.crc32(f"{op.full_name} again".encode()) % (count - 1)


def work(operators: Sequence[str], samples: int, seconds: int, fresh: bool) -> None:
    """Write a line of JSON before and after each program of these operators."""
    from torch.testing._internal.common_methods_invocations import op_db

    def give_up(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, give_up)
    known = {op.full_name: op for op in op_db}
    for name in operators:
        _tell(name, None)
        for index in places(known[name], samples, fresh):
            _tell(name, None)
            signal.alarm(seconds)
            try:
                outcome = program(known[name], index, seed=int(fresh))
            except TimeoutError:
                outcome = f"takes more than {seconds} s"
            signal.alarm(0)
            if outcome is not None:
                _tell(name, outcome)


def _tell(name: str, outcome: str | None) -> None:
    sys.stdout.write(json.dumps([name, outcome]) + "\n")
    sys.stdout.flush()


def program(op: Any, index: int, seed: int) -> str | None:
    """What becomes of a sample of an operator; None where there is no such sample."""
    import onnx_ir as ir
    import torch
    from torch.utils import _pytree as pytree

    from edgeconv.bundle import Layout
    from edgeconv.errors import CaptureError, EdgeconvError
    from edgeconv.export.capture.module import capture_module
    from edgeconv.export.passes import optimize
    from edgeconv.export.runtimes import open_session
    from edgeconv.export.tflite import lower

    torch.manual_seed(seed)
    try:
        every = op.sample_inputs("cpu", torch.float32, requires_grad=False)
        sample = next(itertools.islice(every, index, None), None)
        if sample is None:
            return None
        leaves, spec = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
        places = [at for at, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
        given = [leaves[at].detach().clone().contiguous() for at in places]

        class Program(torch.nn.Module):
            def forward(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
                filled = dict(zip(places, tensors, strict=True))
                full = [filled.get(at, leaf) for at, leaf in enumerate(leaves)]
                value, args, kwargs = pytree.tree_unflatten(full, spec)
                found = pytree.tree_leaves(op(value, *args, **kwargs))
                return {f"y{i}": t for i, t in enumerate(found) if isinstance(t, torch.Tensor)}

        arrays = [each.numpy().copy() for each in given]  # some write into their inputs
        with torch.no_grad():
            expected = {name: t.numpy().copy() for name, t in Program()(*given).items()}
            given = [torch.from_numpy(array.copy()) for array in arrays]
            # In this mode memory without a value is filled with NaN.
            torch.use_deterministic_algorithms(True, warn_only=True)
            again = {name: t.numpy() for name, t in Program()(*given).items()}
            torch.use_deterministic_algorithms(False)
        if not all(map(_is_repeated, expected.values(), again.values())):
            return f"{UNCOUNTED}: PyTorch gives other values in every run"
        if not expected or any(leaf.is_complex() for leaf in given):
            return f"{UNCOUNTED}: no real tensors"
        if any(array.dtype.kind == "c" for array in expected.values()):
            return f"{UNCOUNTED}: no real tensors"
    except Exception as error:  # an operator that is no network at all
        return f"{UNCOUNTED}: PyTorch: {type(error).__name__}"
    try:
        graph = capture_module(Program().eval(), arrays, list(expected), 20)
        session = open_session(ir.to_proto(graph).SerializeToString())
        feeds = {info.name: array for info, array in zip(session.get_inputs(), arrays, strict=True)}
        session.run(list(expected), feeds)
    except TimeoutError:
        raise
    except CaptureError:
        return f"{UNCOUNTED}: PyTorch's exporter cannot write it"
    except Exception as error:  # ONNX Runtime raises kinds of its own
        return f"{UNCOUNTED}: ONNX Runtime: {type(error).__name__}"
    try:
        graph = optimize(graph)
        session = open_session(ir.to_proto(graph).SerializeToString())
        onnx = dict(zip(expected, session.run(list(expected), feeds), strict=True))
        lowered = lower(graph, layout=Layout.NCHW)
        tflite = _run(lowered.data, list(feeds.values()), list(feeds))
    except TimeoutError:
        raise
    except EdgeconvError as error:
        if RANDOM in error.message:
            return f"{UNCOUNTED}: {RANDOM}, and is refused for it"
        return f"refused: {error.message}"
    except Exception as error:
        return f"internal error: {type(error).__name__}: {error}"
    single = {name: _single(array) for name, array in expected.items()}
    for found, words in ((tflite, OFF), (onnx, OFF_ON_ONNX)):
        for name, wanted in single.items():
            if not _equal(found[name], wanted):
                return words
    return EQUAL if all(single[name] is expected[name] for name in single) else SINGLE


def _is_repeated(array: Any, again: Any) -> bool:
    """Whether a second run gave the same, so that there is a value to be equal to."""
    import numpy as np

    return array.shape == again.shape and np.array_equal(
        array, again, equal_nan=array.dtype.kind in "fc"
    )


def _single(array: Any) -> Any:
    """What a network in float64 gives in float32, in which every file computes."""
    return array.astype("float32") if array.dtype == "float64" else array


def _run(data: bytes | bytearray, arrays: Sequence[Any], inputs: Sequence[str]) -> dict[str, Any]:
    """The results of a file on LiteRT by their names."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=bytes(data), num_threads=1)
    interpreter.allocate_tensors()
    run = interpreter.get_signature_runner()
    return dict(run(**dict(zip(inputs, arrays, strict=True))))


def _equal(found: Any, wanted: Any) -> bool:
    """Whether an output is PyTorch's but for rounding; NaN and infinities in the same places."""
    import numpy as np

    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return False
    if wanted.dtype.kind != "f":
        return bool(np.array_equal(found, wanted))
    finite = np.isfinite(wanted)
    if not np.array_equal(found[~finite], wanted[~finite], equal_nan=True):
        return False
    largest = np.abs(wanted[finite]).max(initial=0.1)
    return bool(np.abs(found[finite] - wanted[finite]).max(initial=0) <= 1e-5 * largest)


def outcomes(operators: Sequence[str], options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What becomes of each program; a program that ends its process is a crash."""
    pending = list(operators)
    while pending:
        command = [sys.executable, "-m", __spec__.name, "--work", *options, *pending]
        started, finished = pending[0], True
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                started, outcome = json.loads(line)
                finished = outcome is not None
                if finished:
                    sys.stderr.write(f"{started}: {outcome}\n")
                    yield started, outcome
        if child.returncode == 0:
            return
        if not finished:
            yield started, "crash"
        pending = pending[pending.index(started) + 1 :]


def logged(log: Path) -> list[tuple[str, str]]:
    """What an earlier run found, but of its last operator, which may have more samples."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    found = [(str(name), str(what)) for name, what in map(json.loads, lines)]
    complete = [pair for pair in found if pair[0] != found[-1][0]]
    log.write_text("".join(f"{json.dumps(pair)}\n" for pair in complete), encoding="utf-8")
    return complete


def fresh_part(found: Sequence[tuple[str, str]], every: int) -> Iterator[str]:
    """The lines about the other samples."""
    share, option = (
        ("", "") if every == 1 else (f" (1 of {every} in the list)", f" --every {every}")
    )
    yield from (FRESH_PART, "")
    yield (
        f"{len(found)} programs: one of each operator that has several samples{share}, another "
        "than the first, chosen by a hash of the name, and drawn with another seed. The choice was "
        "made before anything of it was run, and the figures are those of the first run. "
        f"`python -m benchmarks.single_operators --fresh{option}` makes this part."
    )
    yield from _figures(found, "###")


def page(found: Sequence[tuple[str, str]], samples: int, asked: int) -> Iterator[str]:
    """The lines about the first samples."""
    yield from ("# Programs of a single operator", "")
    yield (
        f"{asked} operators of PyTorch's own database (`op_db`), {samples} of the samples of each "
        "in float32; every tensor is an input. `python -m benchmarks.single_operators` makes this "
        "page. What PyTorch's exporter can write and ONNX Runtime can run counts, but not what has "
        "no value to be equal to (random numbers, which are refused by name, and torch.empty); "
        "equal is within 1e-5 of the largest value of an output, with NaN and infinities in the "
        "same places. The operators held out, half of them by a hash of their names, were not "
        "looked at until what failed there was mended as kinds."
    )
    yield from _figures(found, "##")


def _figures(found: Sequence[tuple[str, str]], level: str) -> Iterator[str]:
    """The versions and the tables of some programs, with headings of a level."""
    counted = [(name, what) for name, what in found if not what.startswith(UNCOUNTED)]
    tools = ("torch", "onnxruntime", "ai-edge-litert")
    yield ""
    yield "Made with " + ", ".join(f"{tool} {version(tool)}" for tool in tools) + "."
    yield ""
    rows = []
    halves = (("looked at", (False,)), ("held out", (True,)), ("both", (False, True)))
    for title, held in halves:
        part = [what for name, what in counted if is_held_out(name) in held]
        kinds = Counter(what.partition(":")[0] for what in part)
        refused, equal = kinds["refused"], kinds[EQUAL]
        share = f"{equal / max(1, len(part)):.1%}"
        rows.append([title, len(part), equal, share, refused, len(part) - equal - refused])
    yield from markdown_table(
        ["half", "programs", "equal", "share", "refused by name", "other"],
        [[str(each) for each in row] for row in rows],
    )
    for title, chosen in (
        ("What is not equal", [(n, w) for n, w in counted if w != EQUAL]),
        ("What does not count", [pair for pair in found if pair[1].startswith(UNCOUNTED)]),
    ):
        reasons: dict[str, list[str]] = {}
        for name, what in chosen:
            reasons.setdefault(_without_names(what), []).append(name)
        yield from ("", f"{level} {title}", "")
        yield from markdown_table(
            ["reason", "programs", "operators"],
            [
                [reason, str(len(each)), ", ".join(sorted(set(each))[:6])]
                for reason, each in sorted(reasons.items(), key=lambda pair: -len(pair[1]))
            ],
        )


def _without_names(reason: str) -> str:
    """A reason without the names of nodes and the sizes that only one program has."""
    reason = re.sub(r"\bnode_\w+ \((\w+)\)", r"\1", reason)
    return re.sub(r"\bnode_\w+|\b[a-z_]+\d+\b", "…", reason).replace("|", "/")[:160]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("operators", nargs="*", help="their names; all without one")
    parser.add_argument("--samples", type=int, default=1, help="of each operator")
    parser.add_argument("--fresh", action="store_true", help="another sample than the first")
    parser.add_argument("--seconds", type=int, default=60, help="limit for one program")
    parser.add_argument("--every", type=int, default=1, help="only each so-manieth operator")
    parser.add_argument("--log", type=Path, help="keep the outcomes here, and go on after them")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.operators, options.samples, options.seconds, options.fresh)
        return
    operators = (options.operators or names())[:: options.every]
    found = [] if options.log is None else logged(options.log)
    done = {name for name, _ in found}
    rest = [name for name in operators if name not in done]
    settings = ["--samples", str(options.samples), "--seconds", str(options.seconds)]
    for pair in outcomes(rest, [*settings, *["--fresh"] * options.fresh]):
        found.append(pair)
        if options.log is not None:
            with options.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(pair) + "\n")
    first, _, other = PAGE.read_text(encoding="utf-8").partition(FRESH_PART)
    if options.fresh:
        other = "\n".join(fresh_part(found, options.every)) + "\n"
        text = f"{first.rstrip()}\n\n{other}" if not options.operators else other
    else:
        first = "\n".join(page(found, options.samples, len(operators))) + "\n"
        text = f"{first}\n{FRESH_PART}{other}" if other and not options.operators else first
    if options.operators:
        sys.stdout.write(text)
    else:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
