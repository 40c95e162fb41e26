"""An approximate solution for large networks: noise gets a price, and units change format while that pays.

Lagrangian relaxation of the noise budget with local search over single units and neighbouring pairs (iterated
conditional modes, Besag 1986); the price is bisected until the budget is just met.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from deepseek.quantization.search.formats import FLOAT32
from deepseek.quantization.search.mixing.problem import Assignment, Problem

__all__ = ["solve_relaxed"]

_SWEEPS = 8
_BISECTIONS = 24


def solve_relaxed(problem: Problem, budget: float) -> Assignment:
    """A sound assignment whose noise is within a budget; everything in float32 when nothing else is found.

    Args:
        budget: bound on the predicted noise.
    """
    best: Assignment = dict.fromkeys(problem.menu.units, FLOAT32)
    search = _LocalSearch(problem)
    low, high = 0.0, _highest_price(problem)
    for step in range(_BISECTIONS):
        price = 0.0 if step == 0 else math.sqrt(max(low, high * 1e-12) * high)
        found = search.run(price)
        if problem.is_sound(found) and problem.noise(found) <= budget:
            if problem.seconds(found) < problem.seconds(best):
                best = found
            if step == 0:
                break
            high = price
        else:
            low = price
    return best


def _highest_price(problem: Problem) -> float:
    """Seconds per noise at which no rounding pays."""
    seconds = sum(max(own.values(), default=0.0) for own in problem.prices.units.values())
    noises = [
        n for own in (*problem.sensitivity.units.values(), *problem.sensitivity.values.values()) for n in own.values()
    ]
    least = min((noise for noise in noises if 0 < noise < math.inf), default=1.0)
    return max(seconds, 1e-12) / least


class _LocalSearch:
    """Improves an assignment by changing a unit, or two neighbours, at a time."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._values: dict[str, tuple[str, ...]] = {}
        for unit, formats in problem.menu.units.items():
            touched = (value for form in formats for value in (*form.reads, *form.makes))
            self._values[unit] = tuple(dict.fromkeys(touched))

    def run(self, price: float) -> Assignment:
        """A local optimum of seconds + price · noise, starting from all in float32."""
        units = self._problem.menu.units
        current = dict.fromkeys(units, FLOAT32)
        for _ in range(_SWEEPS):
            changed = False
            for unit in units:
                for change in self._changes(unit, current):
                    if self._worth({**current, **change}, change, price) < self._worth(current, change, price) - 1e-15:
                        current |= change
                        changed = True
            if not changed:
                break
        return current

    def _changes(self, unit: str, current: Assignment) -> Iterator[dict[str, str]]:
        """Other formats of a unit, alone and together with each neighbour, and with all."""
        for form in self._problem.menu.units[unit]:
            if form.name == current[unit]:
                continue
            yield {unit: form.name}
            near = [n for n in self._neighbours(unit) if self._offers(n, form.name) and current[n] != form.name]
            for other in near:
                yield {unit: form.name, other: form.name}
            if len(near) > 1:
                yield {unit: form.name, **dict.fromkeys(near, form.name)}

    def _offers(self, unit: str, name: str) -> bool:
        return any(form.name == name for form in self._problem.menu.units[unit])

    def _neighbours(self, unit: str) -> list[str]:
        makers, readers = self._problem.makers, self._problem.readers
        found: dict[str, None] = {}
        for value in self._values[unit]:
            found.update(dict.fromkeys((*readers.get(value, ()), *((makers[value],) if value in makers else ()))))
        found.pop(unit, None)
        return list(found)

    def _worth(self, assignment: Assignment, change: Assignment, price: float) -> float:
        """Seconds + price · noise of what a change touches; unsound is infinitely expensive."""
        problem = self._problem
        values = dict.fromkeys(value for unit in change for value in self._values[unit])
        near = dict.fromkeys((*change, *(n for unit in change for n in self._neighbours(unit))))
        if not all(problem.unit_is_sound(u, assignment) for u in near):
            return math.inf
        if not all(problem.value_is_sound(v, assignment) for v in values):
            return math.inf
        total = sum(
            problem.prices.units[u][assignment[u]] + price * problem.unit_noise(u, assignment[u]) for u in change
        )
        for value in values:
            total += problem.converting(value, assignment)
            total += price * sum(problem.value_noise(value, kind) for kind in problem.rounded(value, assignment))
        return total
