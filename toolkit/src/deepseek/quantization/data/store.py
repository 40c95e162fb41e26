"""Samples kept so that they can be read as often as needed, in bounded memory."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core import Feeds

__all__ = ["MEMORY", "SampleStore"]

MEMORY = 256 << 20
"""Bytes of samples that stay in memory; the rest goes to an unnamed temporary file."""


@dataclass(frozen=True, slots=True)
class _Spilled:
    """Where an array lies in the file."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class SampleStore(Collection[Feeds]):
    """Feeds in the order in which they were added; every iteration gives the same arrays.

    Args:
        memory: bytes that may stay in memory.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._entries: list[dict[str, NDArray[Any] | _Spilled]] = []
        self._left = memory
        self._file: IO[bytes] | None = None

    def add(self, sample: Mapping[str, NDArray[Any]]) -> None:
        """Keep a copy of a sample."""
        self._entries.append({name: self._kept(array) for name, array in sample.items()})

    def __iter__(self) -> Iterator[Feeds]:
        for entry in self._entries:
            yield {name: self._array(kept) for name, kept in entry.items()}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, sample: object) -> bool:
        return any(sample is own for own in self)

    def _kept(self, array: NDArray[Any]) -> NDArray[Any] | _Spilled:
        if array.nbytes <= self._left or array.dtype.hasobject:
            self._left -= array.nbytes
            return np.array(array)
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # lives, without a name, as long as the store
            weakref.finalize(self, self._file.close)
        offset = self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(array).data)
        return _Spilled(offset, array.dtype, array.shape)

    def _array(self, kept: NDArray[Any] | _Spilled) -> NDArray[Any]:
        if not isinstance(kept, _Spilled):
            return kept
        assert self._file is not None
        self._file.seek(kept.offset)
        count = int(np.prod(kept.shape, dtype=np.int64))
        return np.fromfile(self._file, kept.dtype, count).reshape(kept.shape)
