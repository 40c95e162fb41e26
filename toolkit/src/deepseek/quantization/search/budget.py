"""An accuracy budget: what a result may lose."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deepseek.quantization.search.fidelity import Fidelity
from deepseek_core.errors import ConfigError

__all__ = ["Budget", "Score"]


_EXACT = 1e-12
"""Relative difference of two values that comes from subtracting them."""


@dataclass(frozen=True, slots=True)
class Score:
    """What is known of a candidate.

    Attributes:
        fidelity: against the float model, on held-out calibration samples.
        value: what `evaluate` says, higher is better; None where it was not asked.
    """

    fidelity: Fidelity
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits on a result; those that are None do not limit. Without any, as little is lost as the precision allows.

    Attributes:
        max_drop: how much lower than the float model's the result's `evaluate` may be, in its own unit.
        min_sqnr: least signal-to-noise ratio of the outputs, in dB.
        min_agreement: least share of equal top-1 decisions with the float model.

    Raises:
        ConfigError: a limit is not a number that can be met.
    """

    max_drop: float | None = None
    min_sqnr: float | None = None
    min_agreement: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_drop", "min_sqnr", "min_agreement"):
            limit = getattr(self, name)
            if limit is not None and not math.isfinite(limit):
                raise ConfigError(f"{name}={limit}", fix="give a finite number")
        if self.max_drop is not None and self.max_drop < 0:
            raise ConfigError(f"max_drop={self.max_drop}", fix="give what may be lost as a number from 0 up")
        if self.min_agreement is not None and not 0 <= self.min_agreement <= 1:
            raise ConfigError(f"min_agreement={self.min_agreement}", fix="give a share between 0 and 1")

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return any(limit is not None for limit in (self.max_drop, self.min_sqnr, self.min_agreement))

    def shortfall(self, score: Score, reference: float | None) -> str | None:
        """What of the budget a score misses, in words; None when it is met.

        Args:
            reference: the float model's value by `evaluate`.
        """
        missed = []
        found = score.fidelity
        if self.max_drop is not None:
            if score.value is None or reference is None:
                missed.append("evaluate was not asked")
            elif not reference - score.value <= self.max_drop + _EXACT * abs(reference):  # NaN misses, too
                drop = reference - score.value
                missed.append(
                    f"evaluate drops by {drop:.4g} ({reference:.6g} → {score.value:.6g}), allowed {self.max_drop:g}"
                )
        if self.min_sqnr is not None and not found.sqnr >= self.min_sqnr:
            missed.append(f"output SQNR is {found.sqnr:.2f} dB, wanted {self.min_sqnr:g} dB")
        if self.min_agreement is not None and not found.agreement >= self.min_agreement:
            missed.append(f"agreement with float is {found.agreement:.2%}, wanted {self.min_agreement:.2%}")
        return "; ".join(missed) or None
