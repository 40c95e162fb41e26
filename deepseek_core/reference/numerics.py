"""How sums are narrowed and rounded: the definition, and the declared ways of devices that differ from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core.expectations import Rounding

__all__ = ["DEFINITION", "Numerics", "following", "narrow", "round_codes"]


@dataclass(frozen=True, slots=True)
class Numerics:
    """What a device may do otherwise, in the terms of `Expectations`.

    Attributes:
        rounding: of x / s before the zero point is added.
        accumulator_bits: 32 wraps modulo 2^32; fewer bits saturate the whole sum, bias included.
    """

    rounding: Rounding = Rounding.HALF_EVEN
    accumulator_bits: int = 32


DEFINITION = Numerics()
"""The IR's own: round half to even, wrap modulo 2^32."""

_active: ContextVar[Numerics] = ContextVar("numerics", default=DEFINITION)


@contextmanager
def following(numerics: Numerics) -> Iterator[None]:
    """Evaluate what is inside the block under `numerics`; other threads are not affected."""
    token = _active.set(numerics)
    try:
        yield
    finally:
        _active.reset(token)


def round_codes(ratio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Whole numbers next to `ratio`; ties as the active numerics have it."""
    rounding = _active.get().rounding
    nearest = np.rint(ratio)
    if rounding is Rounding.HALF_EVEN:
        return np.asarray(nearest, np.float32)
    # Adding 0.5 and cutting off would be wrong for the largest float32 below 0.5.
    down = np.floor(ratio)
    ties = ratio - down == np.float32(0.5)
    up = down + np.float32(1)
    toward = up if rounding is Rounding.HALF_UP else np.where(ratio > 0, up, down)
    return np.asarray(np.where(ties, toward, nearest), np.float32)


def narrow(sums: NDArray[Any]) -> NDArray[np.int32]:
    """Exact int64 sums as the accumulator holds them."""
    bits = _active.get().accumulator_bits
    if bits >= 32:
        return sums.astype(np.int64).astype(np.int32)
    return np.asarray(np.clip(sums, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1), np.int32)
