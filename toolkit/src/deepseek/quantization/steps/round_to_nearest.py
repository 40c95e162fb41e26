"""Weights to the nearest code, with scales that suit the inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deepseek.quantization.weights import Method, choose
from deepseek.quantization.work import Work
from deepseek_core import CalibratorSpec
from deepseek_core.errors import ConfigError

__all__ = ["RoundToNearest"]

_RANGES = ("minmax", "mse", "output")


@dataclass(frozen=True, slots=True)
class RoundToNearest:
    """Round every weight to nearest; codes that an earlier step chose are dropped.

    Attributes:
        ranges: what scales are made for: `minmax` every weight, `mse` the least squared error of the weights,
            `output` that of the layer's output (errors weighted with the power of the inputs they meet).
        rows: places in the samples to look at for each number that a unit sums over, for `output`.
    """

    ranges: str = "output"
    rows: int = 4

    def __call__(self, work: Work) -> Work:
        if self.ranges not in _RANGES:
            raise ConfigError(f"round_to_nearest has no ranges '{self.ranges}'", fix=f"use {', '.join(_RANGES)}")
        if self.ranges != "output":
            return replace(work, weights={}, weight_ranges=CalibratorSpec(self.ranges))
        plain = replace(work, weights={}, weight_ranges=CalibratorSpec("minmax"))
        method = Method(feedback=False, sweeps=0, refits=0, compensation=0, bias=False)
        return choose(plain, method, "round_to_nearest", stages=1, rows=self.rows)
