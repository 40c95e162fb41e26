"""Assignments of formats to units for one work, and the recipes that they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deepseek.quantization.precision import Precision
from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.search.bench import Bench
from deepseek.quantization.search.formats import Menu, menu
from deepseek.quantization.search.mixing.exact import solve_exact
from deepseek.quantization.search.mixing.prices import prices
from deepseek.quantization.search.mixing.problem import Assignment, Problem
from deepseek.quantization.search.mixing.relaxed import solve_relaxed
from deepseek.quantization.search.sensitivity import Sensitivity, measure, statistics
from deepseek.quantization.steps import StepSpec

__all__ = ["Mix", "Mixer"]

_EXACT = 3000
"""Pairs of unit and format up to which the exact solver is asked."""


@dataclass(frozen=True, slots=True)
class Mix:
    """An assignment as a search sees it.

    Attributes:
        step: says in a recipe what differs from its precision.
        noise, seconds: predicted.
        proven: whether no assignment within the same noise is predicted to be faster.
    """

    step: StepSpec
    assignment: Assignment
    noise: float
    seconds: float
    proven: bool

    @property
    def words(self) -> str:
        """The formats with how many units have each."""
        counts = Counter(self.assignment.values())
        shares = ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda own: -own[1]))
        return f"{shares}; {self.seconds * 1e6:.4g} µs predicted"


class Mixer:
    """Mixed precision on top of a recipe.

    Args:
        bench: runs the recipe, and remembers sensitivities in its journal.
        recipe: what the assignments are added to.
        formats: to consider beside float32; default: all that the targets have.
        samples: that sensitivities rest on.
    """

    def __init__(
        self, bench: Bench, recipe: QuantizationRecipe, formats: Iterable[str] | None = None, samples: int = 4
    ) -> None:
        self._bench, self._recipe, self._samples = bench, recipe, samples
        self._formats = None if formats is None else tuple(formats)

    @cached_property
    def menu(self) -> Menu:
        """Formats of every unit."""
        return menu(self._bench.work(self._recipe), self._formats)

    @cached_property
    def problem(self) -> Problem:
        """The optimisation; measures sensitivities, or finds them in the journal."""
        work, journal = self._bench.work(self._recipe), self._bench.journal
        calibration = statistics(work, self.menu)
        key = self._bench.key("sensitivity", [self._recipe.to_json(), list(self._formats or ()), self._samples])
        known: Any = journal.get(key)
        if known is None:
            known = measure(work, self.menu, self._samples, calibration=calibration).to_json()
            journal.put(key, known)
        return Problem(self.menu, prices(work, self.menu, calibration), Sensitivity.from_json(known))

    def mix(self, noise: float, *, favourite: str = "", price: float = 0.0) -> Mix:
        """The fastest assignment whose predicted noise is within a bound.

        Args:
            favourite, price: seconds that a unit in any other format counts more than it takes.
        """
        real = self.problem
        problem = real if not price else real.favouring(favourite, price)
        found, proven = None, False
        if sum(map(len, problem.menu.units.values())) <= _EXACT:
            found, proven = solve_exact(problem, noise)
        if not proven:
            other = solve_relaxed(problem, noise)
            if found is None or problem.seconds(other) < problem.seconds(found):
                found = other
        assert found is not None
        return Mix(self._step(found), found, real.noise(found), real.seconds(found), proven)

    def _step(self, assignment: Assignment) -> StepSpec:
        """Units whose format is not what the recipe's precision makes of them."""
        plain = Precision.INT8 if self._recipe.precision is Precision.MIXED else self._recipe.precision
        differing: dict[str, list[str]] = {}
        for unit, name in assignment.items():
            offered = {form.name for form in self.menu.units[unit]}
            if name != str(plain) and (str(plain) in offered or name != "float32"):
                differing.setdefault(name, []).append(unit)
        return StepSpec("assign", {name: tuple(units) for name, units in sorted(differing.items())})
