"""silero-vad: whether a frame of audio is speech; a recurrent network inside an `If` on the sample rate."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from quantization.metrics import auc
from quantization.networks import texts
from quantization.networks.base import (
    CALIBRATION,
    EVALUATION,
    MODEL,
    TRUTH,
    Answers,
    Array,
    Feeds,
    Metric,
    Network,
    Run,
    save_samples,
)
from quantization.networks.speech import FRAME, RATE, Clip, clips
from quantization.session import runner
from quantization.sources import wheel

__all__ = ["SileroVad", "SileroVad16k"]

CONTEXT = 64
"""Samples of the frame before that go in with each frame."""
CALIBRATION_FRAMES, CALIBRATION_CLIPS, CLIPS, SECONDS = 128, 6, 8, 24.0
CALIBRATION_VOICES = ("en-us", "de", "it+f2")
VOICES = ("en-gb+f4", "en-gb-scotland", "fr", "en-us+m3")


class SileroVad(Network):
    """A voice activity detector, judged on speech of other voices and texts than calibrated it.

    Calibration samples are single frames with the state that fp32 has there; the evaluation feeds the state back.
    """

    name = "silero_vad"
    title = "silero-vad"
    metrics = (Metric("AUC %"), Metric("frames right %"))
    helpers = ("texts", "speech")
    file = "silero_vad.onnx"

    def prepare(self, folder: Path) -> None:
        shutil.copy(wheel("silero-vad", "6.2.3") / "silero_vad" / "data" / self.file, folder / MODEL)
        known = clips(texts.background()[:CALIBRATION_CLIPS], CALIBRATION_VOICES, SECONDS, 1)
        judged = clips(texts.lee()[0][:CLIPS], VOICES, SECONDS, 2)
        run = runner(folder / MODEL)
        states = [feeds for clip in known for feeds, _ in _stream(run, _feeds(clip))]
        chosen = np.random.default_rng(0).choice(len(states), CALIBRATION_FRAMES, replace=False)
        save_samples(folder / CALIBRATION, (states[i] for i in sorted(chosen)))
        save_samples(folder / EVALUATION, map(_feeds, judged))
        np.savez(folder / TRUTH, speech=np.concatenate([clip.speech for clip in judged]))

    def answers(self, run: Run, feeds: Iterable[Feeds]) -> Answers:
        """For each clip the probability of speech in each frame, [frames]."""
        return [np.array([float(p) for _, p in _stream(run, clip)], np.float32) for clip in feeds]

    def scores(self, answers: Answers, truth: Mapping[str, Array]) -> tuple[float, ...]:
        probability, speech = np.concatenate(answers), truth["speech"]
        return 100 * auc(probability, speech), 100 * float(np.mean((probability > 0.5) == speech))

    def agreement(self, exact: Answers, got: Answers) -> float:
        """Share of frames on the same side of one half."""
        return float(np.mean((np.concatenate(exact) > 0.5) == (np.concatenate(got) > 0.5)))


class SileroVad16k(SileroVad):
    """The same detector in a file for one sample rate: its convolutions are outside of any `If`."""

    name = "silero_vad_16k"
    title = "silero-vad, 16 kHz file"
    file = "silero_vad_16k_op15.onnx"


def _feeds(clip: Clip) -> Feeds:
    """All frames of a clip, [frames, CONTEXT + FRAME], with the state it starts from."""
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), clip.samples])
    rows = [padded[i : i + CONTEXT + FRAME] for i in range(0, len(clip.samples), FRAME)]
    return {"input": np.stack(rows), "state": np.zeros((2, 1, 128), np.float32), "sr": np.array(RATE, np.int64)}


def _stream(run: Run, clip: Feeds) -> Iterator[tuple[Feeds, float]]:
    """The feeds of each frame and the probability of speech in it; each state goes into the next frame."""
    state = clip["state"]
    for row in clip["input"]:
        feeds = {"input": row[None], "state": state, "sr": clip["sr"]}
        outputs = run(feeds)
        yield feeds, outputs["output"].item()
        state = outputs["stateN"]
