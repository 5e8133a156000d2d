"""What an export reports while it runs: of the steps that take long, how much is done."""

from __future__ import annotations

from pathlib import Path

from edgeconv.export import export
from support.tiny_models import write_onnx


def test_the_checks_of_files_and_operators_are_counted(tmp_path: Path) -> None:
    reported: list[tuple[str, int, int]] = []
    bundle = export(
        write_onnx(tmp_path / "tiny.onnx"),
        out=tmp_path / "out",
        calibration="random",
        calibration_size=4,
        progress=lambda *report: reported.append(report),
    )
    files = len(bundle.manifest.artifacts)
    assert files == 4
    verified = [(done, total) for step, done, total in reported if step == "Verifying"]
    assert verified == [(done, files) for done in range(files)]
    checked = [report[1:] for report in reported if report[0] == "Checking the operators of int8"]
    assert checked == [(0, 3), (1, 3), (2, 3)]  # exact arithmetic, then each format
