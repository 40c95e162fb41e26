"""Cross-layer equalization."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from deepseek.quantization.notes import Note
from deepseek.quantization.scaling import freedom, groups, rescale
from deepseek.quantization.scaling.observe import observe
from deepseek.quantization.scaling.predict import predictor
from deepseek.quantization.scaling.search import choose
from deepseek.quantization.search.trial import better, spread
from deepseek.quantization.work import Work
from deepseek_core import Granularity
from deepseek_core.errors import ConfigError

__all__ = ["Equalize"]


@dataclass(frozen=True, slots=True)
class Equalize:
    """Give each channel of a tensor a factor, undone where it is read, that lowers the predicted quantization noise.

    After Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019), with the
    objective of `scaling.noise` instead of theirs. Every tensor takes part whose makers and readers can absorb factors,
    through ReLU, sums, pooling, depthwise layers, reshapes and attention; behind a `Clip` with an upper bound (ReLU6)
    factors cannot be undone, and such channels are left alone. The float function stays the same to rounding.

    All of it is kept only where the outputs of the quantized network come nearer to the float ones, on calibration
    samples that its ranges were not taken from.

    Attributes:
        least_gain: share of a group's predicted noise that must go for its factors to be kept.
        rounds: at most, where weights have one scale per tensor, so that neighbouring groups depend on each other.
        samples: calibration samples that are looked at, and that the outputs are judged on, spread evenly.
        check: leave the network as it was where its outputs on calibration samples get worse.
    """

    least_gain: float = 0.05
    rounds: int = 3
    samples: int = 32
    check: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.least_gain < 1 or self.rounds < 1 or self.samples < 1:
            raise ConfigError(
                f"equalize with least_gain {self.least_gain}, {self.rounds} rounds and {self.samples} samples",
                fix="give a share below 1, at least 1 round, and at least 1 sample",
            )

    def __call__(self, work: Work) -> Work:
        done = work
        coupled = any(e.scheme.granularity is Granularity.PER_TENSOR for e in work.recipe().weights.values())
        for _ in range(self.rounds if coupled else 1):
            changed = self._round(done)
            if changed is done:
                break
            done = changed
        if done is work:
            return work
        done = replace(done, log=(*work.log, Note("equalize", "", "channels equalized")))
        return better(work, done, "equalize", self.samples) if self.check else done

    def _round(self, work: Work) -> Work:
        found = freedom(work.model)
        candidates = groups(found)
        shapes = {name: ids.shape for group in candidates for name, ids in group.values.items()}
        few = spread(work.samples, self.samples)
        stats = observe(work.model, shapes, few, work.registry, seed=work.seed, progress=work.progress)
        recipe = work.recipe()
        factors = np.ones(found.count)
        for number, group in enumerate(candidates):
            work.progress("equalizing channels", number / len(candidates))
            noise = predictor(group, work.model, recipe, stats)
            chosen = None if noise is None else choose(noise, self.least_gain)
            if chosen is not None:
                factors[group.variables] = chosen
        if (factors == 1).all():
            return work
        return work.with_model(rescale(work.model, found, factors))
