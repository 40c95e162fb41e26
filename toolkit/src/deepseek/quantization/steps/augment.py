"""Calibrate on images as the deployment will see them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deepseek.quantization.data.augment import Augmented, Deployment
from deepseek.quantization.notes import Note
from deepseek.quantization.work import Work
from deepseek_core.errors import ConfigError

__all__ = ["Augment"]


@dataclass(frozen=True, slots=True)
class Augment:
    """Add changed copies of each calibration image: flips, crops, colours, noise. Seeded by the recipe.

    Attributes:
        copies: of each sample.
        input: name of the input that takes images; may be left out where only one can.
        flip, crop, brightness, contrast, saturation, noise, mean, std, peak: see `data.augment.Deployment`.
    """

    copies: int = 1
    input: str = ""
    flip: float = 0.5
    crop: float = 0.125
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1
    noise: float = 0.02
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    peak: float = 255.0

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise ConfigError(f"augment with {self.copies} copies", fix="give at least 1")
        self._deployment()

    def __call__(self, work: Work) -> Work:
        samples = Augmented(
            work.samples, work.origin.inputs, self._deployment(), name=self.input, copies=self.copies, seed=work.seed
        )
        note = Note("augment", "", f"{len(work.samples)} samples became {len(samples)}")
        return replace(work, samples=samples, calibration=None, log=(*work.log, note))

    def _deployment(self) -> Deployment:
        return Deployment(
            self.flip,
            self.crop,
            self.brightness,
            self.contrast,
            self.saturation,
            self.noise,
            self.mean,
            self.std,
            self.peak,
        )
