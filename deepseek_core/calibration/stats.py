"""Statistics of one tensor that stream in bounded memory and merge exactly.

The histogram lies on a grid that is aligned at zero and whose bin width is a power of two, 2^k: the smallest
that lets every |x| fall into one of `BINS` bins on each side of zero. A bin of width 2^(k+1) is the union of two
of width 2^k, so when the range grows, bins merge pairwise and no count moves to a wrong place. The final counts
are therefore a function of the values alone: order, batch size and sharding leave no trace in a single bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "TensorStats"]

BINS = 4096
"""Bins on each side of zero. At least half of them span [0, max |x|], so a range is never cut into fewer than 2,048."""

_LOG2_BINS = BINS.bit_length() - 1
_FINEST = -126
"""Smallest k: 2^126 is the largest power of two whose reciprocal is a normal float32, which keeps scaling exact."""
_CHUNK = 1 << 16
"""Values binned at once: the work arrays (1.3 MB) stay in a core's cache, and memory does not grow with the tensor."""


def _no_counts() -> NDArray[np.int64]:
    return np.zeros((2, BINS), np.int64)


@dataclass(slots=True, eq=False)
class TensorStats:
    """What calibration remembers of one tensor.

    Attributes:
        count: finite values seen.
        zeros: how many of them are exactly 0.
        nans, infs: values that are not finite; they enter nothing else.
        min, max: smallest and largest finite value, in real units; +inf and -inf before the first value.
        exponent: k of the bin width 2^k.
        counts: int64 [2, BINS]. `counts[1, i]` counts x ≥ 0 and `counts[0, i]` counts x < 0 with
            i · 2^k ≤ |x| < (i + 1) · 2^k.
    """

    count: int = 0
    zeros: int = 0
    nans: int = 0
    infs: int = 0
    min: float = math.inf
    max: float = -math.inf
    exponent: int = _FINEST
    counts: NDArray[np.int64] = field(default_factory=_no_counts)

    @property
    def width(self) -> float:
        """Bin width in real units; a power of two."""
        return math.ldexp(1.0, self.exponent)

    def update(self, values: NDArray[Any]) -> None:
        """Add the values of a float array of any shape (float16, bfloat16, float32 or float64)."""
        for chunk in _chunks(values):
            low, high = float(chunk.min()), float(chunk.max())  # NaN wins in both
            if math.isfinite(low) and math.isfinite(high):
                self._add(chunk, low, high)
            else:
                self._add_finite_part(chunk)

    def merge(self, other: TensorStats) -> TensorStats:
        """Statistics of both tensors' values together; neither operand changes."""
        exponent = max(self.exponent, other.exponent)
        return TensorStats(
            self.count + other.count,
            self.zeros + other.zeros,
            self.nans + other.nans,
            self.infs + other.infs,
            min(self.min, other.min),
            max(self.max, other.max),
            exponent,
            _coarsen(self.counts, exponent - self.exponent) + _coarsen(other.counts, exponent - other.exponent),
        )

    def ascending(self) -> NDArray[np.int64]:
        """The counts as one int64 array [2 · BINS], from the most negative bin up; bin BINS starts at zero."""
        return np.concatenate([self.counts[0, ::-1], self.counts[1]])

    def problem(self) -> str | None:
        """Why these numbers cannot be statistics of anything, or None. Used on data from a file."""
        if self.counts.shape != (2, BINS) or self.counts.dtype != np.int64 or (self.counts < 0).any():
            return f"histogram is not a non-negative int64 array of shape (2, {BINS})"
        if int(self.counts.sum()) != self.count or not 0 <= self.zeros <= int(self.counts[1, 0]):
            return "histogram does not add up to the number of values"
        if min(self.nans, self.infs) < 0 or not (self.min <= self.max if self.count else self.max == -math.inf):
            return f"range [{self.min}, {self.max}] is impossible"
        if self.exponent != (_exponent(max(-self.min, self.max)) if self.count else _FINEST):
            return f"bin width 2^{self.exponent} does not fit the range [{self.min}, {self.max}]"
        return None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TensorStats):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]  # it changes with every update

    def _add_finite_part(self, chunk: NDArray[Any]) -> None:
        self.nans += int(np.isnan(chunk).sum())
        self.infs += int(np.isinf(chunk).sum())
        finite = chunk[np.isfinite(chunk)]
        if finite.size:
            self._add(finite, float(finite.min()), float(finite.max()))

    def _add(self, chunk: NDArray[Any], low: float, high: float) -> None:
        self.count += chunk.size
        self.zeros += int(np.count_nonzero(chunk == 0))
        self.min = min(self.min, low + 0.0)  # + 0.0 makes -0.0 and 0.0 one value, whichever came first
        self.max = max(self.max, high + 0.0)
        exponent = max(self.exponent, _exponent(max(-low, high)))
        if exponent > self.exponent:
            self.counts, self.exponent = _coarsen(self.counts, exponent - self.exponent), exponent
        # A cast truncates towards zero on every platform, so bins are symmetric and nest on both sides. The sign is
        # taken from the value and not from the product, which for a subnormal value may underflow to zero.
        index = (chunk * chunk.dtype.type(math.ldexp(1.0, -self.exponent))).astype(np.int64)
        if low >= 0:
            self.counts[1] += np.bincount(index, minlength=BINS)
            return
        index -= chunk < 0
        index += BINS
        ascending = np.bincount(index, minlength=2 * BINS)
        self.counts[0] += ascending[BINS - 1 :: -1]
        self.counts[1] += ascending[BINS:]


def _chunks(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Flat pieces of at most `_CHUNK` values, as float32 or float64."""
    flat = values.reshape(-1)
    work = np.dtype(np.float64) if flat.dtype.itemsize > 4 else np.dtype(np.float32)
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK].astype(work, copy=False)


def _exponent(magnitude: float) -> int:
    """Smallest k ≥ _FINEST with magnitude < BINS · 2^k."""
    return max(math.frexp(magnitude)[1] - _LOG2_BINS, _FINEST) if magnitude else _FINEST


def _coarsen(counts: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """Counts on a grid whose bins are 2^steps times wider; a new array unless `steps` is 0."""
    if steps == 0:
        return counts
    kept = BINS >> min(steps, _LOG2_BINS)
    coarse = _no_counts()
    coarse[:, :kept] = counts.reshape(2, kept, -1).sum(axis=-1)
    return coarse
