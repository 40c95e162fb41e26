"""Calibrate on images as the deployment will see them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deepseek.quantization.data.augment import Augmented, Deployment
from deepseek.quantization.notes import Note
from deepseek.quantization.work import Work
from deepseek_core.errors import ConfigError

__all__ = ["Augment"]


@dataclass(frozen=True, slots=True)
class Augment(Deployment):
    """Add changed copies of each calibration image: flips, crops, colours, noise. Seeded by the recipe.

    Attributes:
        copies: of each sample.
        input: name of the input that takes images; may be left out where only one can.
    """

    copies: int = 1
    input: str = ""

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise ConfigError(f"augment with {self.copies} copies", fix="give at least 1")
        Deployment.__post_init__(self)  # `super()` does not know the class that slots make

    def __call__(self, work: Work) -> Work:
        samples = Augmented(work.samples, work.origin.inputs, self, name=self.input, copies=self.copies, seed=work.seed)
        note = Note("augment", "", f"{len(work.samples)} samples became {len(samples)}")
        return replace(work, samples=samples, calibration=None, log=(*work.log, note))
