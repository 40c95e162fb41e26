"""Learned rounding: codes, scales and biases that keep each layer's output."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.quantization.weights import Method, choose
from deepseek.quantization.work import Work
from deepseek_core.errors import ConfigError

__all__ = ["LearnRounding"]


@dataclass(frozen=True, slots=True)
class LearnRounding:
    """Choose the codes of each weight for the least error of its layer's output.

    What AdaRound (Nagel et al., 2020) learns by gradient descent over samples: the loss is quadratic in the weight, so
    its second moments say all about it, and error feedback with coordinate descent finds better codes in a fraction of
    the time. Each layer also makes up for what it is given: its target is the output of the float network.

    Attributes:
        ranges: search the scales; otherwise they cover every weight.
        compensation: steps, at most, towards the weight that makes up for the noise of earlier layers; how many are
            taken, held-out samples say.
        bias: let biases make up for the mean of the error.
        sweeps: over the codes of a layer, at most, behind error feedback; 8-bit codes do without.
        refits: of the scales to the codes; likewise.
        stages: at most this many groups of layers, each seeing what was decided before it; 0 for one a layer.
        rows: places in the samples to look at for each number that a unit sums over.
    """

    ranges: bool = True
    compensation: int = 8
    bias: bool = True
    sweeps: int = 1
    refits: int = 1
    stages: int = 0
    rows: int = 8

    def __call__(self, work: Work) -> Work:
        if min(self.compensation, self.sweeps, self.refits, self.stages) < 0 or self.rows < 1:
            raise ConfigError("an option of learn_rounding is out of range", fix="numbers ≥ 0, rows ≥ 1")
        method = Method(
            ranges=self.ranges,
            sweeps=self.sweeps,
            refits=self.refits,
            compensation=self.compensation,
            bias=self.bias,
        )
        return choose(work, method, "learn_rounding", stages=self.stages, rows=self.rows)
