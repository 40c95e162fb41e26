"""How far the search for a recipe goes where no budget tells it when to stop."""

from __future__ import annotations

import math
from enum import StrEnum

__all__ = ["Effort"]


class Effort(StrEnum):
    """The more effort, the more is tried, and the less noise counts as none."""

    QUICK = "quick"
    STANDARD = "standard"
    THOROUGH = "thorough"

    def covers(self, other: Effort) -> bool:
        """Whether what takes the effort `other` is made at this one."""
        order = list(Effort)
        return order.index(self) >= order.index(other)

    @property
    def enough(self) -> float:
        """Output SQNR in dB from which on no long work is tried; 40 dB is noise of a hundredth of the amplitude."""
        return math.inf if self is Effort.THOROUGH else 40.0

    @property
    def worthwhile(self) -> float:
        """Share of the noise below which it is not worth long work; without a fifth, noise is 1 dB less."""
        return 0.05 if self is Effort.THOROUGH else 0.2

    @property
    def noisy(self) -> float:
        """Output SQNR in dB below which everything is worth a trial; 20 dB is noise of a tenth of the amplitude."""
        return 20.0
