"""Executed instructions of an inference: one process under QEMU, no server, no root rights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeconv.device.archive import runner_archive
from edgeconv.device.emulated.boards import ARM64, Board, Cpu, board_with
from edgeconv.device.emulated.cache import cache_folder
from edgeconv.device.emulated.requirements import program
from edgeconv.device.emulated.sysroot import ensure_counter, ensure_sysroot
from edgeconv.device.emulated.userland import environment
from edgeconv.device.events import events_of
from edgeconv.device.messages import Count, Instructions, Message, RunRequest, Runtime
from edgeconv.device.process import LineProcess
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.limits import DEVICE_BYTES
from edgeconv.scratch import temporary_folder

SECONDS = 3600  # large networks take minutes


class InstructionCounts(Message):
    """Executed Arm instructions: a cost, not a latency, for an emulator has no caches or pipeline.

    The classes overlap: ``fmla`` (floating-point multiply-add), ``dot_product`` (SDOT, UDOT) and
    ``matrix`` (SMMLA and its kin) are also ``simd``, which is all work on SIMD and floating-point
    registers but loads and stores. On 32-bit boards only the total is known.
    """

    total: Count
    load_store: Count | None = None
    simd: Count | None = None
    fmla: Count | None = None
    dot_product: Count | None = None
    matrix: Count | None = None

    @classmethod
    def of(cls, event: Instructions) -> InstructionCounts:
        """Return the counts of the inference with the fewest, which was disturbed least.

        Raises:
            MeasurementError: The event has other columns.
        """
        try:
            every = [
                cls(**dict(zip(cls.model_fields, row, strict=True)))  # type: ignore[arg-type]
                for row in event.counts
            ]
        except ValueError as error:
            raise MeasurementError("the emulator counts other classes than expected") from error
        return min(every, key=lambda counts: counts.total)


def count_instructions(
    model: Path, cpu: Cpu, runtime: Runtime | None = None, *, runs: int = 1, seed: int = 0
) -> InstructionCounts:
    """Count the instructions of one inference after the first, on one thread.

    The inputs are structured values. Counts repeat to 0.1 %, and several calls may run at the same
    time.

    Args:
        model: An .onnx or .tflite file.
        cpu: A 64-bit one; it decides the instructions at hand, and the kernels that libraries
            choose. QEMU does not redirect all of a 32-bit program's system calls to its userland,
            so 32-bit boards are counted only over SSH (``EmulatedDevice``).
        runtime: None is the usual one that reads the file.
        runs: Inferences to count; the lowest count is returned.
        seed: Seed of the inputs.

    Raises:
        UsageError: Packages of this machine are missing, or the CPU is a 32-bit one.
        MeasurementError: The model could not be run.
        EdgeconvError: A download for the emulated userland failed.
    """
    board = board_with(cpu)
    if board.architecture is not ARM64:
        raise UsageError(
            f"{cpu.value} is a 32-bit core, which is counted only over SSH",
            hint=f"use the device emulated:{board.name}",
        )
    with temporary_folder() as folder, runner_archive() as runner:
        counts = folder / "counts"
        request = RunRequest(
            model=str(model.absolute()),
            runtime=runtime,
            warmup_seconds=0,
            min_runs=runs,
            deadline_seconds=SECONDS,
            seed=seed,
            counts=str(counts),
        )
        command = (*_python(board, runtime, counts), str(runner))
        line = request.model_dump_json().encode() + b"\n"
        seconds = SECONDS + 60
        with LineProcess(command, line, seconds=seconds, limit=DEVICE_BYTES) as process:
            for event in events_of(process, f"emulated {board.name}"):
                if isinstance(event, Instructions):
                    return InstructionCounts.of(event)
    raise MeasurementError(f"{model} on the emulated {board.name}: nothing was counted")


def _python(board: Board, runtime: Runtime | None, counts: Path) -> Sequence[str]:
    """Return the command that starts the board's Python under the QEMU that counts."""
    sysroot = ensure_sysroot(board)
    python = environment(board.architecture, runtime)
    # A file that is not there yet is made outside the userland: without a folder of its own, the
    # emulated Python would leave bytecode among the modules of this machine's.
    bytecode = f"pycache_prefix={cache_folder() / 'bytecode'}"
    return (
        *("env", "-i", "PATH=/usr/bin", program(board.architecture.qemu)),
        *("-cpu", board.cpu.value, "-L", str(sysroot), "-0", python),
        *("-plugin", f"{ensure_counter()},out={counts}"),
        *(f"{sysroot}{python}", "-I", "-X", bytecode),
    )
