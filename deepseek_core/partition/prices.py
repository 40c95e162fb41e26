"""What units cost on one target: as measured here, else as the backend says, else by the roofline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from deepseek_core.cost import Basis, Cost
from deepseek_core.errors import BackendError
from deepseek_core.ir.units import Unit
from deepseek_core.partition.profile import DeviceProfile
from deepseek_core.partition.roofline import roofline
from deepseek_core.registry import Backend
from deepseek_core.target import Capabilities, Target

__all__ = ["Prices"]

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Prices:
    """Costs on one target.

    Attributes:
        measured: None where nothing was.
    """

    backend: Backend
    target: Target
    capabilities: Capabilities
    measured: DeviceProfile | None = None

    @property
    def launch(self) -> float:
        """Seconds that a part takes beside its units."""
        measured = None if self.measured is None else self.measured.launch
        return self.capabilities.launch if measured is None else measured

    def within(self, unit: Unit) -> Cost:
        """Cost of a unit inside a part of several, without the launch.

        Raises:
            BackendError: as `part`.
        """
        word, alone = self._word([unit]), None if self.measured is None else self.measured.alone(unit)
        if alone is None or self.measured is None:
            return _less(word, self.capabilities.launch)
        seconds = max(alone - self.launch, 0.0) * self.measured.company
        return Cost.of(seconds, Basis.MEASURED, bytes=word.bytes, joules=word.joules)

    def part(self, units: Sequence[Unit]) -> Cost:
        """Cost of units as one part, one launch included.

        A part that was measured as a whole costs that. Else it costs a launch, and its units what they took alone, less
        a launch each and as much quicker as units are in company; those that were never measured cost what the backend
        (or the roofline) says.

        Raises:
            BackendError: the backend's word is no cost; the message names it and the units.
        """
        word = self._word(units)
        if self.measured is None:
            return word
        whole = self.measured.alone(units[0]) if len(units) == 1 else self.measured.part(units)
        known = [unit for unit in units if self.measured.alone(unit) is not None]
        if whole is not None:
            total = Cost.of(whole, Basis.MEASURED)
        elif known or self.measured.launch is not None:
            rest = [unit for unit in units if unit not in known]
            launch = Cost.of(self.launch, Basis.ANALYTIC if self.measured.launch is None else Basis.MEASURED)
            others = [_less(self._word(rest), self.capabilities.launch)] if rest else []
            total = Cost.total((launch, *map(self.within, known), *others))
        else:
            total = word
        return replace(total, bytes=word.bytes, joules=word.joules)

    def _word(self, units: Sequence[Unit]) -> Cost:
        """What the backend says, else the roofline."""
        try:
            cost = self.backend.cost(units, self.target)
        except BackendError as error:
            raise self._wrong(units, error.message) from error
        if cost is None:
            return roofline(units, self.capabilities)
        if not isinstance(cost, Cost):
            raise self._wrong(units, f"a {type(cost).__name__} instead of a Cost")
        return cost

    def _wrong(self, units: Sequence[Unit], what: str) -> BackendError:
        names = ", ".join(f"'{unit.name}'" for unit in units[:_NAMED])
        more = f" and {len(units) - _NAMED} more" if len(units) > _NAMED else ""
        return BackendError(
            f"backend '{self.backend.name}': deepseek_cost of {names}{more} on {self.target} gave {what}",
            fix=f"report it to the authors of {self.backend.distribution or self.backend.name}",
        )


def _less(cost: Cost, launch: float) -> Cost:
    """A cost without its launch."""
    kept = max(cost.seconds - launch, 0.0) / cost.seconds if cost.seconds else 0.0
    shares = {basis: seconds * kept for basis, seconds in cost.bases.items()}
    return replace(cost, seconds=cost.seconds * kept, bases=shares)
