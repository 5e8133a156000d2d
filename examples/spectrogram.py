"""Sound to the input of a keyword network: mel-frequency cepstral coefficients, with NumPy only.

Training, calibration and the board import this one file, so all of them compute the same. The sizes
are those of MLPerf Tiny's keyword spotting: 49 windows of 40 ms, 20 ms apart, of one second, and 10
coefficients of each.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Real = npt.NDArray[np.float64]

RATE = 16_000  # samples per second
WINDOW, STEP = 640, 320  # samples
BANDS, COEFFICIENTS = 40, 10
LOWEST, HIGHEST = 20.0, 4000.0  # hertz
QUIET = 1e-6  # the least energy of a band; its logarithm is finite


def features(sound: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Coefficients (49, 10) in float32 of one second of sound, (16000,) with values in [-1, 1]."""
    starts = np.arange(0, RATE - WINDOW + 1, STEP)
    windows = np.asarray(sound, np.float64)[starts[:, None] + np.arange(WINDOW)]
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), axis=1)) ** 2 / WINDOW
    bands = np.log(power @ FILTERS.T + QUIET)
    coefficients = bands @ COSINES.T
    return (coefficients / 10).astype(np.float32)  # some units wide, as networks like their inputs


def mel_filters() -> Real:
    """Triangles (40, 321) over the frequencies, evenly spaced in mel (HTK's formula)."""
    edges = np.linspace(mel(LOWEST), mel(HIGHEST), BANDS + 2)
    at = mel(np.fft.rfftfreq(WINDOW, 1 / RATE))
    rising = (at - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - at) / (edges[2:] - edges[1:-1])[:, None]
    filters: Real = np.clip(np.minimum(rising, falling), 0, None)
    return filters


def mel(hertz: npt.ArrayLike) -> Real:
    """The pitch that is heard, 1127 ln(1 + f / 700)."""
    pitch: Real = 1127 * np.log1p(np.asarray(hertz) / 700)
    return pitch


def cosines() -> Real:
    """The first rows (10, 40) of the discrete cosine transform II, orthonormal."""
    rows, columns = np.arange(COEFFICIENTS)[:, None], np.arange(BANDS)
    table: Real = np.cos(np.pi * rows * (columns + 0.5) / BANDS) * np.sqrt(2 / BANDS)
    table[0] /= np.sqrt(2)
    return table


FILTERS, COSINES = mel_filters(), cosines()
