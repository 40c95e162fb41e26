"""One way to every solver: a plan, its value, a proven lower bound, and how both were found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from deepseek_core.errors import PlacementError
from deepseek_core.partition.optimize.atoms import contractions
from deepseek_core.partition.optimize.bounds import launch_bound, lower_bound
from deepseek_core.partition.optimize.evaluate import Plan, evaluate
from deepseek_core.partition.optimize.exact import relaxed, with_slots
from deepseek_core.partition.optimize.fast import fast_plan
from deepseek_core.partition.optimize.labelling import Labelling
from deepseek_core.partition.optimize.mincut import minimum_cut
from deepseek_core.partition.optimize.polish import Judge, polish
from deepseek_core.partition.optimize.problem import Objective, PartitionProblem

__all__ = ["Method", "Outcome", "optimise"]

_EXACT_UNITS = 16
_EXACT_SLOTS = 10
_CUT_UNITS = 2_000
_PROGRAM_SIZE = 8_000


class Method(StrEnum):
    """How to look for a plan.

    Members:
        AUTO: by size: exact for up to 16 units; else fast, with the best bound that is affordable.
        EXACT: a mixed-integer program; optimal unless the time runs out.
        MINCUT: two devices and a sum as objective: optimal but for the number of launches.
        FAST: multilevel local search, near linear in the number of units.
    """

    AUTO = "auto"
    EXACT = "exact"
    MINCUT = "mincut"
    FAST = "fast"


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a solver found.

    Attributes:
        plan: valid.
        value: of the plan, in the objective's unit.
        bound: no valid plan has a smaller value.
        method: which solver found the plan.
        proof: what the bound rests on.
    """

    plan: Plan
    value: float
    bound: float
    method: Method
    proof: str

    @property
    def gap(self) -> float:
        """How far the value is above the bound, at most: 0.01 = 1 %; inf when nothing is proven."""
        if self.value <= self.bound * (1 + 1e-9) + 1e-300:
            return 0.0
        return (self.value - self.bound) / self.bound if self.bound > 0 else np.inf


def optimise(
    problem: PartitionProblem,
    objective: Objective = Objective.LATENCY,
    method: Method = Method.AUTO,
    *,
    seconds: float = 10.0,
) -> Outcome:
    """Find a plan of small value.

    Args:
        seconds: most time for HiGHS; what is proven by then counts.

    Raises:
        PlacementError: no valid plan exists, or none was found; energy is asked for and not known.
        ConfigError: the method does not fit the problem.
    """
    if objective is Objective.ENERGY:
        return optimise(problem.as_energy(), Objective.ADDITIVE, method, seconds=seconds)
    if not problem.size:
        return Outcome(Plan(np.zeros(0, np.int64), ()), 0.0, 0.0, method, "nothing to place")
    return _SOLVERS[method](problem, objective, seconds)


def _auto(problem: PartitionProblem, objective: Objective, seconds: float) -> Outcome:
    if problem.size <= _EXACT_UNITS:
        return _exact(problem, objective, seconds)
    found = _fast(problem, objective, seconds)
    if found.gap == 0.0:
        return found
    if (
        objective is Objective.ADDITIVE
        and len(problem.launch) == 2
        and problem.size <= _CUT_UNITS
        and problem.memory is None
    ):
        found = _better(found, _mincut(problem, objective, seconds))
    if found.gap > 0.0 and problem.size * len(problem.launch) ** 2 <= _PROGRAM_SIZE:
        return _with_program(problem, objective, found, seconds)
    return found


def _fast(problem: PartitionProblem, objective: Objective, seconds: float) -> Outcome:
    plan = fast_plan(problem, objective)
    if plan is None:
        raise _impossible(problem, certain=False)
    value = evaluate(problem, plan, objective)
    bound, proof = lower_bound(problem, objective, value)
    return Outcome(plan, value, bound, Method.FAST, proof)


def _mincut(problem: PartitionProblem, objective: Objective, seconds: float) -> Outcome:
    if objective is not Objective.ADDITIVE:
        raise PlacementError(f"a minimum cut cannot minimise {objective}", fix="choose the method 'fast' or 'exact'")
    cut = minimum_cut(Labelling.of(problem), seconds)
    for contracted in contractions(problem):
        smaller = contracted.problem
        own = minimum_cut(Labelling.of(smaller), seconds)
        if cut is None or own is None:
            break
        excess, _, plan = polish(Judge(smaller, objective), own[1])
        if not excess:
            whole = contracted.expand(plan)
            bound = cut[0] + launch_bound(problem)
            return Outcome(whole, evaluate(problem, whole, objective), bound, Method.MINCUT, "minimum cut")
    return replace(_fast(problem, objective, seconds), method=Method.FAST)


