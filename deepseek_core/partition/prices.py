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

    def part(self, units: Sequence[Unit]) -> Cost:
        """Cost of units as one part, one launch included.

        A part that was measured as a whole costs that. Else its units cost what they took alone, less a launch each,
        and those that were never measured what the backend (or the roofline) says.

        Raises:
            BackendError: the backend's word is no cost; the message names it and the units.
        """
        word = self._word(units)
        if self.measured is None:
            return word
        whole = self.measured.part(units)
        alone = {unit: seconds for unit in units if (seconds := self.measured.alone(unit)) is not None}
        if whole is not None:
            total = Cost.of(whole, Basis.MEASURED)
        elif alone:
            rest = [unit for unit in units if unit not in alone]
            own = (Cost.of(max(seconds - self.launch, 0.0), Basis.MEASURED) for seconds in alone.values())
            total = Cost.total((self._launched(rest), *own))
        else:
            total = self._launched(units) if self.measured.launch is not None else word
        return replace(total, bytes=word.bytes, joules=word.joules)

    def _launched(self, units: Sequence[Unit]) -> Cost:
        """A launch, and units as the backend prices them."""
        word = self._word(units) if units else roofline((), self.capabilities)
        launch = None if self.measured is None else self.measured.launch
        if launch is None:
            return word
        kept = max(word.seconds - self.capabilities.launch, 0.0) / word.seconds if word.seconds else 0.0
        shares = {basis: seconds * kept for basis, seconds in word.bases.items() if seconds * kept > 0}
        return Cost.of(launch, Basis.MEASURED) + Cost(word.seconds * kept, word.bytes, shares)

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
