"""Let the steps that follow look at fewer samples."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from deepseek.quantization.steps.hold_out import Selection
from deepseek.quantization.work import Work
from deepseek_core.errors import ConfigError

__all__ = ["FewerSamples"]


@dataclass(frozen=True, slots=True)
class FewerSamples:
    """Go on with some of the samples, drawn with the recipe's seed; ranges stay those of all samples.

    Ranges hang on rare values and want many samples. What steps learn about weights hangs on averages over all places
    of a sample, which far fewer samples tell.

    Attributes:
        count: samples that are left, at most.
    """

    count: int = 32

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"fewer_samples with count {self.count}", fix="leave at least 1 sample")

    def __call__(self, work: Work) -> Work:
        if len(work.samples) <= self.count:
            return work
        order = np.random.default_rng(work.seed).permutation(len(work.samples))
        return replace(work.calibrated(), samples=Selection(work.samples, order[: self.count].tolist()))
