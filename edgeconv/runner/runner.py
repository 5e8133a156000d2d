"""Measure one model file in one process, on the device itself.

Copied to a device as it is: Python 3.8 or newer, the standard library, NumPy and one runtime.
One JSON request comes as the first line of standard input; JSON objects go out, one a line, each
with an "event": start, load, first, outputs, warmup, samples (many) and done; or error, the last.
Under an emulator that counts instructions the last is "instructions", right after the outputs.
Standard input stays open as long as somebody listens: its end ends this process.

Times are nanoseconds of the monotonic clock, taken around the inference call alone.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import hashlib
import importlib
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

PROTOCOL = 1
BATCH_NS = 250_000_000  # what a sudden death may lose
BATCH_RUNS = 4096
INLINE_BYTES = 1 << 20  # larger outputs are told by their hash alone
WARMUP_ROUNDS = 4  # a round is this part of the warm-up time
WARMUP_LIMIT = 5  # an unstable warm-up ends after this many times its time
# In /sys/devices/platform; the folders' names have the bus address on newer boards.
THROTTLED = "soc*/soc*:firmware/get_throttled"
CPU = "CPUExecutionProvider"
KERNEL_TIME = "_kernel_time"  # of a node's events in ONNX Runtime's profile
DELEGATE = "DELEGATE"  # the node that stands for what a delegate took
MARK = 0x51  # no kind of priority: a call that fails, by which an emulator is told a moment

# Runtime, its package, the module that reports the version, the module that runs.
TFLITE = {
    "litert": ("ai-edge-litert", "ai_edge_litert", "ai_edge_litert.interpreter"),
    "tflite-runtime": ("tflite-runtime", "tflite_runtime", "tflite_runtime.interpreter"),
}
ONNX = {"onnxruntime": ("onnxruntime", "onnxruntime", "onnxruntime")}


class RunnerError(Exception):
    """What went wrong: a kind for programs and one line for people."""

    def __init__(self, kind: str, message: object) -> None:
        super().__init__(" ".join(str(message).split())[:800])
        self.kind = kind


@dataclass(frozen=True)
class Request:
    """What to measure and how long. ``runtime`` None is the first installed one that reads the
    file's format. ``inputs`` is an .npz file; None means structured values from ``seed``. Arrays
    of it for the inputs in ``channels_first`` may be NCHW where the model takes NHWC. ``log``
    is a file that gets the events too. The process kills itself after ``deadline_seconds``.
    ``counts`` is the file that an emulator writes instruction counts to; then ``min_runs``
    inferences are counted and none is timed. With ``reading_seconds`` above 0 the conditions and
    the power are read that often, between inferences. ``operators``: ONNX Runtime's own profile of
    ``min_runs`` inferences, instead of times from outside; of a .tflite file, also how many parts
    of it a delegate takes.
    """

    protocol: int
    model: str
    runtime: str | None
    threads: int
    affinity: list[int] | None
    warmup_seconds: float
    warmup_runs: int
    stability: float
    min_runs: int
    min_seconds: float
    max_seconds: float
    deadline_seconds: int
    seed: int
    inputs: str | None
    log: str | None
    counts: str | None = None
    reading_seconds: float = 0.0
    operators: bool = False
    channels_first: Sequence[str] = ()


class Events:
    """Writes events to the real standard output, which nobody else can reach any more."""

    def __init__(self) -> None:
        self._targets = [os.dup(1)]
        os.dup2(2, 1)  # whatever native libraries print goes to standard error

    def also_to(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._targets.append(os.open(path, flags, 0o600))

    def __call__(self, event: str, **fields: object) -> None:
        line = json.dumps({"event": event, **fields}, separators=(",", ":")) + "\n"
        for target in self._targets:
            rest = line.encode("ascii")
            while rest:
                rest = rest[os.write(target, rest) :]


class TfliteModel:
    """A .tflite file under LiteRT or tflite-runtime, with XNNPACK as the runtime has it."""

    def __init__(self, module: Any, path: str, threads: int) -> None:
        self._interpreter = module.Interpreter(model_path=path, num_threads=threads)
        self._interpreter.allocate_tensors()
        self.inputs = [
            (d["name"], [int(n) for n in d["shape_signature"]], d["dtype"])
            for d in self._interpreter.get_input_details()
        ]

    def feed(self, arrays: list[Any]) -> None:
        details = self._interpreter.get_input_details()
        resized = False
        for detail, array in zip(details, arrays):
            if list(detail["shape"]) != list(array.shape):
                self._interpreter.resize_tensor_input(detail["index"], array.shape, strict=True)
                resized = True
        if resized:
            self._interpreter.allocate_tensors()
        for detail, array in zip(details, arrays):
            self._interpreter.set_tensor(detail["index"], array)

    def inference(self) -> Callable[[], object]:
        invoke: Callable[[], object] = self._interpreter.invoke
        return invoke

    def delegates(self) -> int | None:
        """Parts of the graph that a delegate runs, or None if this runtime does not tell."""
        try:
            nodes = self._interpreter._get_ops_details()
        except AttributeError:
            return None
        return [node["op_name"] for node in nodes].count(DELEGATE)

    def outputs(self) -> list[tuple[str, Any]]:
        details = self._interpreter.get_output_details()
        return [(d["name"], self._interpreter.get_tensor(d["index"])) for d in details]


class OnnxModel:
    """An .onnx file under ONNX Runtime on the CPU, its inputs and outputs bound once: a plain
    ``run`` would add the conversion of every array to each sample.
    """

    def __init__(self, module: Any, path: str, threads: int, profile: str | None = None) -> None:
        self._options = module.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = 3
        if profile is not None:
            self._options.enable_profiling = True
            self._options.profile_file_prefix = profile
        self._open = partial(module.InferenceSession, path, self._options, [CPU])
        self._session = self._open()
        self._binding = self._session.io_binding()
        self.inputs = [
            (i.name, [n if isinstance(n, int) else -1 for n in i.shape], self._dtype(i.type))
            for i in self._session.get_inputs()
        ]

    def _dtype(self, onnx_type: str) -> str:
        return numpy_name(onnx_type.replace("tensor(", "").replace(")", ""))

    def feed(self, arrays: list[Any]) -> None:
        self._arrays = arrays  # the binding points into them
        for (name, _, _), array in zip(self.inputs, arrays):
            self._binding.bind_cpu_input(name, array)
        for output in self._session.get_outputs():
            self._binding.bind_output(output.name, "cpu")

    def inference(self) -> Callable[[], object]:
        return partial(self._session.run_with_iobinding, self._binding)

    def outputs(self) -> list[tuple[str, Any]]:
        names = [output.name for output in self._session.get_outputs()]
        return list(zip(names, self._binding.copy_outputs_to_cpu()))

    def operators(self, runs: int) -> list[dict[str, Any]]:
        """Of each node, in order: the median over the last ``runs`` inferences of the time in its
        kernel, and the types and shapes of what goes in and out.

        A profile leaves out the weights that kernels have packed for themselves, so another session
        that packs none tells the types and shapes.
        """
        measured = node_events(self._session)
        self._options.add_session_config_entry("session.disable_prepacking", "1")
        telling = self._open()
        telling.run(None, {name: array for (name, _, _), array in zip(self.inputs, self._arrays)})
        told = node_events(telling)
        return [
            {
                "name": name,
                "operator": events[-1]["args"]["op_name"],
                "ns": int(1000 * statistics.median(event["dur"] for event in events[-runs:])),
                "inputs": tensors(told.get(name, events)[-1]["args"].get("input_type_shape")),
                "outputs": tensors(told.get(name, events)[-1]["args"].get("output_type_shape")),
            }
            for name, events in measured.items()
        ]


def node_events(session: Any) -> dict[str, list[dict[str, Any]]]:
    """End the profile of an ONNX Runtime session: the events of each node's kernel, in order."""
    nodes: dict[str, list[dict[str, Any]]] = {}
    for event in json.loads(Path(session.end_profiling()).read_bytes()):
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL_TIME):
            nodes.setdefault(event["name"][: -len(KERNEL_TIME)], []).append(event)
    return nodes


