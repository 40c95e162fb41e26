"""Limit cases: each bound of a rule from both sides. Just inside must run, just outside must be refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from deepseek_core.conformance.case import Case, Skipped
from deepseek_core.conformance.context import Context
from deepseek_core.conformance.draft import Draft
from deepseek_core.conformance.forms import Family, family, fit, with_subject
from deepseek_core.conformance.numbers import policies
from deepseek_core.conformance.numerics import solve_or_refuse
from deepseek_core.conformance.rules import labelled_rules
from deepseek_core.errors import ModelError
from deepseek_core.ir import QuantizedModel
from deepseek_core.partition.limits import broken_limit
from deepseek_core.target import Capabilities, Limit, OpRule

__all__ = ["limit_cases"]

_MOST_ELEMENTS = 2**24
_OTHER_STRINGS = (
    "NOTSET",
    "VALID",
    "SAME_UPPER",
    "constant",
    "edge",
    "reflect",
    "nearest",
    "linear",
    "cubic",
    "tanh",
    "none",
)
_SHOWN_ALLOWED = 6

Value = float | str


@dataclass(eq=False)
class _LimitCheck:
    """A plain problem whose subject has one value."""

    draft: Draft
    limit: Limit
    inside: bool

    def __call__(self, context: Context) -> str | None:
        form = self.draft.family.form(self.draft.settings)
        size = sum(prod(shape) for shape in (*form.data, form.weight or ()))
        if size > _MOST_ELEMENTS:
            raise Skipped(f"the case would need {size:,} elements")
        try:
            model = self.draft.problem.model
        except ModelError as error:
            raise Skipped(f"no valid {self.draft.rule.op} has this value ({error.message})") from None
        if self._keeps(model) is not self.inside:
            raise Skipped(f"{self.draft.rule.op} cannot be built with {self.limit.subject} at this value")
        if self.inside and (refused := context.declared_refusals(self.draft.problem.model)):
            raise Skipped(f"another bound is in the way: {next(iter(refused.values()))}")
        remark = solve_or_refuse(self.draft.problem, context)
        if self.inside or remark is not None:
            return remark
        return "runs by another rule of the table"

    def _keeps(self, model: QuantizedModel) -> bool:
        return all(broken_limit(unit, self.limit) is None for unit in model.units())


def limit_cases(capabilities: Capabilities) -> Iterator[Case]:
    """Cases of every limit of every rule."""
    for rule, types in labelled_rules(capabilities):
        found = family(rule.op, weight=rule.weight is not None)
        for limit in rule.limits if found is not None else ():
            assert found is not None
            yield from _cases(rule, types, found, limit)


def _cases(rule: OpRule, types: str, found: Family, limit: Limit) -> Iterator[Case]:
    base, plain = fit(found, rule.limits), policies(rule)[0]
    prefix = f"limits/{rule.op}/{types}/{limit.subject}"
    if limit.subject == "static":
        draft = Draft(f"{prefix}_outside", rule, found, plain, base, symbolic=True)
        yield Case(draft.id, "a symbolic shape", _LimitCheck(draft, limit, False), rule.op, types)
        return
    for value, inside in _values(limit):
        side = "inside" if inside else "outside"
        settings = with_subject(found, base, limit.subject, value)
        shown = f"{value:g}" if not isinstance(value, str) else value
        draft = Draft(f"{prefix}={shown}_{side}", rule, found, plain, settings)
        probes = f"{limit.subject} = {shown} is {'within' if inside else 'beyond'} the declared limit"
        yield Case(draft.id, probes, _LimitCheck(draft, limit, inside), rule.op, types)


def _values(limit: Limit) -> Iterator[tuple[Value, bool]]:
    if limit.allowed is not None:
        yield from ((value, True) for value in limit.allowed[:_SHOWN_ALLOWED])
        yield from ((value, False) for value in _unlisted(limit.allowed))
        return
    if limit.minimum is not None:
        yield limit.minimum, True
        if limit.subject.startswith("attr:") or limit.minimum >= 1:
            yield limit.minimum - 1, False
    if limit.maximum is not None:
        yield limit.maximum, True
        yield limit.maximum + 1, False


def _unlisted(allowed: tuple[Value, ...]) -> Iterator[Value]:
    """One value that is not in the list."""
    if any(isinstance(value, str) for value in allowed):
        yield next(value for value in _OTHER_STRINGS if value not in allowed)
        return
    yield max(value for value in allowed if not isinstance(value, str)) + 1
