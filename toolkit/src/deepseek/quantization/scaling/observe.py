"""What calibration shows of each channel of a value."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.execution import Runner
from deepseek_core import Feeds, QuantizedModel, Registry
from deepseek_core.options import Progress

__all__ = ["ChannelStats", "observe"]

_ROWS = 512
_BYTES = 256 << 20
"""Places kept of a value at most, and memory for all of them together."""


@dataclass(frozen=True, slots=True, eq=False)
class ChannelStats:
    """P channels of a value, in the order of its flattened variables.

    Attributes:
        lows, highs: smallest and largest value in either half of the samples (of a lone sample: twice), [2, P].
        square: mean square, [P].
        rows: some places, float32 [n, P]: in every sample those with the largest values, and others at random.
        shares: how much of all places each row stands for, [n]; they add up to 1.
        half: which half of the samples each row is from, [n].
    """

    lows: NDArray[np.float64]
    highs: NDArray[np.float64]
    mean: NDArray[np.float64]
    square: NDArray[np.float64]
    rows: NDArray[np.float32]
    shares: NDArray[np.float64]
    half: NDArray[np.intp]

    @property
    def low(self) -> NDArray[np.float64]:
        """Smallest value, [P]."""
        return np.asarray(self.lows.min(axis=0))

    @property
    def high(self) -> NDArray[np.float64]:
        """Largest value, [P]."""
        return np.asarray(self.highs.max(axis=0))


class _Tally:
    def __init__(self, shape: tuple[int, ...], rows: int, seed: int) -> None:
        self._shape, self._quota, self._size = shape, rows, int(np.prod(shape))
        self._random = np.random.default_rng(seed)
        self._low, self._high = np.full((2, self._size), np.inf), np.full((2, self._size), -np.inf)
        self._sum, self._square, self._count = np.zeros(self._size), np.zeros(self._size), 0
        self._rows: list[NDArray[np.float32]] = []
        self._shares: list[NDArray[np.float64]] = []
        self._half: list[NDArray[np.intp]] = []

    def update(self, array: NDArray[Any], half: int) -> None:
        full = (1,) * (array.ndim - len(self._shape)) + self._shape
        mine = [axis for axis, size in enumerate(full) if size > 1]
        others = [axis for axis in range(array.ndim) if axis not in mine]
        flat = array.transpose(*others, *mine).reshape(-1, self._size).astype(np.float32, copy=False)
        if not flat.size:
            return
        self._low[half] = np.minimum(self._low[half], flat.min(axis=0))
        self._high[half] = np.maximum(self._high[half], flat.max(axis=0))
        self._sum += flat.sum(axis=0, dtype=np.float64)
        self._square += np.einsum("np,np->p", flat, flat, dtype=np.float64)
        self._count += len(flat)
        self._keep(flat, half)

    def _keep(self, flat: NDArray[np.float32], half: int) -> None:
        """What clipping does is decided at few places, so half of the rows are those; they stand for themselves."""
        count, quota = len(flat), min(self._quota, len(flat))
        largest = np.argpartition(np.abs(flat).max(axis=1), count - quota // 2 - 1)[count - quota // 2 :]
        rest = np.ones(count, bool)
        rest[largest] = False
        others = np.flatnonzero(rest)
        drawn = self._random.choice(others, quota - len(largest), replace=False)
        self._rows.append(flat[np.concatenate([largest, drawn])])
        weights = np.ones(quota)
        weights[len(largest) :] = len(others) / max(len(drawn), 1)
        self._shares.append(weights)
        self._half.append(np.full(quota, half))

    def stats(self) -> ChannelStats | None:
        if not self._count:
            return None
        seen = np.isfinite(self._low[:, :1])
        lows, highs = np.where(seen, self._low, self._low[::-1]), np.where(seen, self._high, self._high[::-1])
        mean, square, shares = self._sum / self._count, self._square / self._count, np.concatenate(self._shares)
        rows, half = np.concatenate(self._rows), np.concatenate(self._half)
        return ChannelStats(lows, highs, mean, square, rows, shares / self._count, half)


def observe(
    model: QuantizedModel,
    shapes: Mapping[str, tuple[int, ...]],
    samples: Collection[Feeds],
    registry: Registry,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, ChannelStats]:
    """One pass of a float model over the samples.

    Args:
        model: float.
        shapes: value name → shape of its variables: an axis of size 1 runs over places, the others over channels.
        samples: calibration feeds.
        registry: the backends to use.
        seed: of the choice of places.
        progress: told after every sample.

    Returns:
        Statistics by value name; values that were always empty are left out.
    """
    total = max(len(samples), 1)
    width = sum(int(np.prod(shape)) for shape in shapes.values()) * 4
    rows = max(min(_ROWS, _BYTES // max(width, 1)) // total, 1)
    tallies = {n: _Tally(s, rows, zlib.crc32(n.encode()) ^ seed) for n, s in shapes.items()}
    if not shapes:
        return {}
    with Runner(model, tuple(shapes), registry) as runner:
        for number, found in enumerate(runner.stream(samples), start=1):
            for name, tally in tallies.items():
                tally.update(found[name], number % 2)
            if progress:
                progress(f"observing channels, sample {number} of {total}", number / total)
    return {name: stats for name, tally in tallies.items() if (stats := tally.stats()) is not None}
