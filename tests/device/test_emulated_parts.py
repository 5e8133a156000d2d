"""The emulated boards' parts that need no emulator."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv.cli.devices_command import command
from edgeconv.device import RunRequest, open_device
from edgeconv.device.emulated import (
    BOARDS,
    Cpu,
    EmulatedDevice,
    InstructionCounts,
    boards,
    requirements,
    session,
)
from edgeconv.device.emulated.server import HOST
from edgeconv.device.emulated.sysroot import COUNTER
from edgeconv.device.emulated.userland import ENVIRONMENTS, WHEELS
from edgeconv.device.facts import ARM_PARTS
from edgeconv.device.messages import Instructions
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.runner import counting
from support.tiny_models import write_tflite

pytestmark = pytest.mark.device


@pytest.mark.parametrize("name", BOARDS)
def test_cpuinfo_names_the_core_that_runs(name: str, tmp_path: Path) -> None:
    board = BOARDS[name]
    boards.write_system_files(board, tmp_path)
    text = (tmp_path / "proc" / "cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in text.splitlines() if line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    assert ARM_PARTS[fields["CPU part"]].lower() == board.cpu.value
    assert ("asimddp" in fields["Features"]) == (board.cpu is Cpu.A76)
    assert fields["Model"].endswith("(emulated)")
    assert text.count("processor") == boards.CORES


def test_every_core_has_a_board() -> None:
    """Boards with the same core and system files execute the same instructions."""
    for board in BOARDS.values():
        first = boards.board_with(board.cpu)
        same = ("cpu", "architecture", "features", "part", "variant", "revision")
        assert [getattr(first, name) for name in same] == [getattr(board, name) for name in same]


@pytest.mark.parametrize(("name", "words"), [("zero2w", 8), ("zero2w-32", 7)])
def test_the_zero_2_w(tmp_path: Path, name: str, words: int) -> None:
    """A Cortex-A53 at 1 GHz with 512 MB, with programs of 64 or of 32 bits."""
    boards.write_system_files(BOARDS[name], tmp_path)
    proc, sys = tmp_path / "proc", tmp_path / "sys"
    assert "MemTotal: 524288 kB" in (proc / "meminfo").read_text()
    assert f"CPU architecture: {words}" in (proc / "cpuinfo").read_text()
    model = (sys / "firmware/devicetree/base/model").read_text()
    assert model == "Raspberry Pi Zero 2 W Rev 1.0 (emulated)\0"
    highest = sys / "devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"
    assert highest.read_text() == "1000000\n"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("emulated:", "use pi3, pi3-32, zero2w, zero2w-32, pi4, pi5"),
        ("emulated:pi9", "did you mean 'pi5' or 'pi4' or 'pi3'?"),
        ("emulated:../pi4", "did you mean 'pi4'?"),
    ],
)
def test_no_such_board(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(hint)):
        open_device(name)


def test_what_is_missing_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = requirements._find
    monkeypatch.setattr(
        requirements, "_find", lambda name: None if "qemu" in name else installed(name)
    )
    with pytest.raises(UsageError) as caught:
        requirements.check_this_machine()
    assert "--no-install-recommends qemu-user qemu-user-static" in str(caught.value)
    assert "\n" not in caught.value.message


def test_another_qemu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    newer = tmp_path / "qemu-aarch64"
    newer.write_text("#!/bin/sh\necho 'qemu-aarch64 version 10.0.2 (Debian 1:10.0.2)'\n")
    newer.chmod(0o755)
    monkeypatch.setattr(requirements, "_find", lambda name: str(newer))
    with pytest.raises(UsageError, match=r"is version 10\.0\nhint: install QEMU 6 to 8"):
        requirements.check_this_machine()


def test_a_system_without_user_namespaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unshare = tmp_path / "unshare"
    unshare.write_text("#!/bin/sh\necho 'unshare: Operation not permitted' >&2\nexit 1\n")
    unshare.chmod(0o755)
    monkeypatch.setattr(requirements, "_find", lambda name: str(unshare))
    said = requirements.session_obstacle()
    assert said == "this system forbids user namespaces (unshare: Operation not permitted)"


def test_every_wheel_has_a_hash() -> None:
    for environments in ENVIRONMENTS.values():
        for _, wheels, _ in environments:
            lines = (WHEELS / wheels).read_text().splitlines()
            pinned = [line for line in lines if not line.startswith("#")]
            assert pinned
            assert all("==" in line and "--hash=sha256:" in line for line in pinned)


def test_the_least_disturbed_inference_counts() -> None:
    rows = ((9, 1, 1, 1, 0, 0), (8, 1, 1, 1, 0, 0))
    assert InstructionCounts.of(Instructions(event="instructions", counts=rows)).total == 8
    with pytest.raises(MeasurementError):
        InstructionCounts.of(Instructions(event="instructions", counts=((9, 1),)))
    with pytest.raises(MeasurementError):
        InstructionCounts.of(Instructions(event="instructions", counts=((None,) * 6,)))


def test_the_kernel_is_told_the_architecture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The line of binfmt_misc holds sixteen bytes of the ELF header, type and machine."""
    monkeypatch.setattr(session, "BINFMT", tmp_path)
    monkeypatch.setattr(session, "mount", lambda *arguments: None)
    names = ("root", "sysroot", "home", "interpreter", "qemu", "counter", "host_libraries")
    paths = dict.fromkeys(names, "/usr/bin/qemu-aarch64")
    session.register(session.Settings(**paths, python="", cpu="", elf_class=2, elf_machine=0xB7))
    name, kind, offset, magic, mask, interpreter, flags = (
        (tmp_path / "register").read_text().removeprefix(":").split(":")
    )
    assert (name, kind, offset, flags) == ("qemu-aarch64", "M", "", "OF")
    assert interpreter == "/usr/bin/qemu-aarch64"
    assert magic.count("\\x") == mask.count("\\x") == 20
    assert magic.startswith("\\x7f\\x45\\x4c\\x46\\x02")
    assert magic.endswith("\\x02\\x00\\xb7\\x00")


