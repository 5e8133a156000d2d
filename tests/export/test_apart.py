"""What ends a process is an error of the one that tried it, and nothing else."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from edgeconv.bundle import TensorInfo
from edgeconv.errors import EdgeconvError
from edgeconv.export.apart import demand_survival
from edgeconv.export.runtimes import LiteRtRunner
from edgeconv.export.tflite.graph import Graph, Operator, Quantization, Tensor
from edgeconv.export.tflite.writer import write


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGFPE])
def test_a_signal_is_an_error_that_names_it(number: signal.Signals) -> None:
    with pytest.raises(EdgeconvError, match=rf"m on LiteRT ends the whole .*{number.name}"):
        demand_survival("m on LiteRT", lambda: os.kill(os.getpid(), number))


def test_an_exception_is_left_to_this_process() -> None:
    demand_survival("m", lambda: 1 / 0)


def test_the_copy_says_nothing_and_cleans_up_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def attempt() -> None:
        os.write(1, b"F0000 scale check")
        os.write(2, b"F0000 scale check")
        (tmp_path / "there").touch()
        raise SystemExit(3)

    demand_survival("m", attempt)
    assert (tmp_path / "there").exists()
    assert capfd.readouterr() == ("", "")


def test_a_file_whose_scales_end_litert(tmp_path: Path) -> None:
    """XNNPACK's ADD checks the ratio of its scales by ending the process."""
    shape, numpy_int8 = (1, 4), np.dtype("int8")
    coarse, fine = Quantization(1e10, 0), Quantization(1e-10, 0)
    x = Tensor("x", shape, numpy_int8, None, coarse)
    y = Tensor("y", shape, numpy_int8, None, fine)
    add = Operator("ADD", [x, x], [y], {"potScaleInt16": False})
    path = tmp_path / "m.tflite"
    path.write_bytes(write(Graph([x], [y], [add])))
    (info,) = [TensorInfo(name="x", shape=shape, dtype="int8")]
    with pytest.raises(EdgeconvError, match=r"m\.tflite ends the whole process \(SIG"):
        demand_survival("m.tflite", lambda: LiteRtRunner(path, [info], [info]))
