"""Costs with their basis, and kernel candidates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from numbers import Real

from deepseek_core.errors import BackendError

__all__ = ["Basis", "Cost", "KernelCandidate"]


_FIX = "give finite, non-negative costs"


class Basis(StrEnum):
    """Where a cost figure comes from."""

    MEASURED = "measured"
    COMPILER_ESTIMATE = "compiler-estimate"
    ANALYTIC = "analytic"


@dataclass(frozen=True, slots=True)
class Cost:
    """Predicted price of running something once.

    Attributes:
        seconds: latency.
        bytes: memory traffic, or transferred bytes.
        bases: how many seconds rest on each basis; a sum over different bases keeps all of them.
        joules: energy where the backend gives it.

    Raises:
        BackendError: a figure is missing, negative or not finite.
    """

    seconds: float
    bytes: int = 0
    bases: Mapping[Basis, float] = field(default_factory=dict)
    joules: float | None = None

    def __post_init__(self) -> None:
        if not (_is_amount(self.seconds) and _is_amount(self.bytes)):
            raise BackendError(f"cost of {self.seconds} s, {self.bytes} bytes", fix=_FIX)
        if self.joules is not None and not _is_amount(self.joules):
            raise BackendError(f"cost of {self.joules} J", fix=_FIX)

    @classmethod
    def of(cls, seconds: float, basis: Basis, *, bytes: int = 0, joules: float | None = None) -> Cost:
        return cls(seconds, bytes, {basis: seconds}, joules)

    def __add__(self, other: Cost) -> Cost:
        bases = dict(self.bases)
        for basis, seconds in other.bases.items():
            bases[basis] = bases.get(basis, 0.0) + seconds
        joules = None if self.joules is None or other.joules is None else self.joules + other.joules
        return Cost(self.seconds + other.seconds, self.bytes + other.bytes, bases, joules)

    @classmethod
    def total(cls, costs: Iterable[Cost]) -> Cost:
        """Sum; the empty sum is zero with no basis."""
        result = cls(0.0, joules=0.0)
        for cost in costs:
            result = result + cost
        return result

    @property
    def basis(self) -> str:
        """`measured`, or `measured + analytic` for a sum over different bases."""
        return " + ".join(sorted(str(b) for b in self.bases)) or "none"


@dataclass(frozen=True, slots=True)
class KernelCandidate:
    """One way a target can run a unit.

    Attributes:
        name: stable identifier, for example `int8` or `float32`; part of cache keys.
        estimate: expected cost.
        workspace: extra bytes needed while it runs.
        options: entries of `CompileOptions.extra`, under their bare names, that make the compiler choose it; the
            conformance kit runs each candidate that has some.
    """

    name: str
    estimate: Cost
    workspace: int = 0
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)


def _is_amount(figure: object) -> bool:
    return isinstance(figure, Real) and math.isfinite(number := float(figure)) and number >= 0
