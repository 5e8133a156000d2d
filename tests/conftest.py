"""Set up the environment of the tests, and the fixtures that all of them may use."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]
OldRuntime = Callable[[bytes, Mapping[str, NDArray[np.generic]]], Arrays]

# The suite runs as many processes as there are cores: a second thread in one of them only waits.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's background job ignores Ctrl-C and hands that down to the processes under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# Variables of the user's shell that change what programs print or where they look.
USERS_OWN = (
    *("CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PY_COLORS"),
    *("TTY_COMPATIBLE", "TTY_INTERACTIVE", "LANGUAGE", "TZ", "SSH_AUTH_SOCK", "EDGECONV_HISTORY"),
    *("PYTHONHOME", "PYTHONIOENCODING", "PYTHONOPTIMIZE", "PYTHONPATH", "PYTHONSTARTUP"),
    *("PYTHONUNBUFFERED", "PYTHONWARNINGS", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "PIP_USER"),
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no module that `-m 'not slow'` leaves out as a whole: importing takes longer."""
    terms = re.fullmatch(r"not \w+(?: and not \w+)*", config.option.markexpr)
    if collection_path.suffix != ".py" or terms is None:
        return None
    marks = re.search(r"^pytestmark = (\[[^\]]*\]|.*)", collection_path.read_text(), re.MULTILINE)
    own = re.findall(r"pytest\.mark\.(\w+)", marks[1]) if marks else []
    return True if set(own) & set(terms[0].split()) - {"and", "not"} else None


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the run a home of its own, so that the user's files and settings change no result.

    The lock of this machine is in there too: other runs may measure at the same time. The cache
    stays the user's (a userland in it is named after all that it is made from), and so does the
    way to the package index.
    """
    home = tmp_path_factory.mktemp("user")
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    pip = os.environ.get("PIP_CONFIG_FILE") or str(config / "pip" / "pip.conf")
    umask = os.umask(0o022)
    with pytest.MonkeyPatch.context() as patch:
        # A hook of git that runs the tests names its own repository in GIT_DIR.
        for name in (*USERS_OWN, *(name for name in os.environ if name.startswith("GIT_"))):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", cache)
        patch.setenv("PIP_CONFIG_FILE", pip)
        patch.setenv("TERM", "dumb")
        # How many lines say how far a command is depends on the load of the machine.
        patch.setenv("EDGECONV_PROGRESS_SECONDS", "0")
        patch.setenv("LC_ALL", "C.UTF-8")
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
            folder = home / name.lower()
            folder.mkdir(mode=0o700)
            patch.setenv(name, str(folder))
        patch.setenv("EDGECONV_LOCK", str(home / "lock"))
        patch.setenv("TORCH_HOME", str(home / "torch"))
        yield
    os.umask(umask)


@pytest.fixture(autouse=True)
def _own_random_numbers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test draw the same numbers whatever ran before it: pytest-xdist decides the order."""
    if hasattr(request.module, "RNG"):
        monkeypatch.setattr(request.module, "RNG", np.random.default_rng(0))
    np.random.seed(0)
    if "torch" in sys.modules:
        # Not `torch.manual_seed`, which formats the stack for every kind of device.
        sys.modules["torch"].default_generator.manual_seed(0)


@pytest.fixture(scope="session")
def tflite214(tmp_path_factory: pytest.TempPathFactory) -> OldRuntime:
    """Run TFLite files on tflite-runtime 2.14, the last release for 32-bit ARM.

    It needs NumPy 1.x and so a Python of its own, named by EDGECONV_TFLITE214.
    """
    python = os.environ.get("EDGECONV_TFLITE214", "")
    if not python or not Path(python).is_file():
        pytest.skip("EDGECONV_TFLITE214 names no Python with tflite_runtime 2.14; see `make test`")
    script = Path(__file__).parent / "support" / "run_tflite214.py"
    folder = tmp_path_factory.mktemp("tflite214")

    def run(data: bytes, feeds: Mapping[str, NDArray[np.generic]]) -> Arrays:
        model, given, got = (folder / name for name in ("model.tflite", "in.npz", "out.npz"))
        model.write_bytes(data)
        np.savez(given, **feeds)  # type: ignore[arg-type]
        done = subprocess.run(
            [python, script, model, given, got], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        with np.load(got) as results:
            return dict(results)

    return run
