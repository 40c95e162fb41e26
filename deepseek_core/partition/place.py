"""From claims to a placement: a target for every unit, joined into few parts, with the predicted cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deepseek_core.cost import Cost
from deepseek_core.errors import GateError, PlacementError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.partition.claims import claims
from deepseek_core.partition.gates import Gates, unmet
from deepseek_core.partition.graph import UnitGraph
from deepseek_core.partition.optimal import OptimalSolver, memory_limits
from deepseek_core.partition.profile import Profile
from deepseek_core.partition.roofline import constant_bytes
from deepseek_core.partition.solver import Offer, Problem, Solution, Solver
from deepseek_core.partition.transfer import TransferModel
from deepseek_core.placement import Placement
from deepseek_core.registry import Backend
from deepseek_core.target import Target

__all__ = ["place", "propose", "settle"]

_NAMED = 5
"""Units and reasons that one error line names; the rest is counted."""


def place(
    model: QuantizedModel,
    targets: Sequence[tuple[Backend, Target]],
    pins: Mapping[str, Target] | None = None,
    solver: Solver | None = None,
    transfers: TransferModel | None = None,
    *,
    profile: Profile | None = None,
    gates: Gates | None = None,
) -> Placement:
    """Place every unit of the main graph on a target.

    Args:
        targets: in order of preference.
        pins: unit name → the target it must run on.
        solver: how to choose where several targets would run a unit; default: `OptimalSolver()`, least latency.
        transfers: what is known of moving tensors between the targets; default: the profile, else analytic.
        profile: what was measured; default: nothing.
        gates: what the placement must reach.

    Raises:
        PlacementError: a unit that no target accepts (the message has every refusal), or a pin or a limit that cannot
            be kept.
        GateError: the placement does not reach what `gates` ask.
        BackendError: a backend's claims or costs break the contract.
    """
    problem = propose(model, targets, pins, transfers, profile=profile)
    placement = settle(problem, solver)
    missed = unmet(problem.graph, placement, gates) if gates is not None else []
    if missed:
        raise GateError("; ".join(missed), fix="loosen the gate, pin units, or change what is refused")
    return placement


def propose(
    model: QuantizedModel,
    targets: Sequence[tuple[Backend, Target]],
    pins: Mapping[str, Target] | None = None,
    transfers: TransferModel | None = None,
    *,
    profile: Profile | None = None,
) -> Problem:
    """The problem that `place` solves: claims and refusals of every target, and what is fixed; arguments as there.

    Raises:
        PlacementError: no target, or a pin that cannot be kept.
        BackendError: a backend's claims break the contract.
    """
    if not targets:
        raise PlacementError("no target was chosen", fix="name at least one target, for example cpu")
    graph = UnitGraph(model)
    offers = []
    for target, backend in {target: backend for backend, target in targets}.items():
        claimed, refused = claims(model, backend, target)
        measured = None if profile is None else profile.device(backend, target)
        offers.append(Offer(backend, target, tuple(claimed), tuple(refused), measured))
    if transfers is None:
        transfers = TransferModel({} if profile is None else profile.links(targets))
    problem = Problem(graph, tuple(offers), pins or {}, transfers)
    _check_pins(problem)
    return problem


def settle(problem: Problem, solver: Solver | None = None) -> Placement:
    """The placement that a solver (default: `OptimalSolver()`) finds.

    Raises:
        PlacementError: a unit that no target accepts, or a pin or a limit that cannot be kept.
        BackendError: a backend's costs break the contract.
    """
    solution = (solver or OptimalSolver()).solve(problem)
    target_of = {name: claim.target for claim in solution.claims for name in claim.units}
    unplaced = [name for name in problem.graph.index if name not in target_of]
    if unplaced:
        raise _unsupported(problem, unplaced)
    _check_memory(problem, target_of)
    return _placement(problem, solution, target_of)


def _placement(problem: Problem, solution: Solution, target_of: Mapping[str, Target]) -> Placement:
    graph = problem.graph
    merged = solution.merged(graph)
    parts = [(target_of[graph.units[units[0]].name], units) for units in merged]
    cost = Cost.total([*(problem.part_cost(*part) for part in parts), problem.transfer_cost(parts)])
    return Placement(
        units={unit.name: target_of[unit.name] for unit in graph.units},
        parts=tuple(tuple(graph.units[i].name for i in units) for units in merged),
        refusals=tuple(refusal for offer in problem.offers for refusal in offer.refusals),
        cost=cost,
        gap=solution.gap,
        optimality=solution.optimality,
    )


def _check_pins(problem: Problem) -> None:
    for name, target in problem.pins.items():
        if name not in problem.graph.index:
            raise PlacementError(
                f"pin on '{name}', which is not a unit of the model", fix="take unit names from `deepseek inspect`"
            )
        offer = next((offer for offer in problem.offers if offer.target == target), None)
        if offer is None:
            raise PlacementError(
                f"'{name}' is pinned to {target}, which is not among the targets", fix=f"add {target} to the targets"
            )
        if name not in offer.claim_of:
            reason = next(r.reason for r in offer.refusals if r.unit == name)
            raise PlacementError(f"'{name}' is pinned to {target}, which refuses it: {reason}", fix="move the pin")


def _check_memory(problem: Problem, target_of: Mapping[str, Target]) -> None:
    """Solvers that look at no limits are held to them too."""
    held: dict[Target, int] = {}
    for unit in problem.graph.units:
        target = target_of[unit.name]
        held[target] = held.get(target, 0) + constant_bytes(unit)
    for target, limit in memory_limits(problem, {}).items():
        if held.get(target, 0) > limit:
            raise PlacementError(
                f"{target} would hold {held[target]} bytes of constants, and its memory is {limit}",
                fix="pin units elsewhere, or take a solver that keeps to limits",
            )


def _unsupported(problem: Problem, names: Sequence[str]) -> PlacementError:
    """One line with the first units that have no place; units of one op with equal refusals share an entry."""
    reasons = {(r.unit, r.target): r.reason for offer in problem.offers for r in offer.refusals}
    alike: dict[tuple[str, str], list[str]] = {}
    for name in names:
        said = [f"{o.target}: {reasons.get((name, o.target)) or _apart(o, name)}" for o in problem.offers]
        op = problem.graph.units[problem.graph.index[name]].op
        alike.setdefault((op, " | ".join(said)), []).append(f"'{name}'")
    entries = [f"{_listed(units)} ({op}) [{said}]" for (op, said), units in alike.items()]
    more = len(entries) - _NAMED
    listed = "; ".join(entries[:_NAMED]) + (f"; and {more} more reasons like these" if more > 0 else "")
    return PlacementError(
        f"{len(names)} of {len(problem.graph.units)} units run on no chosen target: {listed}",
        fix="add a target that runs them (cpu runs every ONNX op), or change those layers",
    )


def _listed(units: Sequence[str]) -> str:
    more = len(units) - _NAMED
    return ", ".join(units[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _apart(offer: Offer, name: str) -> str:
    others = ", ".join(f"'{unit}'" for unit in offer.claim_of[name].units if unit != name)
    return f"runs it only together with {others}, which cannot be joined here"
