"""Quantization noise that factors are predicted to leave.

Let a tensor x with channels c be multiplied by t_c where it is made, and divided again by the layers that read it. With
one step for all channels of the tensor, step ∝ max_c t_c R_c for ranges R_c, the noise that reaches the output of a
reader with weights w is

    A(t) ∝ (max_c t_c R_c)² · Σ_c |w_c|² / t_c²,

least at t_c = 1 / R_c: all channels get the full range. Weights with one step for each output o, step ∝
max_c |w_oc| / t_c, add

    B(t) ∝ Σ_o (max_c |w_oc| / t_c)² · Σ_c t_c² Var[x_c],

which wants columns of equal weights instead. The layer that makes x has a step for each output, too, so its own noise
is untouched: the classical choice, which equalises the ranges of the weights of both layers (Nagel et al., 2019,
eq. 11), is right for one step per weight tensor only. Here A + B is taken as it is, with real rounding and clipping in
place of the uniform noise of the formulas: a channel far below the step is lost and not merely noisy. The means of the
channels do not count in B: what a wrong weight makes of them is constant, and bias correction removes it.

Ranges are taken from one half of the samples and tried on the other: the more channels reach the ends of a range, the
more values of unseen samples lie beyond.

A network that normalises every place (token) cares for the noise relative to what is at the place, and not for the sum
over places: one place with large values would outweigh all others in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.scaling.apply import scaled
from deepseek.quantization.scaling.groups import Group
from deepseek.quantization.scaling.observe import ChannelStats
from deepseek.quantization.scaling.sweep import Touch
from deepseek_core import QParams, QuantScheme, TensorRecipe
from deepseek_core.calibration import weight_qparams

__all__ = ["Member", "Noise", "Weight", "relative_shares", "rounding_error"]

Vector = NDArray[np.float64]

_FLOOR = 0.01
"""Share of the mean power below which a place counts no more."""

_SHARES = (1.0, 0.8, 0.6)
"""Of the full range, tried as the range: calibrators clip where that pays."""


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A quantized tensor of the group.

    Attributes:
        stats: of its P channels.
        scheme: how it is quantized.
        ids: its channels' variables, [P].
        loss: what one unit of squared error in a channel costs, [P].
        relative: whether the noise of every place counts relative to its power.
    """

    stats: ChannelStats
    scheme: QuantScheme
    ids: NDArray[np.intp]
    loss: Vector
    relative: bool

    def places(self) -> Vector:
        """How much the noise of each kept place counts, [n]."""
        if not self.relative:
            return self.stats.shares
        power = np.square(self.stats.rows, dtype=np.float64) @ self.loss
        return relative_shares(self.stats.shares, power)


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A constant that factors change: squared error of its elements × `loss` × t^`power`² is what it costs."""

    array: NDArray[np.float32]
    recipe: TensorRecipe
    touch: Touch
    loss: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """Relative noise at the outputs of a group's readers, summed over them, as a function of its factors."""

    group: Group
    members: tuple[Member, ...]
    weights: tuple[Weight, ...]
    ranges: Vector
    columns: Vector

    def __call__(self, factors: Vector) -> float:
        """For factors [V]."""
        acts = sum(self.activation(member, factors) for member in self.members)
        return acts + sum(self.weight(weight, factors) for weight in self.weights)

    def activation(self, member: Member, factors: Vector) -> float:
        t = self.group.expand(factors, member.ids)
        rows, loss, places = member.stats.rows * t.astype(np.float32), member.loss / t**2, member.places()
        total = 0.0
        for half in (0, 1):
            mine = member.stats.half != half
            if mine.any():
                low, high = float((member.stats.lows[half] * t).min()), float((member.stats.highs[half] * t).max())
                found = (QParams.from_range(member.scheme, low * share, high * share) for share in _SHARES)
                total += min(_rounding(rows[mine], params, loss, places[mine]) for params in found)
        return total

    def weight(self, weight: Weight, factors: Vector) -> float:
        t = np.append(factors, 1.0)
        touch = weight.touch
        array = scaled(weight.array, [touch], t)
        error = weight_qparams(array, weight.recipe).fake_quantize(array) - array
        return float((np.square(error, dtype=np.float64) * weight.loss * t[touch.ids] ** (-2 * touch.power)).sum())


def _rounding(rows: NDArray[np.float32], params: QParams, loss: Vector, places: Vector) -> float:
    """Mean over places of the squared quantization error, weighted by place and channel."""
    error = rounding_error(rows, params)
    return float(places @ (np.square(error, out=error) @ loss.astype(np.float32)))


def rounding_error(rows: NDArray[np.float32], params: QParams) -> NDArray[np.float32]:
    """`params.fake_quantize(rows) - rows`, in few passes where the scheme is of integers per tensor."""
    if not params.scheme.dtype.is_integer:
        return np.asarray(params.fake_quantize(rows) - rows)
    scale, zero = np.float32(params.scale), np.float32(params.zero_point)
    error = rows / scale
    np.rint(error, out=error)
    np.clip(error, np.float32(params.scheme.qmin) - zero, np.float32(params.scheme.qmax) - zero, out=error)
    error *= scale
    error -= rows
    return error


def relative_shares(shares: Vector, power: Vector) -> Vector:
    """Weights of places [n] for which noise counts relative to their power [n]."""
    mean = float(shares @ power)
    return shares if mean <= 0 else np.asarray(shares * mean / (power + _FLOOR * mean))
