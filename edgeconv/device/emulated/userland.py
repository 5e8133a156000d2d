"""A board's userland on disk: Debian packages and runtimes of its architecture, unpacked.

It is made without root rights and without running a line of foreign code: apt fetches the packages
that this machine's own configuration trusts (it checks their signatures), dpkg-deb unpacks them,
and no maintainer script runs. Wheels come through pip and must have the hashes in ``wheels/``. It
is made once: the folder is named after a digest of all that it is made from, this file included.
"""

from __future__ import annotations

import logging
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgeconv.device.emulated.boards import ARM64, ARMHF, Architecture
from edgeconv.device.emulated.cache import cache_folder, make_once, recipe
from edgeconv.device.emulated.requirements import check_this_machine, program
from edgeconv.device.messages import Runtime
from edgeconv.device.pip import pip
from edgeconv.errors import EdgeconvError

logger = logging.getLogger(__name__)

WHEELS = Path(__file__).with_name("wheels")
PYTHON = "python3.11"  # Debian 12's
PACKAGES = (
    *("base-files", "bash", "coreutils", "gawk", "grep", "gzip", "hostname", "libc-bin"),
    *("libstdc++6", "openssh-sftp-server", "procps", "python3-distutils", PYTHON),
    *("python3.11-venv", "sed", "tar", "util-linux"),
)
# Virtual environments under /opt of the userland: folder, wheels, whether Debian's NumPy is in it.
CURRENT, OLD = "current", "tflite-runtime"
ENVIRONMENTS = {
    ARM64: ((CURRENT, "arm64.txt", False), (OLD, "arm64-tflite-runtime.txt", False)),
    ARMHF: ((OLD, "armhf.txt", True),),
}
NUMPY_PACKAGES = {ARM64: (), ARMHF: ("python3-numpy",)}
# Where the session mounts what comes from outside: see session.py.
HOST_LIBRARIES = "/usr/lib/x86_64-linux-gnu"
MOUNT_POINTS = ("proc", "sys", "dev", "tmp", "root", "home/pi", "opt/emulator", "lib64")


def ensure_userland(architecture: Architecture) -> Path:
    """Return the folder of the userland, which is made where it is missing.

    Raises:
        UsageError: Packages of this machine are missing, or its pip.
        EdgeconvError: A download failed.
    """

    def make(folder: Path) -> None:
        check_this_machine()
        pip()  # before anything is downloaded
        logger.warning(
            "making the userland of an emulated Pi in %s, once (downloads 100 MB from Debian and "
            "the Python package index)",
            cache_folder(),
        )
        _unpack_packages(architecture, folder)
        _complete(architecture, folder)
        for name, wheels, system_packages in ENVIRONMENTS[architecture]:
            _make_environment(architecture, folder, name, WHEELS / wheels, system_packages)

    wheels = [WHEELS / name for _, name, _ in ENVIRONMENTS[architecture]]
    return make_once(architecture.debian, recipe(architecture, Path(__file__), *wheels), make)


def environment(architecture: Architecture, runtime: Runtime | None) -> str:
    """Return the path, on the board, of the Python that has the runtime (None: the usual one)."""
    old = architecture is ARMHF or runtime is Runtime.TFLITE_RUNTIME
    return f"/opt/{OLD if old else CURRENT}/bin/python3"


def environments(architecture: Architecture) -> tuple[str, ...]:
    """Return the paths, on the board, of all Pythons that have a runtime."""
    return tuple(f"/opt/{name}/bin/python3" for name, _, _ in ENVIRONMENTS[architecture])


