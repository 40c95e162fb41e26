"""Energies of errors at their sources and at the outputs, summed over samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Source", "Tallies"]

Array = NDArray[Any]

Source = tuple[str, str]
"""("value", name) that is rounded, or ("unit", name) whose constants are."""


class Tallies:
    """What each source's errors have been so far.

    Args:
        outputs: names of the outputs that count.
    """

    def __init__(self, outputs: Sequence[str]) -> None:
        self._outputs = outputs
        self._signal = np.zeros(len(outputs))
        self._counted: set[int] = set()
        self._noise: dict[Source, Array] = {}
        self._measured: dict[Source, str] = {}
        self._power: dict[tuple[Source, str], float] = {}

    def signal(self, sample: int, clean: Mapping[str, Array]) -> None:
        """Count the outputs of an undisturbed sample; each sample once."""
        if sample not in self._counted:
            self._counted.add(sample)
            self._signal += [_energy(clean[name]) for name in self._outputs]

    def is_known(self, source: Source, kind: str) -> bool:
        """Whether the error of this type has been counted."""
        return (source, kind) in self._power

    def error(self, source: Source, kind: str, array: Array) -> bool:
        """Count an error where it arises.

        Returns:
            Whether its effect at the outputs is wanted, too: no other type's is known.
        """
        self._power[source, kind] = self._power.get((source, kind), 0.0) + _energy(array)
        return self._measured.setdefault(source, kind) == kind

    def effect(self, source: Source, clean: Mapping[str, Array], disturbed: Mapping[str, Array]) -> None:
        """Count what a source's error did to the outputs."""
        with np.errstate(invalid="ignore", over="ignore"):
            noise = np.array([_energy(disturbed[name] - clean[name]) for name in self._outputs])
        self._noise[source] = self._noise.get(source, np.zeros(len(self._outputs))) + noise

    def noises(self, kind: str) -> dict[str, dict[str, float]]:
        """Source name → type of error → noise relative to the signal, the mean over the outputs."""
        found: dict[str, dict[str, float]] = {}
        for (source, rounding), power in self._power.items():
            if source[0] == kind:
                found.setdefault(source[1], {})[rounding] = self._scaled(source, power)
        return found

    def _scaled(self, source: Source, power: float) -> float:
        """The measured effect, for an error of another energy."""
        reference = self._power[source, self._measured[source]]
        if power == 0.0:
            return 0.0
        if not (np.isfinite(power) and reference > 0.0 and np.isfinite(reference)):
            return float("inf")
        noise = self._noise.get(source, np.zeros(len(self._outputs)))
        signal = np.where(self._signal > 0, self._signal, 1.0)
        return float((noise / signal).mean()) * power / reference


def _energy(array: Array) -> float:
    total = float(np.square(array.astype(np.float64)).sum())
    return total if np.isfinite(total) else float("inf")
