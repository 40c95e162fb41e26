"""What a backend declares about its own numerics, so that the conformance kit tests exactly that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Expectations", "KnownFailure", "Rounding", "Tolerance"]


class Rounding(StrEnum):
    """Rounding of the requantization."""

    HALF_EVEN = "half_even"
    HALF_AWAY = "half_away"
    HALF_UP = "half_up"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest difference from the reference that counts as equal.

    Attributes:
        lsb: codes, for quantized outputs.
        fraction: share of elements that may differ within `lsb` (1.0: all).
        rtol, atol: for float outputs, as `numpy.isclose`.
    """

    lsb: int = 0
    fraction: float = 1.0
    rtol: float = 1e-5
    atol: float = 1e-6


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """A conformance case that is expected to fail; passing is an error too (strict).

    Attributes:
        pattern: `fnmatch` pattern over case ids.
        reason: why, in a sentence for the backend's users.
    """

    pattern: str
    reason: str


@dataclass(frozen=True, slots=True)
class Expectations:
    """Declared differences from the reference.

    `rounding` and `accumulator_bits` change what is expected; tolerances say how far results may be from that.

    Attributes:
        default: tolerance where `by_op` says nothing.
        by_op: tolerance per op key.
        rounding: of ties, wherever real numbers become codes.
        accumulator_bits: width of the accumulator. 32 wraps; fewer bits saturate the whole sum, bias included.
        known_failures: cases that fail, with reasons.
    """

    default: Tolerance = field(default_factory=Tolerance)
    by_op: Mapping[str, Tolerance] = field(default_factory=dict)
    rounding: Rounding = Rounding.HALF_EVEN
    accumulator_bits: int = 32
    known_failures: tuple[KnownFailure, ...] = ()

    def tolerance(self, op: str) -> Tolerance:
        return self.by_op.get(op, self.default)
