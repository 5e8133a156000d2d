"""Train keyword spotting on made sounds: ``python -m examples.keywords --out build/keywords``.

The words are not speech, of which none can be shipped here, but have its kind of structure: a tone
with overtones whose pitch rises, falls or swings, in noise, and each time at another moment, of
another pitch, length and loudness. Your own recordings take the place of ``sound``. The folder gets
weights, the names of the words, features to calibrate with, others with their words, and sounds as
WAV files.
"""

from __future__ import annotations

import wave
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import nn

from edgeconv.models import create_model
from edgeconv.report.tables import console
from edgeconv.units import format_percent
from examples.digits import top1
from examples.digits_data import Split
from examples.spectrogram import RATE, features

WORDS = ("silence", "rising", "falling", "swinging", "double")
BATCH = 64
LOUDNESS, NOISE = (0.05, 0.5), (0.01, 0.25)  # amplitudes


def sound(word: str, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """One second (16000,) of a word in noise, with values in [-1, 1]."""
    noise = random.normal(size=RATE) * random.uniform(*NOISE)
    if word == "silence":
        return np.clip(noise, -1, 1)
    length = random.uniform(0.35, 0.6)  # seconds
    start = int(random.uniform(0, 1 - length) * RATE)
    share = np.linspace(0, 1, int(length * RATE))  # of the word that is over
    bend = {
        "rising": share,
        "falling": 1 - share,
        "swinging": 0.5 + 0.5 * np.sin(2 * np.pi * 3 * share),
        "double": np.full_like(share, 0.5),
    }[word]
    phase = 2 * np.pi * np.cumsum(random.uniform(150, 300) * (1 + bend)) / RATE
    tone = sum(np.sin(order * phase) / order for order in range(1, 6)) / 2
    envelope = np.sin(np.pi * (2 * share % 1 if word == "double" else share)) ** 0.5
    noise[start : start + len(share)] += random.uniform(*LOUDNESS) * tone * envelope
    return np.clip(noise, -1, 1)


def samples(count: int, random: np.random.Generator) -> Split:
    """Features [N, 1, 49, 10] of ``count`` sounds of each word, and the words' indices [N]."""
    pairs = [
        (features(sound(word, random)), index)
        for index, word in enumerate(WORDS)
        for _ in range(count)
    ]
    x, y = zip(*pairs, strict=True)
    return Split(np.stack(x)[:, None], np.array(y, np.int64))


def fit(network: nn.Module, train: Split, epochs: int) -> None:
    """Train with AdamW on a one-cycle schedule."""
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    optimizer = torch.optim.AdamW(network.parameters())
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    network.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(x))[: len(x) // BATCH * BATCH].split(BATCH):
            loss = nn.functional.cross_entropy(network(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()


def save_wave(path: Path, sound: npt.NDArray[np.float64]) -> None:
    """Write mono sound with values in [-1, 1] as 16-bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(sound * 32767).astype("<i2").tobytes())


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/keywords"))
@click.option("--sounds", type=click.IntRange(min=BATCH), default=200, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=8, show_default=True)
def main(out: Path, sounds: int, epochs: int) -> None:
    """Train MLPerf Tiny's network on SOUNDS of each word, and write weights and data."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    train, test = samples(sounds, random), samples(100, random)
    network = create_model("ds_cnn", num_classes=len(WORDS), dropout=0.1)
    fit(network, train, epochs)
    out.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), out / "ds_cnn.safetensors")
    (out / "words.txt").write_text("\n".join(WORDS) + "\n", "utf-8")
    train.save(out / "train.npz")
    test.save(out / "test.npz")
    for word in WORDS:
        save_wave(out / f"{word}.wav", sound(word, random))
    share = format_percent(top1(network, test), places=2)
    console().print(f"top-1 in PyTorch: {share} of {len(test.y)} sounds")


if __name__ == "__main__":
    main()
