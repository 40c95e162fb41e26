"""Numbers that the kit tests, by the kind of arithmetic a rule declares."""

from __future__ import annotations

from deepseek_core.conformance.numbers import function, integer, real
from deepseek_core.conformance.numbers.base import Numbers, Policy, Question
from deepseek_core.conformance.numbers.tensors import is_integer
from deepseek_core.ir.ops import PASSTHROUGH, info
from deepseek_core.target import OpRule

__all__ = ["Numbers", "Policy", "Question", "policies"]


def policies(rule: OpRule) -> tuple[Policy, ...]:
    """Policies that a rule's types leave room for; the first is the plain one."""
    return tuple(policy for policy in _all(rule) if policy.applies(rule))


def _all(rule: OpRule) -> tuple[Policy, ...]:
    if info(rule.op).accumulates:
        second = rule.weight if rule.weight is not None else rule.activation
        return integer.POLICIES if is_integer(rule.activation) and is_integer(second) else real.POLICIES
    return function.MOVEMENT if rule.op in PASSTHROUGH else function.FUNCTION