# Words as LLVM's assembler writes them, and their classes beside the total.
ENCODINGS = {
    0xF9400020: ("ldr x0, [x1]", "load_store"),
    0xACC10440: ("ldp q0, q1, [x2], #32", "load_store"),
    0x4C40A060: ("ld1 {v0.16b, v1.16b}, [x3]", "load_store"),
    0xFC1F0FE8: ("str d8, [sp, #-16]!", "load_store"),
    0x4EA28420: ("add v0.4s, v1.4s, v2.4s", "simd"),
    0x6E22DC20: ("fmul v0.4s, v1.4s, v2.4s", "simd"),
    0x0E228020: ("smlal v0.8h, v1.8b, v2.8b", "simd"),
    0x6F420020: ("mla v0.8h, v1.8h, v2.h[0]", "simd"),
    0x4E22CC20: ("fmla v0.4s, v1.4s, v2.4s", "simd fmla"),
    0x4E420C20: ("fmla v0.8h, v1.8h, v2.8h", "simd fmla"),
    0x4FA21020: ("fmla v0.4s, v1.4s, v2.s[1]", "simd fmla"),
    0x4F321820: ("fmla v0.8h, v1.8h, v2.h[7]", "simd fmla"),
    0x1F020C20: ("fmadd s0, s1, s2, s3", "simd fmla"),
    0x4E829420: ("sdot v0.4s, v1.16b, v2.16b", "simd dot_product"),
    0x2E829420: ("udot v0.2s, v1.8b, v2.8b", "simd dot_product"),
    0x4FA2E820: ("sdot v0.4s, v1.16b, v2.4b[3]", "simd dot_product"),
    0x6F82E020: ("udot v0.4s, v1.16b, v2.4b[0]", "simd dot_product"),
    0x4E82A420: ("smmla v0.4s, v1.16b, v2.16b", "simd matrix"),
    0x6E82A420: ("ummla v0.4s, v1.16b, v2.16b", "simd matrix"),
    0x4E82AC20: ("usmmla v0.4s, v1.16b, v2.16b", "simd matrix"),
    0x8B020020: ("add x0, x1, x2", ""),
    0x9B027C20: ("mul x0, x1, x2", ""),
    0x54FFFFC1: ("b.ne #-8", ""),
    0xD503201F: ("nop", ""),
}
HARNESS = """
#include "COUNTER"
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id i, on_translation *f) {}
void qemu_plugin_register_vcpu_syscall_cb(plugin_id i, on_syscall *f) {}
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *t, int o, void *p, uint64_t a)
{}
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *t) { return 0; }
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *t, size_t n)
{ return 0; }
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *i) { return 0; }
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        uint32_t c[CLASSES] = {0};
        classify(strtoul(argv[i], 0, 16), c);
        for (int k = 1; k < CLASSES; k++)
            printf("%u", c[k]);
        puts("");
    }
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_classes_of_encodings(tmp_path: Path) -> None:
    source, program = tmp_path / "harness.c", tmp_path / "harness"
    source.write_text(HARNESS.replace("COUNTER", str(COUNTER)))
    strict = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter")
    subprocess.run(["gcc", *strict, "-o", program, source], check=True)
    words = [f"{word:x}" for word in ENCODINGS]
    reported = subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout
    classes = tuple(InstructionCounts.model_fields)[1:]
    for (text, wanted), line in zip(ENCODINGS.values(), reported.split(), strict=True):
        found = [name for name, digit in zip(classes, line, strict=True) if digit == "1"]
        assert " ".join(found) == wanted, text


def test_marks_are_taken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that needs 10 instructions a mark and 1000 an inference, and knows no classes."""
    counts, executed = tmp_path / "counts", [0]

    def mark(tag: int) -> None:
        executed[0] += 10
        with counts.open("a") as file:
            file.write(f"{tag} {executed[0]} -\n")

    def infer() -> None:
        executed[0] += 1000

    monkeypatch.setattr(counting, "mark", mark)
    assert counting.count_instructions(infer, str(counts), 3) == [[1000, None]] * 3


