"""Samples cut into the batches that a network takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core import Feeds, TensorInfo

__all__ = ["fixed_batch", "rebatched", "rows_of"]

Sample = Mapping[str, NDArray[Any]]


def fixed_batch(inputs: Sequence[TensorInfo]) -> int | None:
    """The one batch size that inputs take; None where it is free, or where they do not share a first axis."""
    sizes = {info.shape[0] if info.shape else None for info in inputs}
    size = next(iter(sizes)) if len(sizes) == 1 else None
    return size if isinstance(size, int) else None


def rows_of(sample: Sample) -> int | None:
    """Length of the first axis that all arrays share; None where they do not."""
    sizes = {array.shape[0] if array.ndim else None for array in sample.values()}
    return next(iter(sizes)) if len(sizes) == 1 else None


def rebatched(samples: Iterable[Sample], size: int | None, most: int) -> Iterator[Feeds]:
    """Samples of `size` rows, or of at most `most` rows where any number will do.

    Rows are joined across samples of one shape; of a fixed size, rows that do not fill a last batch are left out,
    unless they are all there is: then they are repeated.
    """
    if size is None:
        for sample in samples:
            yield from _cut(sample, most)
        return
    held: Feeds | None = None
    count = 0
    for sample in samples:
        if rows_of(sample) is None:
            pieces: list[Feeds] = [sample]
        else:
            pieces = list(_cut(sample if held is None or not _joins(held, sample) else _joined(held, sample), size))
            held = pieces.pop() if rows_of(pieces[-1]) != size else None
        count += len(pieces)
        yield from pieces
    if not count and held is not None:
        yield {name: np.resize(array, (size, *array.shape[1:])) for name, array in held.items()}


def _cut(sample: Sample, most: int) -> Iterator[Feeds]:
    rows = rows_of(sample)
    if rows is None or rows <= most:
        yield sample
        return
    for start in range(0, rows, most):
        yield {name: array[start : start + most] for name, array in sample.items()}


def _joins(one: Sample, other: Sample) -> bool:
    return all(array.shape[1:] == other[name].shape[1:] for name, array in one.items())


def _joined(one: Sample, other: Sample) -> Feeds:
    return {name: np.concatenate([array, other[name]]) for name, array in one.items()}
