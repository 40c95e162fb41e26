"""Plain problems: the base form of each rule with its plain numbers."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from deepseek_core.conformance.forms import Family, Settings, family, fit
from deepseek_core.conformance.numbers import Policy, Question, policies
from deepseek_core.conformance.problem import Problem, pose
from deepseek_core.conformance.rules import labelled_rules
from deepseek_core.target import Capabilities, OpRule

__all__ = ["Draft", "plain_problems"]


@dataclass(eq=False)
class Draft:
    """A problem that is posed when first asked for, and then kept.

    Attributes:
        id: seeds the random numbers, so that a case is the same everywhere.
        activation, one_sided, symbolic: as `pose` takes them.
    """

    id: str
    rule: OpRule
    family: Family
    policy: Policy
    settings: Settings
    activation: str = ""
    one_sided: bool = False
    symbolic: bool = False

    @cached_property
    def problem(self) -> Problem:
        rng = np.random.default_rng(zlib.crc32(self.id.encode()))
        form = self.family.form(self.settings)
        numbers = self.policy.fill(Question(form, self.rule, rng))
        return pose(
            form,
            numbers,
            self.rule,
            activation=self.activation,
            one_sided=self.one_sided,
            symbolic=self.symbolic,
        )


def plain_problems(
    capabilities: Capabilities, *, seed: str = "plain", symbolic: bool = False
) -> Iterator[tuple[str, Problem]]:
    """The plain problem of each rule that the kit knows, with its op and types; posed one by one."""
    for rule, types in labelled_rules(capabilities):
        found = family(rule.op, weight=rule.weight is not None)
        if found is None or (symbolic and not found.batched):
            continue
        name = f"{rule.op}/{types}"
        base, policy = fit(found, rule.limits), policies(rule)[0]
        yield name, Draft(f"{seed}/{name}", rule, found, policy, base, symbolic=symbolic).problem
