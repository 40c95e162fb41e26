"""Solvers against all assignments of small problems."""

from __future__ import annotations

import itertools
import math

import pytest
from deepseek.quantization.search.formats import Format, Menu
from deepseek.quantization.search.mixing.exact import solve_exact
from deepseek.quantization.search.mixing.prices import Prices
from deepseek.quantization.search.mixing.problem import Assignment, Problem
from deepseek.quantization.search.mixing.relaxed import solve_relaxed
from deepseek.quantization.search.sensitivity import Sensitivity
from hypothesis import given, settings
from hypothesis import strategies as st

CODES, FLOAT, HALF = "uint8 per_tensor asymmetric", "float32", "float16"
FIGURES = st.floats(0.01, 1.0)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """A chain with a side branch: some units accumulate, some follow, some are float only."""
    count = draw(st.integers(2, 5))
    units: dict[str, tuple[Format, ...]] = {}
    for number in range(count):
        sources = [f"v{number}"]
        if number > 1 and draw(st.booleans()):
            sources.append("v1")
        formats = [Format(FLOAT, dict.fromkeys(sources, FLOAT), {f"v{number + 1}": (FLOAT,)})]
        kind = draw(st.sampled_from(["matrix", "loose", "elementwise", "float"]))
        made = (CODES, FLOAT) if kind == "loose" else (CODES,)
        follows = kind == "elementwise"
        if kind != "float":
            reads = dict.fromkeys(sources, CODES)
            formats.append(Format("int8", reads, {f"v{number + 1}": made}, follows, follows))
        if draw(st.booleans()):
            formats.append(Format(HALF, dict.fromkeys(sources, HALF), {f"v{number + 1}": (HALF,)}))
        units[f"u{number}"] = tuple(formats)
    values = [f"v{number}" for number in range(count + 1)]
    prices = {u: {f.name: draw(FIGURES) for f in own} for u, own in units.items()}
    conversions = {v: {kind: draw(FIGURES) / 4 for kind in (FLOAT, CODES, HALF)} for v in values}
    noises = {u: {f.name: draw(FIGURES) for f in own if f.name == "int8"} for u, own in units.items()}
    rounding = {v: {CODES: draw(FIGURES), HALF: draw(FIGURES) / 100} for v in values}
    menu = Menu(units, {}, {}, (values[-1],))
    return Problem(menu, Prices(prices, conversions), Sensitivity(rounding, noises, {}, 1))


def every(problem: Problem) -> list[Assignment]:
    names = [[form.name for form in own] for own in problem.menu.units.values()]
    found = [dict(zip(problem.menu.units, choice, strict=True)) for choice in itertools.product(*names)]
    return [assignment for assignment in found if problem.is_sound(assignment)]


@settings(max_examples=60, deadline=None)
@given(problems(), st.just(0.0) | st.floats(1e-3, 1.2))
def test_the_exact_solution_is_the_best_of_all(problem: Problem, share: float) -> None:
    sound = every(problem)
    budget = share * max(map(problem.noise, sound))
    best = min(problem.seconds(a) for a in sound if problem.noise(a) <= budget)
    found, proven = solve_exact(problem, budget)
    assert found is not None
    assert proven
    assert problem.is_sound(found)
    assert problem.noise(found) <= budget * (1 + 1e-6)
    assert problem.seconds(found) == pytest.approx(best, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(problems(), st.floats(0.0, 1.2))
def test_the_relaxed_solution_is_sound_within_the_bound_and_near_the_best(problem: Problem, share: float) -> None:
    sound = every(problem)
    budget = share * max(map(problem.noise, sound))
    found = solve_relaxed(problem, budget)
    assert problem.is_sound(found)
    assert problem.noise(found) <= budget
    assert problem.seconds(found) <= problem.seconds(dict.fromkeys(problem.menu.units, FLOAT))
    if budget >= max(map(problem.noise, sound)):
        best = min(map(problem.seconds, sound))
        assert problem.seconds(found) <= best * 1.5


def test_a_format_that_overflows_is_never_chosen() -> None:
    formats = (Format(FLOAT, {"v0": FLOAT}, {"v1": (FLOAT,)}), Format(HALF, {"v0": HALF}, {"v1": (HALF,)}))
    problem = Problem(
        Menu({"u": formats}, {}, {}, ("v1",)),
        Prices({"u": {FLOAT: 1.0, HALF: 0.1}}, {v: {FLOAT: 0.0, HALF: 0.0} for v in ("v0", "v1")}),
        Sensitivity({"v1": {HALF: math.inf}}, {}, {}, 1),
    )
    for budget in (1e9, math.inf):
        assert solve_exact(problem, budget)[0] == {"u": FLOAT}
        assert solve_relaxed(problem, budget) == {"u": FLOAT}
