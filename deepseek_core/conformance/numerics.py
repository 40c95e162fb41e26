"""Numerics cases: every rule of a capability table, with shapes and numbers chosen to break it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deepseek_core.conformance.case import REFUSED, Case, Failed, Skipped
from deepseek_core.conformance.context import PLAIN, Context
from deepseek_core.conformance.draft import Draft
from deepseek_core.conformance.forms import Family, family, fit
from deepseek_core.conformance.numbers import policies
from deepseek_core.conformance.problem import Problem
from deepseek_core.conformance.rules import labelled_rules
from deepseek_core.options import CompileOptions
from deepseek_core.target import Capabilities, OpRule

__all__ = ["numerics_cases", "solve_or_refuse", "tie_drafts"]


def numerics_cases(capabilities: Capabilities) -> Iterator[Case]:
    """Cases of every rule, in the order of the table."""
    for rule, types in labelled_rules(capabilities):
        found = family(rule.op, weight=rule.weight is not None)
        prefix = f"numerics/{rule.op}/{types}"
        if found is None:
            yield Case(f"{prefix}/unknown_op", "an op the kit has no cases for", _unknown(rule.op), rule.op, types)
            continue
        for draft, probes in _drafts(rule, found, prefix, dynamic=capabilities.dynamic_shapes):
            yield Case(draft.id, probes, _check(draft), rule.op, types)


def tie_drafts(capabilities: Capabilities) -> Iterator[Draft]:
    """Drafts in which rounding and accumulator width show."""
    for rule, types in labelled_rules(capabilities):
        found = family(rule.op, weight=rule.weight is not None)
        if found is None:
            continue
        base = fit(found, rule.limits)
        for policy in policies(rule):
            if policy.name in ("rounding_ties", "accumulator_16bit"):
                name = f"shown/{rule.op}/{types}/{policy.name}"
                yield Draft(name, rule, found, policy, policy.settings(base))


def solve_or_refuse(problem: Problem, context: Context, options: CompileOptions = PLAIN) -> str | None:
    """Hold the backend's claims against its table, then its results against the reference.

    A unit that the table refuses must be refused by the backend too; any other must be claimed, compile, load
    and run as the reference says.

    Returns:
        A remark when the model is refused as declared.

    Raises:
        Failed: claims and table disagree, or results are wrong.
    """
    declared = context.declared_refusals(problem.model)
    refusals = context.refusals(problem.model, declared)
    if claimed := sorted(set(declared) - set(refusals)):
        raise Failed(f"unit '{claimed[0]}' is claimed, but the capability table refuses it: {declared[claimed[0]]}")
    if denied := sorted(set(refusals) - set(declared)):
        raise Failed(f"unit '{denied[0]}' is refused, but the capability table accepts it: {refusals[denied[0]]}")
    if declared:
        return f"{REFUSED}: {next(iter(declared.values()))}"
    context.solve(problem, options)
    return None


def _check(draft: Draft) -> Callable[[Context], str | None]:
    def check(context: Context) -> str | None:
        remark = solve_or_refuse(draft.problem, context)
        if remark is None:
            context.solve_by_every_kernel(draft.problem)
        return remark

    return check


def _unknown(op: str) -> Callable[[Context], str | None]:
    def check(context: Context) -> str | None:
        raise Skipped(f"the kit has no cases for {op}")

    return check


def _drafts(rule: OpRule, found: Family, prefix: str, *, dynamic: bool) -> Iterator[tuple[Draft, str]]:
    base, known = fit(found, rule.limits), policies(rule)
    plain = known[0]
    for policy in known:
        yield Draft(f"{prefix}/{policy.name}", rule, found, policy, policy.settings(base)), policy.probes
    for variant in found.variants(base):
        yield Draft(f"{prefix}/{variant.name}", rule, found, plain, variant.settings), variant.probes
    for rank in found.ranks:
        if rank != len(base.shape):
            yield Draft(f"{prefix}/rank_{rank}", rule, found, plain, found.base(rank)), f"data of rank {rank}"
    yield from _fused_drafts(rule, found, prefix)
    if found.batched:
        yield Draft(f"{prefix}/zero_batch", rule, found, plain, base.without_samples()), "a batch of no samples"
        if dynamic:
            draft = Draft(f"{prefix}/dynamic_batch", rule, found, plain, base, symbolic=True)
            yield draft, "a symbolic batch, run at two sizes"


def _fused_drafts(rule: OpRule, found: Family, prefix: str) -> Iterator[tuple[Draft, str]]:
    base, plain = fit(found, rule.limits), policies(rule)[0]
    for activation in rule.fused:
        draft = Draft(f"{prefix}/fused_{activation}", rule, found, plain, base, activation)
        yield draft, f"{activation} inside the unit, where the output could hold what it cuts off"
        if activation == "Clip":
            lower = Draft(f"{prefix}/fused_Clip_lower", rule, found, plain, base, activation, one_sided=True)
            yield lower, "Clip without an upper bound"