def _with_program(problem: PartitionProblem, objective: Objective, found: Outcome, seconds: float) -> Outcome:
    """A better plan and bound from the program in which parts do not matter."""
    answer, at = relaxed(problem, objective, seconds=seconds)
    if answer.values is None:
        return found
    best = found
    if not problem.groups:
        excess, value, plan = polish(Judge(problem, objective), answer.values[at].argmax(axis=1))
        if not excess and value < best.value:
            best = replace(best, plan=plan, value=value, method=Method.EXACT)
    return replace(best, bound=answer.bound, proof="integer program") if answer.bound > best.bound else best


def _exact(problem: PartitionProblem, objective: Objective, seconds: float) -> Outcome:
    best = _start(problem, objective)
    ceiling = np.inf if best is None else best.value
    floor, proof = lower_bound(problem, objective, min(ceiling, 1e300))
    answer, _ = relaxed(problem, objective, seconds=seconds)
    floor, proof = max((floor, proof), (answer.bound, "integer program"))
    if answer.bound == np.inf:
        raise _impossible(problem, certain=True)
    if best is not None:
        best = replace(best, bound=min(max(floor, best.bound), best.value), proof=proof)
        if best.gap == 0.0:
            return best
    slots = _slots(problem, objective, best, floor)
    known = best.value if best is not None else float(np.where(np.isfinite(problem.allowed), problem.cost, 0).sum() * 2)
    answer, plan = with_slots(problem, objective, slots, seconds=seconds, ceiling=_horizon(problem, known, best))
    if plan is not None:
        best = _better(best, Outcome(plan, evaluate(problem, plan, objective), 0.0, Method.EXACT, proof))
    if best is None:
        raise _impossible(problem, certain=answer.bound == np.inf and slots >= _most(problem))
    complete = slots >= _needed(problem, objective, best.value, floor)
    bound = max(floor, answer.bound) if complete else floor
    return replace(best, bound=min(bound, best.value), proof="integer program" if complete else proof)


def _start(problem: PartitionProblem, objective: Objective) -> Outcome | None:
    plan = fast_plan(problem, objective)
    if plan is None:
        return None
    return Outcome(plan, evaluate(problem, plan, objective), 0.0, Method.EXACT, "")


def _horizon(problem: PartitionProblem, known: float, best: Outcome | None) -> float:
    """No optimal plan ends later; without a known plan, all work and transfers after another."""
    if best is not None:
        return known * (1 + 1e-9)
    return known + float(problem.launch.max() * problem.size + problem.transfer.sum())


def _most(problem: PartitionProblem) -> int:
    return min(problem.size, problem.max_parts or problem.size)


def _needed(problem: PartitionProblem, objective: Objective, value: float, floor: float) -> int:
    """Slots beyond which a plan costs more than `value`: each part more is a launch more."""
    least = float(problem.launch.min())
    if objective is not Objective.ADDITIVE or least == 0.0:
        return _most(problem)
    return min(_most(problem), len(problem.launch) + int((value - floor) / least * (1 + 1e-9)))


def _slots(problem: PartitionProblem, objective: Objective, best: Outcome | None, floor: float) -> int:
    if best is None:
        return _most(problem)
    needed = _needed(problem, objective, best.value, floor)
    if objective is Objective.ADDITIVE:
        return needed
    return min(
        needed, max(_EXACT_SLOTS, len(best.plan.parts)) if problem.size <= _EXACT_SLOTS else len(best.plan.parts)
    )


def _better(one: Outcome | None, other: Outcome) -> Outcome:
    """The better plan with the better bound."""
    if one is None:
        return other
    best = other if other.value < one.value * (1 - 1e-12) else one
    proof = max(one, other, key=lambda outcome: outcome.bound)
    return replace(best, bound=proof.bound, proof=proof.proof)


def _impossible(problem: PartitionProblem, *, certain: bool) -> PlacementError:
    """The error for limits that no plan keeps, or none that was found."""
    limits = [] if problem.max_parts is None else [f" in at most {problem.max_parts} parts"]
    if problem.memory is not None:
        full = np.flatnonzero(np.isfinite(problem.memory))
        limits.append(
            " within " + ", ".join(f"{problem.memory[d]:.0f} bytes of constants on {problem.devices[d]}" for d in full)
        )
    verb = "is possible" if certain else "was found"
    groups = ", keeping claims of several units whole" if problem.groups else ""
    return PlacementError(
        f"no placement{' and'.join(limits)} {verb} that keeps to all limits and pins{groups}",
        fix="loosen the limits or pins",
    )


_SOLVERS: dict[Method, Callable[[PartitionProblem, Objective, float], Outcome]] = {
    Method.AUTO: _auto,
    Method.EXACT: _exact,
    Method.MINCUT: _mincut,
    Method.FAST: _fast,
}
