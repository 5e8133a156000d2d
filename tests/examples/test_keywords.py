"""The front end of keyword spotting is the one of the literature, and hears the same on a board."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file

from edgeconv.export import export
from edgeconv.models import create_model
from examples import keywords, spectrogram


def test_the_cosines_are_the_orthonormal_transform() -> None:
    fft = pytest.importorskip("scipy.fft", reason="scipy is not installed (extra imagenet)")
    bands = np.random.default_rng(0).normal(size=(7, spectrogram.BANDS))
    wanted = fft.dct(bands, norm="ortho")[:, : spectrogram.COEFFICIENTS]
    np.testing.assert_allclose(bands @ spectrogram.cosines().T, wanted, atol=1e-12)


def test_a_tone_is_loudest_in_the_band_around_it() -> None:
    filters = spectrogram.mel_filters()
    frequencies = np.fft.rfftfreq(spectrogram.WINDOW, 1 / spectrogram.RATE)
    edges = np.linspace(
        spectrogram.mel(spectrogram.LOWEST),
        spectrogram.mel(spectrogram.HIGHEST),
        spectrogram.BANDS + 2,
    )
    for hertz in (200, 1000, 3000):
        band = filters[:, np.argmin(abs(frequencies - hertz))].argmax()
        assert edges[band] <= spectrogram.mel(hertz) <= edges[band + 2]


def test_a_second_of_anything_has_finite_features() -> None:
    for sound in (np.zeros(spectrogram.RATE), np.ones(spectrogram.RATE)):
        found = spectrogram.features(sound)
        assert found.shape == (49, 10)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()


@pytest.mark.slow
def test_what_listens_on_a_board_says_what_pytorch_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--out", str(tmp_path), "--sounds", "64", "--epochs", "1"]
    CliRunner().invoke(keywords.main, arguments, catch_exceptions=False)
    network = create_model("ds_cnn", num_classes=len(keywords.WORDS), dropout=0.1)
    network.load_state_dict(load_file(tmp_path / "ds_cnn.safetensors"))
    words = (tmp_path / "words.txt").read_text().splitlines()
    export(
        network,
        out=tmp_path / "out",
        name="kws",
        input_size=(1, 49, 10),
        formats=["tflite"],
        labels=words,
    )
    for name in ("listen.py", "spectrogram.py"):
        shutil.copy(Path(keywords.__file__).with_name(name), tmp_path)
    sounds = [f"{word}.wav" for word in keywords.WORDS]
    command = [sys.executable, "listen.py", "out", "kws_float32.tflite", *sounds]
    ran = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    read = importlib.import_module("listen").read
    inputs = np.stack([spectrogram.features(read(str(tmp_path / name))) for name in sounds])
    import torch

    with torch.inference_mode():
        best = network(torch.from_numpy(inputs)[:, None]).argmax(1)
    assert [line.split()[1] for line in ran.stdout.splitlines()] == [words[index] for index in best]
