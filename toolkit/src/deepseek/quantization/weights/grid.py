"""The values that a weight's codes can have, for weights as matrices [G, M, K]."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.grams import Layout
from deepseek_core import Granularity, QParams, QuantScheme
from deepseek_core.ir import expand
from deepseek_core.ir.qparams import numpy_dtype
from deepseek_core.quantize import QuantizedWeight

__all__ = ["Grid"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Scales and zero points, one for every `span` consecutive columns of a row.

    Attributes:
        params: where it comes from.
        layout: between the weight and its matrix.
        span: columns that share a scale.
        scale: float64 with float32 values, [G, M, K / span].
        zero: float64, of the same shape.
        owner: index of each scale in the flattened `params.scale`, of the same shape.
        bounds: smallest and largest code; None where codes are floats.
    """

    params: QParams
    layout: Layout
    span: int
    scale: Float
    zero: Float
    owner: NDArray[np.int64]
    bounds: tuple[float, float] | None

    @classmethod
    def of(cls, params: QParams, layout: Layout, columns: int) -> Self:
        """The grid of a weight with these parameters and `columns` = K."""

        def spread(numbers: NDArray[Any]) -> NDArray[Any]:
            whole = np.broadcast_to(expand(numbers, layout.shape, params.scheme), layout.shape)
            return np.ascontiguousarray(layout.matrix(np.ascontiguousarray(whole))[:, :, ::span])

        scheme = params.scheme
        span = _span(scheme, layout, columns)
        scale, zero = spread(params.scale).astype(np.float64), spread(params.zero_point).astype(np.float64)
        owner = spread(np.arange(params.scale.size).reshape(params.scale.shape))
        bounds = (scheme.qmin, scheme.qmax) if scheme.dtype.is_integer else None
        return cls(params, layout, span, scale, zero, owner, bounds)

    def nearest(self, values: Float, column: int) -> Float:
        """The closest value of the grid to each of `values` [G, M] in one column."""
        block = column // self.span
        return self._nearest(values, self.scale[:, :, block], self.zero[:, :, block])

    def round(self, weight: Float, first: int = 0) -> Float:
        """The closest value of the grid to each of a weight [G, M, n] whose columns begin with `first`."""
        block = np.arange(first, first + weight.shape[2]) // self.span
        return self._nearest(weight, self.scale[:, :, block], self.zero[:, :, block])

    @property
    def shared(self) -> bool:
        """Whether several rows, or matrices of a batch, use one scale."""
        return self.owner.size > self.params.scale.size

    def pooled(self, numbers: Float) -> Float:
        """Sums over the users of each scale, given back to each user; `numbers` has the scales' shape."""
        if not self.shared:
            return numbers
        sums = np.bincount(self.owner.reshape(-1), numbers.reshape(-1), self.params.scale.size)
        return np.asarray(sums[self.owner])

    def with_scale(self, scale: Float) -> Self:
        """The grid with other scales [G, M, K / span]; where scales are shared, all users must give the same."""
        flat = self.params.scale.reshape(-1).copy()
        flat[self.owner.reshape(-1)] = scale.reshape(-1)
        rounded = flat.astype(np.float32)
        params = QParams(self.params.scheme, rounded.reshape(self.params.scale.shape), self.params.zero_point)
        return replace(self, params=params, scale=rounded[self.owner].astype(np.float64))

    def covering(self, weight: Float) -> Self:
        """The grid with scales that are wide enough for every value of a weight [G, M, K]; none gets narrower."""
        if self.bounds is None:
            return self
        starts = np.arange(0, weight.shape[2], self.span)
        ends = (np.minimum.reduceat(weight, starts, axis=2), np.maximum.reduceat(weight, starts, axis=2))
        reach = [bound - self.zero for bound in self.bounds]
        wanted = [end / np.where(codes == 0, np.inf, codes) for end, codes in zip(ends, reach, strict=True)]
        scale = self.params.scale.reshape(-1).astype(np.float64)
        np.maximum.at(scale, self.owner.reshape(-1), np.maximum(*wanted).reshape(-1))
        return self.with_scale(scale[self.owner])

    def _nearest(self, values: Float, scale: Float, zero: Float) -> Float:
        if self.bounds is None:
            return _float_codes(values / scale, self.params.scheme) * scale
        steps = np.rint(values / scale)
        np.maximum(steps, self.bounds[0] - zero, out=steps)  # np.clip costs more than either
        np.minimum(steps, self.bounds[1] - zero, out=steps)
        return np.asarray(steps * scale)

    def codes(self, weight: Float) -> QuantizedWeight:
        """A weight whose values are all of the grid, as codes."""
        array = self.layout.array(np.ascontiguousarray(weight.astype(np.float32)))
        return QuantizedWeight(self.params.quantize(np.ascontiguousarray(array)), self.params)


def _span(scheme: QuantScheme, layout: Layout, columns: int) -> int:
    if scheme.granularity is not Granularity.PER_BLOCK:
        return columns
    assert scheme.block_size is not None
    length = layout.shape[(scheme.axis or 0) % len(layout.shape)]
    return min(scheme.block_size, length) * (columns // length)


def _float_codes(ratio: Float, scheme: QuantScheme) -> Float:
    clipped = np.clip(ratio, scheme.qmin, scheme.qmax)
    return clipped.astype(numpy_dtype(scheme.dtype)).astype(np.float64)