def tensors(described: Any) -> list[dict[str, Any]]:
    """Those that ONNX Runtime describes as ``{"float": [1, 3]}``."""
    return [
        {"dtype": numpy_name(element), "shape": list(shape)}
        for tensor in described or []
        for element, shape in tensor.items()
    ]


def numpy_name(element: str) -> str:
    """What NumPy calls an element type of ONNX."""
    return {"float": "float32", "double": "float64"}.get(element, element)


def read_request() -> Request:
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            raise RunnerError("request", "standard input ended before the request did")
        line += chunk
    try:
        request = Request(**json.loads(line.decode("utf-8")))
    except (TypeError, ValueError) as error:
        raise RunnerError("request", f"the request cannot be read: {error}") from error
    if request.protocol != PROTOCOL:
        raise RunnerError("request", f"protocol {request.protocol} asked, {PROTOCOL} expected")
    return request


def end_with_the_listener() -> None:
    """Leave at once when standard input ends. The blocked read costs the measurement nothing."""

    def wait() -> None:
        while os.read(0, 1 << 16):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def find_runtime(model: str, wanted: str | None) -> tuple[str, str, Any]:
    """Name, version and module of the runtime for this file.

    Only a missing package means "not installed"; one that is there and broken (NumPy 2 under
    tflite-runtime, a too old libc) says itself what is wrong.
    """
    table = ONNX if model.endswith(".onnx") else TFLITE
    if wanted is not None and wanted not in table:
        raise RunnerError("runtime", f"{wanted} does not read {Path(model).name}")
    for name in [wanted] if wanted else list(table):
        _, package, module_name = table[name]
        # ONNX Runtime 1.31 and later connects to a telemetry host when it is imported without this.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name == package:
                continue
            raise RunnerError("runtime", f"{name} does not import: {error}") from error
        except Exception as error:
            raise RunnerError("runtime", f"{name} does not import: {error}") from error
        version = getattr(importlib.import_module(package), "__version__", "unknown")
        return name, str(version), module
    packages = " or ".join(table[n][0] for n in ([wanted] if wanted else table))
    raise RunnerError(
        "runtime",
        f"no {packages} under {sys.executable}: install it there with pip, or name another Python",
    )


