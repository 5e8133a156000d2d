"""Look at a page in a headless Chromium."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

MEASURE = """<!doctype html><body><script>
const frame = document.createElement('iframe');
frame.width = {width}; frame.height = 2000; frame.src = 'page.html'; frame.style.border = '0';
frame.onload = () => {{
  const root = frame.contentDocument.documentElement;
  document.title = root.scrollWidth + ' of ' + root.clientWidth;
}};
document.body.append(frame);
</script>"""


def looked_at(folder: Path, width: int) -> None:
    """Assert that ``page.html`` of the folder is ``width`` wide, and that the console is empty."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    (folder / "measure.html").write_text(MEASURE.format(width=width))
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *("--allow-file-access-from-files", "--enable-logging=stderr", "--hide-scrollbars"),
            *(f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000"),
            f"--window-size={width + 40},2100",
            (folder / "measure.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert f"<title>{width} of {width}</title>" in done.stdout
    assert "CONSOLE" not in done.stderr
