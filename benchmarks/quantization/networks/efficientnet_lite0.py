"""EfficientNet-Lite0 on labelled ImageNet photographs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from efficientnet_lite0.model import export
from efficientnet_lite0.photos import load_folder, samples, split
from harness import PHOTOS
from quantization.cache import digest
from quantization.networks.base import (
    CALIBRATION,
    EVALUATION,
    MODEL,
    TRUTH,
    Answers,
    Array,
    Metric,
    Network,
    save_samples,
)

__all__ = ["EfficientNetLite0"]

CALIBRATION_PHOTOS = 100


class EfficientNetLite0(Network):
    """A convolutional classifier (Tan & Le, 2019); 100 photographs calibrate, the others judge."""

    name = "efficientnet_lite0"
    title = "EfficientNet-Lite0"
    metrics = (Metric("top-1 %"),)

    def __init__(self, photos: Path = PHOTOS) -> None:
        self.photos = photos

    def source(self) -> str:
        labels = self.photos / "labels.csv"
        if not labels.exists():
            raise RuntimeError(f"no photographs in {self.photos}; name a folder with --photos")
        return digest([labels])

    def prepare(self, folder: Path) -> None:
        export(folder / MODEL)
        chosen, judged = split(load_folder(self.photos), CALIBRATION_PHOTOS)
        save_samples(folder / CALIBRATION, samples(chosen))
        save_samples(folder / EVALUATION, samples(judged))
        np.savez(folder / TRUTH, labels=np.array([photo.label for photo in judged]))

    def scores(self, answers: Answers, truth: Mapping[str, Array]) -> tuple[float, ...]:
        return (100 * float(np.mean(np.concatenate(answers).argmax(1) == truth["labels"])),)