def test_counting_without_an_emulator(tmp_path: Path) -> None:
    request = RunRequest(
        model=str(write_tflite(tmp_path / "m.tflite")), counts=str(tmp_path / "counts")
    )
    with pytest.raises(MeasurementError, match="the emulator wrote 0 lines"):
        list(open_device("local").run(request))


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs ssh")
def test_a_board_that_was_taken_down(tmp_path: Path) -> None:
    """The advice once was to start its SSH server."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        config = tmp_path / "config"
        port = closed.getsockname()[1]
        config.write_text(f"Host {HOST}\n HostName 127.0.0.1\n Port {port}\n")
        device = EmulatedDevice("emulated:pi5", HOST, board=BOARDS["pi5"], config=config)
        with pytest.raises(MeasurementError) as caught:
            device.shell("true")
    said = "emulated:pi5: it is not up\nhint: start it with `edgeconv devices up pi5`"
    assert str(caught.value) == said


def test_a_board_is_not_provisioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its runtimes, and is not even started to say so."""
    monkeypatch.setattr(EmulatedDevice, "parse", None)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    names = tmp_path / "edgeconv" / "devices.toml"
    names.parent.mkdir()
    names.write_text('[devices]\nboard = "emulated:pi4"\n')
    for name in ("emulated:pi4", "board"):
        with pytest.raises(
            UsageError, match=f"^{name} has its runtimes\nhint: .*probe emulated:pi4"
        ):
            CliRunner().invoke(command, ["provision", name], catch_exceptions=False)


def test_help_names_the_boards() -> None:
    (up,) = (sub for name, sub in command.commands.items() if name == "up")
    assert all(name in (up.help or "") for name in BOARDS)
