"""Say which word WAV files hold: ``python listen.py out ds_cnn_int8.tflite rising.wav``.

This is all that a board runs, with NumPy and one runtime: this file, ``spectrogram.py`` beside it,
and a bundle, whose own ``runtime.py`` runs its files.
"""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
from spectrogram import RATE, features


def read(path: str) -> npt.NDArray[np.float64]:
    """The first second (16000,) of a mono WAV file of 16 bits, with values in [-1, 1)."""
    with wave.open(path, "rb") as file:
        form = file.getnchannels(), file.getsampwidth(), file.getframerate()
        if form != (1, 2, RATE):
            sys.exit(f"{path}: one channel of 16 bits at {RATE} Hz is needed")
        sound = np.frombuffer(file.readframes(RATE), "<i2") / 32768
    return np.pad(sound, (0, RATE - len(sound)))


def main(bundle: str, file: str, *paths: str) -> None:
    """Print the word of each file, and how sure the network is of it."""
    sys.path.insert(0, bundle)
    from runtime import load, run

    words = (Path(bundle) / "labels.txt").read_text(encoding="utf-8").splitlines()
    name, compute = load(file)
    for path in paths:
        (scores,) = run(name, compute, [features(read(path))[None, None]])
        odds = np.exp(scores[0] - scores[0].max())
        best = int(odds.argmax())
        sure = odds[best] / odds.sum()
        print(f"{path}: {words[best]} ({sure:.0%})")  # noqa: T201 - it runs without edgeconv


if __name__ == "__main__":
    main(*sys.argv[1:])
