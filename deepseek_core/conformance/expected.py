"""Expected outputs: the reference's, under the numerics that a backend declared."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from deepseek_core.conformance.problem import Problem
from deepseek_core.expectations import Expectations
from deepseek_core.reference import evaluate
from deepseek_core.reference.numerics import DEFINITION, Numerics, following

__all__ = ["expected_outputs", "shows"]

Outputs = dict[str, NDArray[Any]]


def expected_outputs(problem: Problem, expectations: Expectations) -> tuple[Outputs, ...]:
    """Outputs of each run of a problem; computed once for each kind of declared numerics."""
    numerics = Numerics(expectations.rounding, expectations.accumulator_bits)
    if numerics not in problem.expected:
        with following(numerics):
            problem.expected[numerics] = tuple(evaluate(problem.model, feeds) for feeds in problem.feeds)
    return problem.expected[numerics]


def shows(expectations: Expectations) -> bool:
    """Whether the declared numerics differ from the reference's own."""
    return Numerics(expectations.rounding, expectations.accumulator_bits) != DEFINITION
