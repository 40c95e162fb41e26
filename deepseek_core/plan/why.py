"""Why a unit is where it is: what every single move to another target would cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deepseek_core.cost import Cost
from deepseek_core.partition import Objective, Problem
from deepseek_core.partition.merge import contract, merge
from deepseek_core.partition.optimize import Group, PartitionProblem, Plan, broken_rule, evaluate
from deepseek_core.partition.optimize.labelling import Labelling
from deepseek_core.partition.optimize.polish import Judge
from deepseek_core.plan.report import Option
from deepseek_core.plan.words import amount, listed

__all__ = ["Moves"]

_WORK = 150_000
"""Units looked at, over all moves: beyond, moves are judged by the unit and its transfers alone."""


class Moves:
    """Single moves of units from a plan.

    Args:
        plan: where everything is.
        tell: told which fraction is done.
    """

    def __init__(
        self,
        problem: Problem,
        pure: PartitionProblem,
        plan: Plan,
        objective: Objective,
        tell: Callable[[float], None],
    ) -> None:
        self._problem, self._plan, self._objective, self._tell = problem, plan, objective, tell
        self._pins = pure.pins
        self._free = replace(pure, pins={})
        self._value = evaluate(pure, plan, objective)
        self._judge = Judge(self._free, objective)
        moves = pure.size * (len(pure.launch) - 1)
        self._tried = moves * pure.size <= _WORK
        self._reasons = [{r.unit: r for r in offer.refusals} for offer in problem.offers]

    @property
    def unit(self) -> str:
        """The objective's unit."""
        return "J" if self._objective is Objective.ENERGY else "s"

    def cost(self, position: int, device: int) -> Cost:
        """Cost of a unit on a device that claims it, without a launch."""
        offer = self._problem.offers[device]
        cost = offer.prices.within(self._problem.graph.units[position])
        seconds = float(self._free.cost[position, device])  # units of one claim share what they cost together
        share = seconds / cost.seconds if cost.seconds else 0.0
        return replace(cost, seconds=seconds, bases={basis: own * share for basis, own in cost.bases.items()})

    def option(self, position: int, device: int) -> Option:
        """What another target would make of a unit."""
        name, offer = self._problem.graph.units[position].name, self._problem.offers[device]
        refusal = self._reasons[device].get(name)
        if refusal is not None:
            return Option(offer.target, reason=refusal.reason, change=refusal.change)
        self._tell(position / self._free.size)
        delta, limit = self._moved(position, device) if self._tried else (None, "")
        return Option(offer.target, self.cost(position, device), delta=delta, limit=limit)

    def why(self, position: int, options: tuple[Option, ...]) -> str:
        """One sentence."""
        here = self._problem.offers[int(self._plan.devices[position])]
        name = self._problem.graph.units[position].name
        together = [f"'{other}'" for other in here.claim_of[name].units if other != name]
        first = f"claimed together with {listed(together)}; " if together else ""
        possible = [option for option in options if option.cost is not None]
        if position in self._pins:
            gains = [o for o in possible if o.delta is not None and o.delta < 0]
            best = max(((-(o.delta or 0.0), str(o.target)) for o in gains), default=None)
            more = f"; on {best[1]} the whole would take {amount(best[0], self.unit)} less" if best else ""
            return f"{first}pinned here{more}"
        if not possible:
            return f"{first}no other target runs it" if options else f"{first}there is no other target"
        return first + "; ".join(self._against(position, option) for option in possible)

    def _against(self, position: int, option: Option) -> str:
        device = next(d for d, offer in enumerate(self._problem.offers) if offer.target == option.target)
        home = int(self._plan.devices[position])
        mine, theirs = self._free.cost[position, home], self._free.cost[position, device]
        if self._objective is Objective.ENERGY and self._free.joules is not None:
            mine, theirs = self._free.joules[position, home], self._free.joules[position, device]
        own, moved = theirs - mine, self._transfer_change[position, device] - self._transfer_change[position, home]
        words = f"on {option.target} the unit takes {_change(own, self.unit)}"
        words += f" and its transfers {_change(moved, self.unit)}" if moved else ""
        if option.limit:
            return f"{words}, and {option.limit}"
        if option.delta is None:
            return words
        if abs(option.delta) <= 1e-9 * self._value:
            return f"{words}, the whole the same: the order of targets decides"
        return f"{words}, the whole {_change(option.delta, self.unit)}"

    @cached_property
    def _transfer_change(self) -> NDArray[np.float64]:
        """float64 [units, devices]: transfers that depend on each unit, for each device, all others kept."""
        problem = self._free.as_energy() if self._objective is Objective.ENERGY else self._free
        labelling = Labelling.of(problem)
        with np.errstate(invalid="ignore"):
            found = labelling.choices(self._plan.devices) - labelling.unary
        return np.nan_to_num(found, nan=0.0, posinf=0.0)

    def _moved(self, position: int, device: int) -> tuple[float | None, str]:
        """Rise of the objective, and the limit that the move breaks."""
        members = self._companions(position, device)
        if not np.isfinite(self._free.cost[members, device]).all():
            return None, ""
        devices = self._plan.devices.copy()
        devices[members] = device
        if not self._free.groups:
            excess, value, plan = self._judge(devices)
            return value - self._value, (broken_rule(self._free, plan) or "") if excess else ""
        taken = [list(group.units) for group in self._free.groups if self._is_taken(group, devices)]
        if contract(self._problem.graph, taken) is None:
            return None, ""
        plan = Plan(devices, tuple(merge(self._problem.graph, devices.tolist(), taken)))
        return evaluate(self._free, plan, self._objective) - self._value, broken_rule(self._free, plan) or ""

    def _is_taken(self, group: Group, devices: NDArray[np.int64]) -> bool:
        return bool((devices[list(group.units)] == group.device).all())

    def _companions(self, position: int, device: int) -> list[int]:
        """The unit with all that its claims here and there hold."""
        offers, index = self._problem.offers, self._problem.graph.index
        name = self._problem.graph.units[position].name
        claims = (offers[int(self._plan.devices[position])].claim_of[name], offers[device].claim_of[name])
        return sorted({index[unit] for claim in claims for unit in claim.units})


def _change(difference: float, unit: str) -> str:
    if abs(difference) < 1e-15:
        return "as long"
    return f"{amount(abs(difference), unit)} {'more' if difference > 0 else 'less'}"
