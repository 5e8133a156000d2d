"""``devices runner`` writes what docs/runner.md says: a file that measures, without edgeconv."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv.cli import cli
from edgeconv.device.messages import RunRequest
from support.tiny_models import write_tflite

PAGE = Path(__file__).parents[2] / "docs" / "runner.md"


@pytest.mark.slow
def test_the_request_of_the_page_is_measured(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    request = json.loads(block)
    RunRequest.model_validate(request)
    model = write_tflite(tmp_path / request["model"])
    # The page's own fields, with less time.
    quick = {"model": str(model), "min_seconds": 0.01, "warmup_seconds": 0.01}
    out = tmp_path / "edgeconv-runner.pyz"
    CliRunner().invoke(cli, ["devices", "runner", "-o", str(out)], catch_exceptions=False)
    with subprocess.Popen(
        [sys.executable, "-I", str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request | quick) + "\n")
        process.stdin.flush()
        events = [json.loads(line)["event"] for line in process.stdout]
        process.stdin.close()
    assert events[0] == "start"
    assert events[-1] == "done"
    assert set(events) == {"start", "load", "first", "outputs", "warmup", "samples", "done"}