def run_tool(command: Sequence[str | Path], what: str) -> None:
    """Run a program of this machine.

    Raises:
        EdgeconvError: It failed; its last words follow ``what``.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    logger.debug("%s%s", done.stdout, done.stderr)
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        words = " ".join((lines or ["it said nothing"])[-1].split())[:300]
        raise EdgeconvError(f"{what}: {words}", hint="see all that it said with --debug")


def _unpack_packages(architecture: Architecture, root: Path) -> None:
    """Fetch the packages and all that they depend on, and unpack them.

    apt reads this machine's sources and keys but has a state of its own, so that the system's apt
    and dpkg stay as they are.
    """
    with tempfile.TemporaryDirectory(prefix="apt-", dir=root) as name:
        state = Path(name)
        for folder in ("lists/partial", "cache/archives/partial", "state"):
            (state / folder).mkdir(parents=True)
        (state / "status").touch()
        options = {
            "APT::Architecture": architecture.debian,
            "APT::Architectures": architecture.debian,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Dir::State": state,
            "Dir::State::Lists": state / "lists",
            "Dir::State::status": state / "status",
            "Dir::Cache": state / "cache",
            "Debug::NoLocking": "true",
        }
        apt = [program("apt-get"), "-qq", *(f"-o{key}={value}" for key, value in options.items())]
        # Foreign sources of this machine may lack the architecture: what counts is that the
        # packages are found below.
        subprocess.run([*apt, "update"], capture_output=True, check=False)
        packages = (*PACKAGES, *NUMPY_PACKAGES[architecture])
        run_tool(
            [*apt, "install", "-y", "--download-only", *packages],
            f"apt cannot fetch Debian 12's packages for {architecture.debian}",
        )
        for folder in ("bin", "sbin", "lib"):
            (root / "usr" / folder).mkdir(parents=True)
            (root / folder).symlink_to(f"usr/{folder}")
        for package in sorted((state / "cache" / "archives").glob("*.deb")):
            _unpack(package, root)


def _unpack(package: Path, root: Path) -> None:
    """Unpack a package; unlike ``dpkg-deb -x``, keep the links that merge /bin with /usr/bin."""
    command = [program("dpkg-deb"), "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as source:
        tar = ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(root), "-f-"]
        done = subprocess.run(tar, stdin=source.stdout, capture_output=True, check=False)
        if done.returncode != 0 or source.wait() != 0:
            said = done.stderr.decode("utf-8", "replace")[-300:].strip()
            raise EdgeconvError(f"{package.name} cannot be unpacked: {said}")


def _complete(architecture: Architecture, root: Path) -> None:
    """Do what maintainer scripts would have done, as far as needed, and make the mount points."""
    for point in (*MOUNT_POINTS, HOST_LIBRARIES.lstrip("/")):
        (root / point).mkdir(parents=True, exist_ok=True)
    (root / "opt/emulator/qemu").touch()
    (root / "opt/emulator/counter.so").touch()
    etc = root / "etc"
    (etc / "passwd").write_text("root:x:0:0:pi:/home/pi:/bin/bash\n")
    (etc / "group").write_text("root:x:0:\n")
    for name, target in (("sh", "bash"), ("awk", "gawk"), ("python3", PYTHON)):
        link = root / "usr" / "bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    libraries = root / "usr" / "lib" / architecture.triple
    for name, folder in (("libblas.so.3", "blas"), ("liblapack.so.3", "lapack")):
        if (libraries / folder / name).exists():
            (libraries / name).symlink_to(f"{folder}/{name}")


def _make_environment(
    architecture: Architecture, root: Path, name: str, wheels: Path, system_packages: bool
) -> None:
    """Lay out a virtual environment by hand: none of its programs can run yet."""
    folder = root / "opt" / name
    (folder / "bin").mkdir(parents=True)
    for link in ("python", "python3"):
        # Relative, so that it also leads to this Python when seen from outside the userland.
        (folder / "bin" / link).symlink_to(f"../../../usr/bin/{PYTHON}")
    (folder / "pyvenv.cfg").write_text(
        f"home = /usr/bin\nversion = 3.11\n"
        f"include-system-site-packages = {str(system_packages).lower()}\n"
    )
    platforms = [arg for tag in architecture.wheel_platforms for arg in ("--platform", tag)]
    site_packages = folder / "lib" / PYTHON / "site-packages"
    run_tool(
        [
            *(*pip(), "install", "--quiet", "--disable-pip-version-check"),
            *("--target", str(site_packages), "--no-compile"),
            *("--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation", "cp"),
            *("--python-version", "3.11", "--abi", "cp311", "--abi", "abi3", "--abi", "none"),
            *(*platforms, "--requirement", str(wheels)),
        ],
        f"pip cannot install {wheels.stem} wheels",
    )
