"""Leave layers in float whose inputs a few huge values own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from deepseek.quantization.notes import Note
from deepseek.quantization.work import Work
from deepseek_core import Unit
from deepseek_core.calibration import TensorStats
from deepseek_core.errors import ConfigError

__all__ = ["SpareOutliers"]


@dataclass(frozen=True, slots=True)
class SpareOutliers:
    """Keep units in float that read a value whose scale is made by a few huge elements.

    Language models have such values: at a token or two, an element is a thousand times the others (Sun et al., 2024,
    "Massive Activations in Large Language Models"). A scale that reaches it rounds all other elements to zero, one that
    does not clips what attention hangs on. The calibrated histogram shows them: the signal-to-noise ratio of rounding
    is taken over its bulk alone.

    Attributes:
        least_sqnr: of the bulk, in dB; below it, the readers of the value stay in float.
        tail: share of the elements with the largest magnitude that do not belong to the bulk.
    """

    least_sqnr: float = 6.0
    tail: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.tail < 1:
            raise ConfigError(f"spare_outliers with a tail of {self.tail}", fix="give a share from 0 to below 1")

    def __call__(self, work: Work) -> Work:
        work = work.calibrated()
        assert work.calibration is not None
        recipe, lost = work.recipe(), dict[str, float]()
        for name, entry in recipe.activations.items():
            scale = float(np.max(work.calibration.qparams(name, entry).scale))
            sqnr = bulk_sqnr(work.calibration[name], scale, self.tail)
            if sqnr < self.least_sqnr:
                lost[name] = sqnr
        readers = [unit for unit in work.model.units() if unit.name not in recipe.skipped and _reads(unit, lost)]
        notes = [
            Note("spare_outliers", name, "its readers stay in float", {"bulk_db": db}) for name, db in lost.items()
        ]
        kept = {unit.name: "a few huge values make the scale of its input" for unit in readers}
        return replace(work, kept={**kept, **work.kept}, log=(*work.log, *notes))


def bulk_sqnr(stats: TensorStats, scale: float, tail: float) -> float:
    """Signal to noise in dB of rounding to multiples of `scale`, over the non-zero values but the `tail` largest.

    A value below half a step becomes zero and loses all of itself, so the ratio is never below 0 dB.
    """
    counts = stats.counts.sum(axis=0)
    counts[0] -= stats.zeros
    inside = np.cumsum(counts) <= max(int(counts.sum() * (1 - tail)), counts[0])
    squares = np.square((np.arange(len(counts)) + 0.5) * stats.width)
    signal = float(counts[inside] @ squares[inside])
    noise = float(counts[inside] @ np.minimum(squares[inside], scale**2 / 12))
    return 10 * float(np.log10(signal / noise)) if noise > 0 else float("inf")


def _reads(unit: Unit, values: dict[str, float]) -> bool:
    return any(value is not None and value.name in values for node in unit.nodes for value in node.inputs)
