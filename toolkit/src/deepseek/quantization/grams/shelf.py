"""Tensors of every sample between two passes: in memory as far as a limit goes, beyond it in files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shelf"]

Tensors = Mapping[str, NDArray[Any]]


class Shelf:
    """A place for one set of tensors per sample; a new set replaces the old one.

    Args:
        limit: bytes to keep in memory. Strings and other objects stay there whatever their size.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._kept: dict[int, Tensors] = {}
        self._filed: dict[int, tuple[str, ...]] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def put(self, number: int, tensors: Tensors) -> None:
        """Keep the tensors of sample `number`."""
        self._used -= _size(self._kept.pop(number, {}))
        size = _size(tensors)
        if self._used + size <= self._limit or any(array.dtype.hasobject for array in tensors.values()):
            self._kept[number] = dict(tensors)
            self._used += size
            return
        names = {f"{position}": array for position, array in enumerate(tensors.values())}
        np.savez(self._path(number), allow_pickle=False, **names)
        self._filed[number] = tuple(tensors)

    def get(self, number: int) -> Tensors:
        """The tensors of sample `number`."""
        if number in self._kept:
            return self._kept[number]
        with np.load(self._path(number), allow_pickle=False) as file:
            return {name: file[f"{position}"] for position, name in enumerate(self._filed[number])}

    def close(self) -> None:
        """Drop everything."""
        self._kept.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _path(self, number: int) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="deepseek-")
        return Path(self._folder.name) / f"{number}.npz"


def _size(tensors: Tensors) -> int:
    return sum(array.nbytes for array in tensors.values())
