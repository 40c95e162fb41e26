"""The exact solution, as an integer program solved by HiGHS."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from deepseek.quantization.search.formats import FLOAT16, FLOAT32
from deepseek.quantization.search.mixing.problem import Assignment, Problem
from deepseek_core.partition.optimize.highs import Program

__all__ = ["solve_exact"]

_SCALE = 1e6
"""Latencies are given in microseconds: HiGHS treats costs below its tolerances as nothing."""


def solve_exact(problem: Problem, budget: float, seconds: float = 10.0) -> tuple[Assignment | None, bool]:
    """The assignment with least latency whose noise is within a budget.

    Args:
        budget: bound on the predicted noise.
        seconds: time limit.

    Returns:
        (the best found, None for none; whether it is proven optimal).
    """
    model = _Model(problem, budget)
    answer = model.program.solve(seconds)
    values = answer.values
    if values is None:
        return None, answer.optimal
    chosen = {unit: max(own, key=lambda form: values[own[form]]) for unit, own in model.x.items()}
    return chosen, answer.optimal


class _Model:
    """Variables: x[unit, format]; a[value, type], the value is rounded to it; z[value, type], it is converted to it."""

    def __init__(self, problem: Problem, budget: float) -> None:
        self._problem, self.program = problem, Program()
        self.x: dict[str, dict[str, int]] = {}
        for unit, formats in problem.menu.units.items():
            allowed = [f.name for f in formats if math.isfinite(problem.unit_noise(unit, f.name))]
            cost = [problem.prices.units[unit][name] * _SCALE for name in allowed]
            columns = self.program.variables((len(allowed),), cost=cost, upper=1.0, integer=True)
            self.x[unit] = dict(zip(allowed, columns.tolist(), strict=True))
            self.program.rows((columns[None, :], 1.0), lower=1.0, upper=1.0)
        self._rounded: dict[tuple[str, str], int] = {}
        for value in problem.values:
            self._value(value)
        for (value, kind), column in self._rounded.items():
            root = self._rounded.get((problem.roots[value], kind), column)
            if root != column:  # what is moved about is rounded where it comes from
                self.program.rows(_term([column], 1.0), _term([root], -1.0), upper=0.0)
        for unit in self.x:
            self._soundness(unit)
        self._bound(budget)

    def _value(self, value: str) -> None:
        kinds = sorted({kind for kind in self._problem.prices.conversions[value] if kind != FLOAT32})
        rounded = dict(zip(kinds, self.program.variables((len(kinds),), upper=1.0).tolist(), strict=True))
        for kind, column in rounded.items():
            self._rounded[value, kind] = column
            if not math.isfinite(self._problem.value_noise(value, kind)):
                self.program.rows(_term([column], 1.0), upper=0.0)
            for user in (*self._reading(value, kind), *self._forced(value, kind)):
                self.program.rows(_term([user], 1.0), _term([column], -1.0), upper=0.0)
            self._converted(value, kind)
        codes = [column for kind, column in rounded.items() if kind != FLOAT16]
        if len(codes) > 1:
            self.program.rows(_term(codes, 1.0), upper=1.0)
        if kinds:
            self._converted(value, FLOAT32)

    def _converted(self, value: str, kind: str) -> None:
        """Z ≥ what is read in the type − what is made in it."""
        readers = list(self._reading(value, kind))
        wanted = kind == FLOAT32 and value in self._problem.menu.outputs
        maker = self._problem.makers.get(value)
        if (maker is None and kind == FLOAT32) or not (readers or wanted):
            return
        cost = self._problem.conversion(value, kind) * _SCALE
        (column,) = self.program.variables((1,), cost=cost, upper=1.0).tolist()
        made = list(self._making(value, kind))
        supply = (_term(made, 1.0),) if made else ()
        if wanted:
            self.program.rows(_term([column], 1.0), *supply, lower=1.0)
        for reader in readers:
            self.program.rows(_term([column], 1.0), *supply, _term([reader], -1.0), lower=0.0)

    def _soundness(self, unit: str) -> None:
        for name, column in self.x[unit].items():
            form = self._problem.form(unit, name)
            if form.follows:
                for value, kind in form.reads.items():
                    if kind != FLOAT32:
                        self._at_most(column, list(self._making(value, kind)))
            if form.is_for_readers:
                readers = [c for value, kinds in form.makes.items() for c in self._reading(value, kinds[0])]
                self._at_most(column, readers)

    def _at_most(self, column: int, others: list[int]) -> None:
        """X ≤ Σ others."""
        more = (_term(others, -1.0),) if others else ()
        self.program.rows(_term([column], 1.0), *more, upper=0.0)

    def _bound(self, budget: float) -> None:
        if not math.isfinite(budget):
            return
        values = ((column, self._problem.value_noise(*key)) for key, column in self._rounded.items())
        terms = [(column, noise) for column, noise in values if 0 < noise < math.inf]
        for unit, columns in self.x.items():
            terms += [(c, n) for form, c in columns.items() if (n := self._problem.unit_noise(unit, form)) > 0]
        for column, noise in terms:
            if noise > budget:
                self.program.rows(_term([column], 1.0), upper=0.0)
        terms = [(column, noise) for column, noise in terms if noise <= budget]
        if terms:
            noises = np.array([[noise for _, noise in terms]])
            self.program.rows((np.array([[column for column, _ in terms]]), noises / budget), upper=1.0)

    def _reading(self, value: str, kind: str) -> Iterator[int]:
        """Columns of the units and formats that read a value in a type."""
        for unit in self._problem.readers.get(value, ()):
            for name, column in self.x[unit].items():
                if self._problem.form(unit, name).reads.get(value) == kind:
                    yield column

    def _making(self, value: str, kind: str) -> Iterator[int]:
        """Columns of the formats in which the value comes in a type."""
        maker = self._problem.makers.get(value)
        for name, column in self.x.get(maker or "", {}).items():
            if kind in self._problem.form(maker or "", name).makes.get(value, ()):
                yield column

    def _forced(self, value: str, kind: str) -> Iterator[int]:
        """Columns of the formats in which the value comes in this type only."""
        maker = self._problem.makers.get(value)
        for name, column in self.x.get(maker or "", {}).items():
            if self._problem.form(maker or "", name).makes.get(value, ()) == (kind,):
                yield column


def _term(columns: list[int], factor: float) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], float]:
    """One row's share of these columns."""
    return np.array([columns], np.int64), factor
