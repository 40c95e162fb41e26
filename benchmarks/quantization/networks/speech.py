"""Clips of synthetic speech between pauses, over noise, with the truth about every frame."""

from __future__ import annotations

import io
import subprocess
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["FRAME", "RATE", "Clip", "clips"]

RATE, FRAME = 16_000, 512
"""Samples per second and per frame."""
_LOUD, _CLOSE = 0.02, 0.2
"""Of the peak: what counts as sound; seconds of silence inside an utterance that still count as speech."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Audio.

    Attributes:
        samples: float32 in [−1, 1], a whole number of frames.
        speech: bool, one a frame: whether most of the frame is speech.
    """

    samples: NDArray[np.float32]
    speech: NDArray[np.bool_]


def clips(texts: Sequence[str], voices: Sequence[str], seconds: float, seed: int) -> list[Clip]:
    """One clip for each text, its sentences spoken by one voice after the other.

    Raises:
        RuntimeError: `espeak-ng` is missing.
    """
    random = np.random.default_rng(seed)
    return [_clip(text, voices[i % len(voices)], seconds, random) for i, text in enumerate(texts)]


def _clip(text: str, voice: str, seconds: float, random: np.random.Generator) -> Clip:
    length = int(seconds * RATE) // FRAME * FRAME
    clean, spoken = np.zeros(length), np.zeros(length, bool)
    place = int(random.uniform(0.5, 1.5) * RATE)
    for sentence in text.split(". "):
        words = " ".join(sentence.split()[:12])
        sound = _spoken(words, voice, int(random.integers(130, 190)))
        if place + len(sound) >= length:
            break
        clean[place : place + len(sound)] = sound * random.uniform(0.2, 0.9)
        spoken[place : place + len(sound)] = _sounding(sound)
        place += len(sound) + int(random.uniform(0.4, 2.5) * RATE)
    noise = _noise(length, random)
    power = np.mean(np.square(clean[spoken])) if spoken.any() else 0.01
    noise *= np.sqrt(power / np.mean(np.square(noise)) / 10 ** (random.uniform(0, 20) / 10))
    mixed = (clean + noise) / max(1.0, float(np.abs(clean + noise).max()))
    return Clip(mixed.astype(np.float32), spoken.reshape(-1, FRAME).mean(1) > 0.5)


def _spoken(text: str, voice: str, speed: int) -> NDArray[np.float64]:
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", text]
    try:
        data = subprocess.run(command, capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise RuntimeError("espeak-ng is not installed: apt-get install espeak-ng") from None
    with wave.open(io.BytesIO(data)) as file:
        rate = file.getframerate()
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768
    times = np.arange(int(len(sound) * RATE / rate)) * (rate / RATE)
    return np.asarray(np.interp(times, np.arange(len(sound)), sound), np.float64)


def _sounding(sound: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where there is sound, short silences between sounds included."""
    loud = np.flatnonzero(np.abs(sound) > _LOUD * np.abs(sound).max())
    found = np.zeros(len(sound), bool)
    for start, end in pairwise(loud):
        if end - start < _CLOSE * RATE:
            found[start : end + 1] = True
    return found


def _noise(length: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Coloured noise, from white to brown, with a hum."""
    spectrum = np.fft.rfft(random.standard_normal(length))
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / RATE), 20)
    noise = np.fft.irfft(spectrum * frequency ** -random.uniform(0, 1), length)
    hum = np.sin(2 * np.pi * random.choice([50, 60, 120]) * np.arange(length) / RATE)
    return np.asarray(noise / noise.std() + random.uniform(0, 0.5) * hum, np.float64)