def make_inputs(model: TfliteModel | OnnxModel, request: Request) -> list[Any]:
    """One array an input, contiguous, of the input's dtype."""
    import numpy

    if request.inputs is None:
        # RandomState's stream is frozen: every NumPy gives every device the same values.
        random = numpy.random.RandomState(request.seed)
        return [structured(random, name, shape, dtype) for name, shape, dtype in model.inputs]
    try:
        with numpy.load(request.inputs, allow_pickle=False) as archive:
            given = {name: archive[name] for name in archive.files}
    except ValueError as error:
        raise RunnerError("input", "--inputs is no .npz file of plain arrays") from error
    if len(given) == len(model.inputs) == 1:
        given = {model.inputs[0][0]: next(iter(given.values()))}
    arrays = []
    for name, shape, dtype in model.inputs:
        if name not in given:
            raise RunnerError("input", f"--inputs has no {name!r} but {list(given)}")
        array = given[name]
        swapped = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
        if name in request.channels_first and fits(swapped, shape):
            array = swapped
        if not fits(array, shape) or array.dtype != numpy.dtype(dtype):
            advice = "give it that type and shape"
            if not fits(array, shape) and fits(swapped, shape):
                advice = "give this file NHWC, or measure it in its bundle, which tells the layouts"
            raise RunnerError(
                "input",
                f"{name!r} of --inputs is {array.dtype} {list(array.shape)}, "
                f"the model takes {numpy.dtype(dtype)} {shape}; {advice}",
            )
        arrays.append(numpy.ascontiguousarray(array))
    return arrays


