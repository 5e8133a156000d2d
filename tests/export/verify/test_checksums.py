"""Every changed byte of a bundle is found, and every file that is missing or foreign."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeconv.bundle import COMPANION_NAMES, MANIFEST_NAME, REFERENCE_NAME, SUMS_NAME, Bundle
from edgeconv.checksums import check_checksums, write_checksums
from edgeconv.cli.verify_command import command
from edgeconv.errors import BundleError
from edgeconv.export import export
from edgeconv.export.verify.bundle import verify_bundle


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    return export(network, out=tmp_path_factory.mktemp("good") / "out", input_size=(1, 3))


def copied(good: Bundle, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good.path, folder)
    return folder


def verify(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    return (1 if result.exception else 0), str(result.exception or result.output)


def test_what_an_export_wrote_is_unchanged(good: Bundle) -> None:
    files = sorted(file.name for file in good.path.iterdir())
    assert list(check_checksums(good)) == files
    assert verify(good.path, "--quick") == (
        0,
        f"{good.path}: {len(files)} files are as the export wrote them\n"
        f"next: edgeconv verify {good.path}\n",
    )
    report = json.loads(verify(good.path, "--quick", "--json")[1])
    assert (report["unchanged"], report["artifacts"]) == (files, {})


def test_what_is_read_without_end_is_no_file(good: Bundle, tmp_path: Path) -> None:
    for name, make in (
        ("run.py", os.mkfifo),
        ("README.md", lambda path: path.symlink_to("/dev/zero")),
        ("reference.npz", os.mkdir),
    ):
        odd = copied(good, tmp_path / "odd") / name
        odd.unlink()
        make(odd)
        with pytest.raises(BundleError, match=f"{name} is not a file"):
            check_checksums(Bundle.load(odd.parent))


def test_names_in_any_script_are_read(tmp_path: Path) -> None:
    """As `--name` and networks in files with such names make them."""
    bundle = export(nn.ReLU(), out=tmp_path / "ü", name="ü_网络", input_size=(1, 3), formats="onnx")
    assert "ü_网络_float32.onnx" in check_checksums(bundle)
    sums = bundle.path / SUMS_NAME
    sums.write_bytes(sums.read_bytes().replace("ü".encode(), b"\xfc"))  # not UTF-8
    with pytest.raises(BundleError, match=f"{SUMS_NAME} was changed"):
        check_checksums(bundle)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_reads_them(good: Bundle) -> None:
    checked = ["sha256sum", "--check", "--strict", "--quiet", SUMS_NAME]
    assert subprocess.run(checked, cwd=good.path, capture_output=True).stdout == b""


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_changed_byte_is_found(
    tmp_path_factory: pytest.TempPathFactory, good: Bundle, data: st.DataObject
) -> None:
    folder = copied(good, tmp_path_factory.getbasetemp() / "changed")
    file = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(file.read_bytes())
    change = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    at = data.draw(st.integers(0, len(content) - 1))
    if change == "flip":
        content[at] ^= data.draw(st.integers(1, 255))
    elif change == "cut":
        del content[at:]
    else:
        content.insert(at, data.draw(st.integers(0, 255)))
    file.write_bytes(content)
    with pytest.raises(BundleError):
        verify_bundle(Bundle.load(folder), quick=True)


def test_the_changed_file_is_named(good: Bundle, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "out")
    text = (folder / MANIFEST_NAME).read_text()
    (folder / MANIFEST_NAME).write_text(text.replace('"pytorch"', '"PyTorch"'))
    assert verify(folder)[1].startswith(f"{folder / MANIFEST_NAME} was changed after the export")


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "the hash of a model": lambda data: data.replace(
        data[:1], b"0" if data[:1] != b"0" else b"1", 1
    ),
    "no last line": lambda data: data[: data.rstrip().rindex(b"\n") + 1],
    "a model is not listed": lambda data: data.split(b"\n", 4)[-1],
    "another name": lambda data: data.replace(b"run.py", b"run.px"),
    "twice": lambda data: data + data.splitlines(keepends=True)[-1],
    "no line break": lambda data: data[:-1],
    "other words": lambda data: b"# checked\n" + data,
    "nothing": lambda data: b"",
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_checksums_are_named_themselves(good: Bundle, tmp_path: Path, change: str) -> None:
    folder = copied(good, tmp_path / "out")
    sums = folder / SUMS_NAME
    data = sums.read_bytes()
    if change == "the hash of a model":
        at = data.index(b".onnx")
        at = data.rindex(b"\n", 0, at) + 1
        data = data[:at] + CHANGES[change](data[at:])
    else:
        data = CHANGES[change](data)
    assert data != sums.read_bytes()
    sums.write_bytes(data)
    said = verify(folder, "--quick")[1]
    if change == "no last line":  # of a file that only the checksums know
        assert said.startswith(f"{folder / 'runtime.py'} was changed after the export, or its line")
    else:
        assert said.startswith(f"{sums} was changed after the export")


@pytest.mark.parametrize("name", ["reference.npz", "run.py", "README.md", SUMS_NAME])
def test_a_missing_file_is_named(good: Bundle, tmp_path: Path, name: str) -> None:
    folder = copied(good, tmp_path / "out")
    (folder / name).unlink()
    assert verify(folder)[1].startswith(f"{folder / name} is missing from the bundle")


@pytest.mark.parametrize("kind", ["file", "folder", "hidden"])
def test_a_foreign_file_is_named(good: Bundle, tmp_path: Path, kind: str) -> None:
    folder = copied(good, tmp_path / "out")
    foreign = folder / (".notes" if kind == "hidden" else "notes.txt")
    foreign.mkdir() if kind == "folder" else foreign.write_text("mine")
    assert verify(folder)[1].startswith(f"{foreign} is not part of the bundle")
    assert foreign.exists()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to nothing"])
def test_what_is_no_file_is_named(good: Bundle, tmp_path: Path, kind: str) -> None:
    """And not read, which would never end."""
    file = copied(good, tmp_path / "out") / "run.py"
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero" if kind == "device" else tmp_path / "nowhere")
    assert verify(file.parent, "--quick")[1].startswith(f"{file} is not a file")


def test_a_bundle_from_before_checksums(good: Bundle, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "out")
    for name in (SUMS_NAME, *COMPANION_NAMES):
        (folder / name).unlink(missing_ok=True)
    text = (folder / MANIFEST_NAME).read_text()
    assert '"schema_version": 3' in text
    (folder / MANIFEST_NAME).write_text(
        text.replace('"schema_version": 3', '"schema_version": 1', 1)
    )
    assert verify(folder, "--quick")[0] == 0


def test_a_bundle_from_before_its_script(good: Bundle, tmp_path: Path) -> None:
    """Such a bundle is whole without one; one that is added does not belong to it."""
    folder = copied(good, tmp_path / "out")
    for name in COMPANION_NAMES:
        (folder / name).unlink(missing_ok=True)
    write_checksums(folder)
    assert verify(folder, "--quick")[0] == 0
    (folder / "run.py").write_text("print()")
    assert verify(folder)[1].startswith(f"{folder / 'run.py'} was changed after the export")


def test_a_bundle_of_a_later_edgeconv_says_which(good: Bundle, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "out")
    plain = json.loads((folder / MANIFEST_NAME).read_text())
    plain |= {"schema_version": 99, "edgeconv_version": "7.1", "unheard": "of"}
    (folder / MANIFEST_NAME).write_text(json.dumps(plain))
    code, said = verify(folder)
    assert code == 1
    assert "has schema version 99, this edgeconv reads 1, 2 and 3" in said
    assert "install edgeconv 7.1 or later" in said


@pytest.mark.slow
def test_two_exports_are_equal_in_every_byte(good: Bundle, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    again = export(network, out=tmp_path / "elsewhere", input_size=(1, 3))
    for file in good.path.iterdir():
        assert file.read_bytes() == (again.path / file.name).read_bytes(), file.name


def test_of_a_bundle_without_checksums_only_what_the_manifest_knows_is_said(
    good: Bundle, tmp_path: Path
) -> None:
    folder = copied(good, tmp_path / "out")
    (folder / SUMS_NAME).unlink()
    manifest = folder / MANIFEST_NAME
    manifest.write_text(manifest.read_text().replace('"schema_version": 3', '"schema_version": 1'))
    models = [artifact.path for artifact in good.manifest.artifacts]
    report = verify_bundle(Bundle.load(folder), quick=True)
    assert sorted(report.unchanged) == sorted([*models, REFERENCE_NAME])
    file = folder / models[0]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BundleError, match="was changed after the export"):
        verify_bundle(Bundle.load(folder), quick=True)
