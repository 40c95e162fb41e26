"""Weighted sums over places that hold all a quadratic loss needs: Σxxᵀ, Σyxᵀ, Σx, Σy, Σy².

With x what a unit reads in the quantized model and y what it makes in the float one, the loss
Σw‖y − b − Wx‖² of any weight W and bias b follows from them, so samples are looked at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["InputMoments", "Moments", "OutputMoments", "moderated"]

Float = NDArray[np.float64]
Sums = NDArray[np.float32]

_MOST = 10.0


@dataclass(slots=True, eq=False)
class InputMoments:
    """Sums over rows x [K] of one tensor, shared by the units that read it alike.

    Attributes:
        count: rows.
        mass: Σw over the rows, with w the weight that each counts with.
        first: Σwx, [G, K].
        second: Σwxxᵀ, [G, K, K].
    """

    count: int = 0
    mass: float = 0.0
    first: Any = 0.0
    second: Any = 0.0

    def update(self, rows: Sums, weights: Sums) -> None:
        """Add rows [G, P, K] with their weights [P]."""
        weighted: Sums = np.multiply(rows, weights[:, None], dtype=np.float32)
        self.count += rows.shape[1]
        self.mass += float(weights.sum(dtype=np.float64))
        self.first = self.first + weighted.sum(axis=1, dtype=np.float64)
        self.second = _add(self.second, np.matmul(weighted.swapaxes(1, 2), rows, dtype=np.float32))


@dataclass(slots=True, eq=False)
class OutputMoments:
    """Sums over outputs y [M] together with the rows they belong to.

    Attributes:
        first, square: Σwy and Σwy², [G, M].
        cross: Σwyxᵀ, [G, M, K].
    """

    first: Any = 0.0
    square: Any = 0.0
    cross: Any = 0.0

    def update(self, outputs: Sums, rows: Sums, weights: Sums) -> None:
        """Add outputs [G, P, M], their rows [G, P, K] and the weights of both, [P]."""
        weighted: Sums = np.multiply(outputs, weights[:, None], dtype=np.float32)
        self.first = self.first + weighted.sum(axis=1, dtype=np.float64)
        self.square = self.square + (weighted * outputs).sum(axis=1, dtype=np.float64)
        self.cross = _add(self.cross, np.matmul(weighted.swapaxes(1, 2), rows, dtype=np.float32))


def moderated(rows: Sums) -> Sums:
    """Weights [P] for rows or outputs [G, P, n]: 1, less where one has more than `_MOST` times the median's power.

    A few tokens of a transformer have thousands of times the power of the others (Sun et al., 2024, "Massive
    activations"). Their errors would decide everything, though normalisation behind the layer makes every token count
    alike.
    """
    power = np.einsum("gpk,gpk->p", rows, rows)
    limit = np.float32(_MOST) * np.median(power) if len(power) else np.float32(0)
    if limit == 0:
        return np.ones(len(power), np.float32)
    return np.asarray(np.minimum(1, limit / np.maximum(power, limit)), np.float32)


def _add(total: Any, part: NDArray[np.float32]) -> NDArray[np.float32]:
    """`total += part` in float32: hundreds of parts lose less than the float32 products inside each."""
    if isinstance(total, float):
        return part
    total += part
    return np.asarray(total, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Means over places, float64, ready to be solved with.

    Attributes:
        count: places.
        x, y: means [G, K] and [G, M].
        xx: covariance of the rows, [G, K, K].
        yx: covariance of outputs and rows, [G, M, K].
        yy: variance of the outputs, [G, M].
    """

    count: int
    x: Float
    y: Float
    xx: Float
    yx: Float
    yy: Float = field(repr=False)

    @classmethod
    def of(cls, *parts: tuple[InputMoments, OutputMoments]) -> Moments:
        """Of all places in the parts together."""
        count = sum(inputs.count for inputs, _ in parts)
        mass = sum(inputs.mass for inputs, _ in parts)
        scale = 1.0 / mass if mass else 1.0

        def total(arrays: list[Any]) -> Float:
            found = np.asarray(arrays[0], np.float64).copy()
            for array in arrays[1:]:
                found += array
            found *= scale
            return found

        x, y = total([i.first for i, _ in parts]), total([o.first for _, o in parts])
        xx, yx = total([i.second for i, _ in parts]), total([o.cross for _, o in parts])
        xx -= x[:, :, None] * x[:, None, :]
        yx -= y[:, :, None] * x[:, None, :]
        yy = total([o.square for _, o in parts]) - np.square(y)
        return cls(count, x, y, xx, yx, np.maximum(yy, 0.0))

    def error(self, weight: Float, bias: Float) -> Float:
        """Mean of (y − bias − weight·x)² of each output, [G, M].

        Args:
            weight: [G, M, K].
            bias: [G, M].
        """
        product = weight @ self.xx
        spread = self.yy + ((product - 2 * self.yx) * weight).sum(axis=2)
        offset = self.y - bias - np.einsum("gmk,gk->gm", weight, self.x)
        return np.asarray(np.maximum(spread, 0.0) + np.square(offset))

    def bias(self, weight: Float) -> Float:
        """The bias with the least error for a weight, [G, M]."""
        return np.asarray(self.y - np.einsum("gmk,gk->gm", weight, self.x))

    @property
    def power(self) -> Float:
        """Mean of y², [G, M]."""
        return np.asarray(self.yy + np.square(self.y))