def fits(array: Any, shape: list[int]) -> bool:
    """Whether an array has the shape of an input, in which -1 is any size."""
    return len(shape) == array.ndim and all(n in (-1, m) for n, m in zip(shape, array.shape))


def structured(random: Any, name: str, shape: list[int], dtype: Any) -> Any:
    """Blocks of eight with fine noise on them: like an image, neither flat nor white.

    Integer arithmetic, so that every device computes the same values. Floats lie in [-1, 1),
    8-bit codes span their type, wider integers are 0 or 1 (they are mostly indices).
    """
    import numpy

    shape = [1 if axis == 0 and size == -1 else size for axis, size in enumerate(shape)]
    if -1 in shape:
        raise RunnerError("input", f"input {name!r} has an open shape {shape}: give real inputs")
    try:
        kind = numpy.dtype(dtype)
    except TypeError as error:
        raise RunnerError("input", f"input {name!r} is of type {dtype}: NumPy has none") from error
    if kind.kind not in "fiub":
        raise RunnerError("input", f"input {name!r} is of type {kind}: give real inputs")
    coarse = random.randint(-104, 104, size=[-(-size // 8) for size in shape])
    for axis, size in enumerate(shape):
        coarse = numpy.take(coarse, numpy.arange(size) // 8, axis=axis)
    codes = coarse + random.randint(-24, 24, size=shape)
    if kind.kind == "f":
        return (codes / 128.0).astype(kind)
    if kind.itemsize == 1 and kind.kind in "iu":
        return (codes + (128 if kind.kind == "u" else 0)).astype(kind)
    return (codes > 0).astype(kind)


def timed(infer: Callable[[], object], runs: int) -> list[int]:
    """The duration of each of ``runs`` inferences in nanoseconds."""
    clock = time.perf_counter_ns
    samples = [0] * runs
    for index in range(runs):
        begin = clock()
        infer()
        samples[index] = clock() - begin
    return samples


def runs_within(nanoseconds: float, sample: float) -> int:
    """How many inferences of ``sample`` ns fill the time; at least one, at most a batch."""
    return max(1, min(BATCH_RUNS, int(nanoseconds / max(sample, 1))))


def warm_up(infer: Callable[[], object], first: int, request: Request) -> dict[str, Any]:
    """Infer until time and runs are reached and two neighboring rounds have the same median."""
    begin = time.perf_counter_ns()
    wanted = request.warmup_seconds * 1e9
    runs, elapsed, median, stable = 0, 0, float(first), False
    while wanted or request.warmup_runs:
        samples = timed(infer, runs_within(wanted / WARMUP_ROUNDS, median))
        runs += len(samples)
        elapsed = time.perf_counter_ns() - begin
        before, median = median, statistics.median(samples)
        stable = abs(median - before) <= request.stability * before
        enough = elapsed >= wanted and runs >= request.warmup_runs
        if (enough and stable) or elapsed >= max(WARMUP_LIMIT * wanted, request.max_seconds * 1e9):
            break
    return {"runs": runs, "ns": elapsed, "stable": stable, "median_ns": int(median)}


def steady_state(
    infer: Callable[[], object], median: float, request: Request, emit: Events
) -> dict[str, Any]:
    """Infer and report batches until runs AND seconds are reached, or the time is up."""
    begin = time.perf_counter_ns()
    runs, elapsed, reading = 0, 0, request.reading_seconds * 1e9
    while True:
        missing = max(request.min_seconds * 1e9 - elapsed, (request.min_runs - runs) * median)
        missing = min(missing, request.max_seconds * 1e9 - elapsed)
        samples = timed(infer, runs_within(min(BATCH_NS, missing), median))
        emit("samples", ns=samples)
        runs += len(samples)
        elapsed = time.perf_counter_ns() - begin
        median = statistics.median(samples)
        complete = runs >= request.min_runs and elapsed >= request.min_seconds * 1e9
        over = complete or elapsed >= request.max_seconds * 1e9
        if request.reading_seconds and (elapsed >= reading or over):
            emit("reading", ns=elapsed, conditions=conditions(), watts=watts())
            reading = elapsed + request.reading_seconds * 1e9
        if over:
            return {"runs": runs, "ns": elapsed, "complete": complete}


def count_instructions(infer: Callable[[], object], path: str, runs: int) -> list[list[int | None]]:
    """Instructions of each of ``runs`` inferences, a list of classes each: the differences of the
    lines that the emulator appends to ``path`` at every mark. What the marks themselves execute is
    measured around nothing and taken off.
    """
    for index, work in enumerate([lambda: None, lambda: None, *[infer] * runs]):
        mark(2 * index)
        work()
        mark(2 * index + 1)
    lines = [line.split()[1:] for line in (read_text(path) or "").splitlines()]
    if len(lines) != 2 * (runs + 2):
        raise RunnerError("counts", f"the emulator wrote {len(lines)} lines into {path}")
    _, empty, *counts = [
        [None if b == "-" else int(b) - int(a) for a, b in zip(before, after)]
        for before, after in zip(lines[::2], lines[1::2])
    ]
    return [
        [None if b is None or a is None else max(0, b - a) for a, b in zip(empty, count)]
        for count in counts
    ]


def mark(tag: int) -> None:
    """Ask the emulator for a line; anywhere else this is a system call that fails."""
    with contextlib.suppress(OSError):
        os.getpriority(MARK, tag)


def read_text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return None


def machine() -> dict[str, Any]:
    """What does not change while we measure."""
    cpu = None
    for line in (read_text("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            cpu = value.strip()
            break
    memory = (read_text("/proc/meminfo") or "").split()
    return {
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()).strip(),
        "board": read_text("/proc/device-tree/model"),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)),
        "memory_bytes": int(memory[1]) * 1024 if memory[:1] == ["MemTotal:"] else None,
        "governor": read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    }


def conditions() -> dict[str, Any]:
    """What may change while we measure: read before and after, never during."""
    frequencies = []
    for core in sorted(os.sched_getaffinity(0)):
        text = read_text(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")
        if text and text.isdigit():
            frequencies.append(int(text) * 1000)
    temperature = read_text("/sys/class/thermal/thermal_zone0/temp")
    ticks = [int(t) for t in (read_text("/proc/stat") or "cpu").split("\n")[0].split()[1:9]]
    tick = os.sysconf("SC_CLK_TCK")
    user, nice, system, _, _, irq, soft_irq, steal = ticks or [0] * 8
    return {
        "load_average": os.getloadavg()[0],
        "frequencies_hz": frequencies,
        "temperature_c": int(temperature) / 1000 if temperature else None,
        "throttled": read_text(next(map(str, Path("/sys/devices/platform").glob(THROTTLED)), "")),
        "own_cpu_seconds": time.process_time(),
        "all_cpu_seconds": (user + nice + system + irq + soft_irq) / tick,
        "stolen_seconds": steal / tick,
        "peak_rss_bytes": peak_rss(),
    }


def watts() -> float | None:
    """Power of the rails that a Raspberry Pi 5's power chip measures, summed: those that tell both
    a current and a voltage. USB devices and the chip's own losses are not among them.
    """
    if shutil.which("vcgencmd") is None:
        return None
    command = ["vcgencmd", "pmic_read_adc"]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    rails = re.findall(
        r"(\w+)_[AV] (current|volt)\(\d+\)=([\d.]+)", done.stdout.decode("ascii", "replace")
    )
    amperes = {name: float(value) for name, kind, value in rails if kind == "current"}
    volts = {name: float(value) for name, kind, value in rails if kind == "volt"}
    powers = [amperes[name] * volts[name] for name in amperes if name in volts]
    return sum(powers) if powers else None


def peak_rss() -> int | None:
    """The most memory that this process ever had in use, in bytes."""
    status = (read_text("/proc/self/status") or "").split()
    return int(status[status.index("VmHWM:") + 1]) * 1024 if "VmHWM:" in status else None


def describe(name: str, array: Any) -> dict[str, Any]:
    data = array.tobytes()
    return {
        "name": name,
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "sha256": hashlib.sha256(data).hexdigest(),
        "base64": base64.b64encode(data).decode("ascii") if len(data) <= INLINE_BYTES else None,
    }


def is_emulated() -> bool:
    """Whether QEMU translates this program for another processor. It makes up what a program reads
    of itself under /proc/self; a thread's files are the kernel's own, and show QEMU's code.
    """
    maps = (read_text("/proc/thread-self/maps") or "").splitlines()
    return any(Path(line.split()[-1]).name.startswith("qemu") for line in maps if line)


def take_cores(cores: list[int]) -> None:
    """Run on these alone. The system takes those that are there and is silent about the rest."""
    usable = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):  # raised if none is there
        os.sched_setaffinity(0, cores)
        usable |= os.sched_getaffinity(0)
    missing = sorted(set(cores) - usable)
    if missing:
        raise RunnerError(
            "affinity",
            f"it has no CPU {', '.join(map(str, missing))}; name some of "
            f"{', '.join(map(str, sorted(usable)))}",
        )


def measure(request: Request, emit: Events, profile: str | None = None) -> None:
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
            model = OnnxModel(module, request.model, request.threads, profile)
        else:
            model = TfliteModel(module, request.model, request.threads)
    except MemoryError:
        raise
    except Exception as error:
        raise RunnerError("model", f"{runtime} {version} cannot load it: {error}") from error
    loaded = time.perf_counter_ns() - begin
    delegates = None
    if request.operators and isinstance(model, TfliteModel):
        delegates = model.delegates()
    emit("load", ns=loaded, delegates=delegates)
    try:
        model.feed(make_inputs(model, request))
    except (OSError, ValueError) as error:
        raise RunnerError("input", error) from error
    infer = model.inference()
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
                "QEMU emulates this machine, so its times mean nothing; count instructions with "
                "--device emulated:pi3, emulated:pi4 or emulated:pi5",
            )
        warmup = warm_up(infer, first, request)
        emit("warmup", conditions=conditions(), **warmup)
        if isinstance(model, OnnxModel) and request.operators:
            timed(infer, request.min_runs)
            emit("operators", operators=model.operators(request.min_runs))
            return
        steady = steady_state(infer, warmup["median_ns"], request, emit)
    except (MemoryError, RunnerError):
        raise
    except Exception as error:
        raise RunnerError("inference", f"{runtime} {version} failed: {error}") from error
    emit("done", conditions=conditions(), **steady)


def main() -> NoReturn:
    emit = Events()
    try:
        request = read_request()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.alarm(request.deadline_seconds)
        end_with_the_listener()
        if request.log is not None:
            emit.also_to(request.log)
        if request.operators:
            with tempfile.TemporaryDirectory() as folder:
                measure(request, emit, folder + "/profile")
        else:
            measure(request, emit)
    except RunnerError as error:
        emit("error", kind=error.kind, message=str(error))
        os._exit(1)
    except MemoryError:
        emit("error", kind="memory", message="out of memory; free some, or use a smaller model")
        os._exit(1)
    except OSError as error:
        emit("error", kind="system", message=str(RunnerError("system", error)))
        os._exit(1)
    # Native destructors have nothing to say any more, and some crash at exit.
    os._exit(0)


if __name__ == "__main__":
    main()
