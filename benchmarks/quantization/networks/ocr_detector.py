"""PP-OCRv4's detector: where on a page there is text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantization.metrics import f1, intersection_over_union
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
    save_samples,
)
from quantization.networks.blobs import boxes
from quantization.networks.export import upgrade
from quantization.networks.lettering import CALIBRATION_FONTS, FONTS, page, phrases
from quantization.sources import wheel

__all__ = ["OcrDetector"]

SIDE, LONGEST, LINES = 480, 24, 12
CALIBRATION_PAGES, PAGES = 32, 48
THRESHOLD, CERTAIN, UNCLIP = 0.3, 0.5, 1.6
"""Of a pixel, of a box's mean, and by how much a box grows: the settings that the package ships."""


class OcrDetector(Network):
    """Differentiable binarization (Liao et al., 2020); judged on pages of other texts in other fonts."""

    name = "ocr_detector"
    title = "PP-OCRv4 detector"
    metrics = (Metric("F1 %"), Metric("mean overlap %"))
    helpers = ("texts", "export", "lettering", "blobs")

    def prepare(self, folder: Path) -> None:
        models = wheel("rapidocr-onnxruntime", "1.4.4") / "rapidocr_onnxruntime" / "models"
        upgrade(models / "ch_PP-OCRv4_det_infer.onnx", folder / MODEL)
        random = np.random.default_rng(0)
        known, _ = _pages(texts.background(), CALIBRATION_FONTS, CALIBRATION_PAGES, random)
        judged, wanted = _pages([*texts.lee()[0], *texts.encyclopedia()], FONTS, PAGES, random)
        save_samples(folder / CALIBRATION, known)
        save_samples(folder / EVALUATION, judged)
        counts = np.array([len(each) for each in wanted])
        np.savez(folder / TRUTH, boxes=np.concatenate(wanted), counts=counts)

    def scores(self, answers: Answers, truth: Mapping[str, Array]) -> tuple[float, ...]:
        hits = found = 0
        overlaps: list[float] = []
        wanted = np.split(truth["boxes"], np.cumsum(truth["counts"])[:-1])
        for answer, want in zip(answers, wanted, strict=True):
            got = boxes(answer[0, 0], THRESHOLD, CERTAIN, UNCLIP)
            overlap = intersection_over_union(got, want)
            best = overlap.max(0) if len(got) else np.zeros(len(want))
            hits += int((best >= 0.5).sum())
            found += len(got)
            overlaps += best.tolist()
        return 100 * f1(hits, found, len(truth["boxes"])), 100 * float(np.mean(overlaps))

    def agreement(self, exact: Answers, got: Answers) -> float:
        """Pixels that both call text, of those that either does."""
        pairs = [(a > THRESHOLD, b > THRESHOLD) for a, b in zip(exact, got, strict=True)]
        common, either = (sum(int(join(a, b).sum()) for a, b in pairs) for join in (np.logical_and, np.logical_or))
        return common / either


def _pages(
    sources: Sequence[str], fonts: Sequence[str], count: int, random: np.random.Generator
) -> tuple[list[Feeds], list[NDArray[np.float64]]]:
    feeds, wanted = [], []
    for _ in range(count):
        pixels, places = page(phrases(sources, LONGEST, LINES, random), fonts, SIDE, random)
        feeds.append({"x": ((pixels[:, :, ::-1].transpose(2, 0, 1)[None] / 255 - 0.5) / 0.5).astype(np.float32)})
        wanted.append(places)
    return feeds, wanted
