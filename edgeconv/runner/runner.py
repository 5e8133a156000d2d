"""Measure one model file in one process, on the device itself.

The archive that :mod:`edgeconv.device.archive` makes of this folder starts here. It needs Python
3.8 or newer, NumPy and one runtime. One JSON request comes as the first line of standard input;
JSON objects go out, one per line, each with an "event": start, load, first, outputs, warmup,
samples (many), operators or steps (if asked for) and done; or error, the last. Where only outputs
are asked for they follow load, one "outputs" a batch with "values" for the large ones, and
"computed". Under an emulator that counts instructions the last is "instructions", right after the
outputs. Standard input stays open as long as the host listens: its end ends this process.

Times are nanoseconds of the monotonic clock, taken around nothing but the inference call; with a
bundle's script, around all from a camera's frame to the decoded answer.
"""

from __future__ import annotations

import gc
import importlib
import os
import platform
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from edgeconv.runner.counting import count_instructions
from edgeconv.runner.end_to_end import EndToEnd
from edgeconv.runner.events import Events, describe, parts_of
from edgeconv.runner.inputs import fitted, make_inputs, read_arrays
from edgeconv.runner.onnx_model import OnnxModel
from edgeconv.runner.request import PROTOCOL, Request, RunnerError, read_request
from edgeconv.runner.runtimes import ONNX, find_runtime
from edgeconv.runner.system import (
    conditions,
    count_continuations,
    is_emulated,
    machine,
    peak_rss,
    take_cores,
)
from edgeconv.runner.tflite_model import TfliteModel
from edgeconv.runner.timing import steady_state, timed, warm_up


def measure(request: Request, emit: Events, folder: str | None = None) -> None:
    """Load a model, measure it as the request says, and write the events.

    Args:
        request: What to measure.
        emit: Where the events go.
        folder: Empty, for the profile of an .onnx file; it is removed before the last event,
            because the host may end this process then.

    Raises:
        RunnerError: The model could not be measured.
    """
    if request.affinity is not None:
        take_cores(request.affinity)  # first: the runtime's threads inherit it
    runtime, version, module = find_runtime(request.model, request.runtime)
    emit(
        "start",
        protocol=PROTOCOL,
        runtime=runtime,
        runtime_version=version,
        python=platform.python_version(),
        numpy=importlib.import_module("numpy").__version__,
        machine=machine(),
        conditions=conditions(),
    )
    begin = time.perf_counter_ns()
    try:
        model: TfliteModel | OnnxModel
        if runtime in ONNX:
            prefix = None if folder is None else folder + "/profile"
            model = OnnxModel(module, request.model, request.threads, prefix, request.xnnpack)
        else:
            model = TfliteModel(module, request.model, request.threads, request.xnnpack)
    except (MemoryError, RunnerError):
        raise
    except Exception as error:
        raise RunnerError("model", f"{runtime} {version} cannot load it: {error}") from error
    loaded = time.perf_counter_ns() - begin
    delegates = None
    if request.operators and isinstance(model, TfliteModel):
        delegates = model.delegates()
    emit("load", ns=loaded, delegates=delegates)
    if request.batches:
        compute(model, request, emit)
        return
    infer = prepare(model, request)
    gc.collect()
    gc.disable()
    try:
        (first,) = timed(infer, 1)
        emit("first", ns=first, peak_rss_bytes=peak_rss())
        emit("outputs", outputs=[describe(name, array) for name, array in model.outputs()])
        if request.counts is not None:
            counts = count_instructions(infer, request.counts, request.min_runs)
            emit("instructions", counts=counts)
            return
        if is_emulated():
            raise RunnerError(
                "emulated",
                "QEMU emulates this machine, so its times mean nothing",
                "count instructions with --device emulated:zero2w, pi3, pi4 or pi5",
            )
        warmup = warm_up(infer, first, request)
        emit("warmup", conditions=conditions(), **warmup)
        steady = steady_state(infer, warmup["median_ns"], request, emit)
        end = conditions()
        if isinstance(model, OnnxModel) and request.operators:
            emit("operators", operators=model.operators(steady["runs"]))
        if isinstance(infer, EndToEnd):
            emit("steps", **infer.steps(steady["runs"]))
    except (MemoryError, RunnerError):
        raise
    except Exception as error:
        raise RunnerError("inference", f"{runtime} {version} failed: {error}") from error
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    emit("done", conditions=end, **steady)


def prepare(model: TfliteModel | OnnxModel, request: Request) -> Callable[[], object]:
    """Return what is timed: the inference of inputs that are set once, or all around it.

    Raises:
        RunnerError: The inputs do not fit, or the script cannot be imported.
    """
    if request.script is not None:
        return EndToEnd(model, request)
    try:
        model.feed(make_inputs(model.inputs, request))
    except (OSError, ValueError) as error:
        raise RunnerError("input", error) from error
    return model.inference()


def compute(model: TfliteModel | OnnxModel, request: Request, emit: Events) -> None:
    """Run every batch of the request's arrays and write its outputs; nothing is timed.

    Raises:
        RunnerError: The arrays do not fit, or an inference failed.
    """
    try:
        arrays = read_arrays(request.inputs or "")
        for index in range(request.batches):
            batch = {name: array[index] for name, array in arrays.items()}
            model.feed(fitted(model.inputs, batch, request))
            model.inference()()
            outputs = model.outputs()
            emit("outputs", outputs=[describe(name, array) for name, array in outputs])
            for _, array in outputs:
                for part in parts_of(array):
                    emit("values", base64=part)
    except (MemoryError, OSError, RunnerError):
        raise
    except Exception as error:
        raise RunnerError("inference", f"the inference failed: {error}") from error
    emit("computed", batches=request.batches)


def main() -> NoReturn:
    """Answer the request on standard input, and end the process."""
    emit = Events()
    folder = None
    try:
        request = read_request()
        if request.operators:
            folder = tempfile.mkdtemp(prefix="edgeconv-")
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        count_continuations()
        signal.alarm(request.deadline_seconds)
        end_with_the_listener(folder)
        if request.log is not None:
            emit.also_to(request.log)
        measure(request, emit, folder)
    except RunnerError as error:
        fail(emit, error, folder)
    except MemoryError:
        fail(
            emit,
            RunnerError("memory", "out of memory", "free some, or use a smaller model"),
            folder,
        )
    except OSError as error:
        fail(emit, RunnerError("system", error), folder)
    leave(0, folder)


def fail(emit: Events, error: RunnerError, folder: str | None) -> NoReturn:
    """Report the error and end; the host ends the process as soon as it has read that."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    emit("error", kind=error.kind, message=str(error), hint=error.hint)
    leave(1, None)


def leave(status: int, folder: str | None) -> NoReturn:
    """Remove the temporary folder and end the process at once.

    Native destructors have nothing to say any more, and some crash at exit.
    """
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        # A runtime that still measures, in another thread, may have put a file there meanwhile.
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(status)


def end_with_the_listener(folder: str | None) -> None:
    """Leave at once when standard input ends. The blocked read costs the measurement nothing."""

    def wait() -> None:
        while os.read(0, 1 << 16):
            pass
        leave(1, folder)

    threading.Thread(target=wait, daemon=True).start()
