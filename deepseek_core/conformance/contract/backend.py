"""Contract: what a backend says about itself, without compiling anything."""

from __future__ import annotations

from math import isclose, isfinite
from time import perf_counter

from deepseek_core.conformance.case import Failed
from deepseek_core.conformance.context import Context
from deepseek_core.conformance.contract.base import Contract
from deepseek_core.conformance.draft import plain_problems
from deepseek_core.cost import Basis, Cost
from deepseek_core.ir import Unit
from deepseek_core.partition import roofline

__all__ = ["CONTRACT"]

CONTRACT = Contract("backend")

_PROBE_SECONDS = 5.0
_SAMPLES = 8


@CONTRACT.case("info", "name, summary and version are given")
def _info(context: Context) -> None:
    info = context.backend.info
    for field in ("name", "summary", "version"):
        if not getattr(info, field).strip():
            raise Failed(f"deepseek_backend gives an empty {field}")


@CONTRACT.case("probe", "the probe answers quickly, and has a fix for everything that is missing")
def _probe(context: Context) -> None:
    start = perf_counter()
    here = context.backend.probe(context.target)
    if (seconds := perf_counter() - start) > _PROBE_SECONDS:
        raise Failed(f"the probe took {seconds:.1f} s; `deepseek backends` waits for it")
    if not (here.can_compile and here.can_run) and not here.missing:
        raise Failed("the probe says that something is missing, but not what")
    for missing in here.missing:
        if not missing.what.strip() or not missing.fix.strip():
            raise Failed(f"the probe gives no fix for '{missing.what}'")


@CONTRACT.case("capabilities", "the table is for the target asked about, and the same every time")
def _capabilities(context: Context) -> None:
    table = context.backend.capabilities(context.target)
    if table.target != context.target:
        raise Failed(f"the table of {context.target} says it is of {table.target}")
    if table != context.capabilities:
        raise Failed("the capability table differs between two calls")
    if not table.rules and not table.any_float:
        raise Failed("the capability table is empty")


@CONTRACT.case("cost", "costs are finite and rest on a basis")
def _cost(context: Context) -> None:
    for name, units in _sample_units(context):
        own = context.backend.cost(units, context.target)
        _check_cost(own if own is not None else roofline(units, context.capabilities), f"cost of {name}")


@CONTRACT.case("kernels", "kernel candidates have names of their own and costs with a basis")
def _kernels(context: Context) -> None:
    for name, units in _sample_units(context):
        for unit in units:
            candidates = context.backend.kernels(unit, context.target)
            names = [candidate.name for candidate in candidates]
            if len(set(names)) != len(names):
                raise Failed(f"two kernel candidates of {name} have one name: {', '.join(sorted(names))}")
            for candidate in candidates:
                _check_cost(candidate.estimate, f"kernel '{candidate.name}' of {name}")
                if not candidate.name or candidate.workspace < 0:
                    raise Failed(f"kernel '{candidate.name}' of {name} has a workspace of {candidate.workspace} bytes")


def _sample_units(context: Context) -> list[tuple[str, list[Unit]]]:
    """Units of the first few rules."""
    found: list[tuple[str, list[Unit]]] = []
    for name, problem in plain_problems(context.capabilities):
        if not context.declared_refusals(problem.model):
            found.append((name, problem.model.units()))
        if len(found) == _SAMPLES:
            break
    return found


def _check_cost(cost: Cost, what: str) -> None:
    if not isinstance(cost, Cost):
        raise Failed(f"{what} is a {type(cost).__name__}, not a Cost")
    if not isfinite(cost.seconds) or cost.seconds < 0:
        raise Failed(f"{what} is {cost.seconds} s")
    if not cost.bases:
        raise Failed(f"{what} rests on no basis")
    if unknown := [basis for basis in cost.bases if basis not in tuple(Basis)]:
        raise Failed(f"{what} rests on '{unknown[0]}', which is no basis")
    if not isclose(sum(cost.bases.values()), cost.seconds, rel_tol=1e-6, abs_tol=1e-12):
        raise Failed(f"{what} is {cost.seconds} s, but its bases sum to {sum(cost.bases.values())} s")
