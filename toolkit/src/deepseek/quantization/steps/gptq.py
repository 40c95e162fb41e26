"""GPTQ: weights rounded column by column, errors handed on."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.quantization.weights import Method, choose
from deepseek.quantization.work import Work
from deepseek_core.errors import ConfigError

__all__ = ["Gptq"]


@dataclass(frozen=True, slots=True)
class Gptq:
    """Round each weight so that later ones of its row make up for its error (Frantar et al., 2023).

    Per channel, per tensor or in blocks, in the order of the inputs' power, scales searched beforehand.

    Attributes:
        ranges: search the scales; otherwise they cover every weight.
        damping: how far measured correlations are moved towards none, from 0 to 1; negative for as much as the
            samples say.
        stages: at most this many groups of layers, each seeing what rounding did before it; 0 for one a layer.
        rows: places in the samples to look at for each number that a unit sums over.
    """

    ranges: bool = True
    damping: float = -1.0
    stages: int = 0
    rows: int = 16

    def __call__(self, work: Work) -> Work:
        if self.damping > 1 or self.stages < 0 or self.rows < 1:
            raise ConfigError("an option of gptq is out of range", fix="damping ≤ 1, stages ≥ 0, rows ≥ 1")
        method = Method(
            ranges=self.ranges, sweeps=0, refits=0, compensation=0, bias=False, shrink=max(self.damping, -1.0)
        )
        return choose(work, method, "gptq", stages=self.stages, rows=self.rows)
