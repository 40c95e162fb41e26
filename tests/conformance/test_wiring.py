"""What the kit's random graphs are made of."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from deepseek_core import Backend, Capabilities, DType, Granularity, OpRule, QuantScheme
from deepseek_core.conformance.context import Context
from deepseek_core.conformance.wiring import _Draft, wiring_cases
from deepseek_core.ir.verify import verify
from deepseek_core.reference import evaluate

from .mutants import Faithful
from .mutants.base import TABLE, TARGET


@pytest.fixture(scope="module")
def problems(monkeypatch_module):
    """What the cases solve, in order."""
    found = []
    monkeypatch_module.setattr(Context, "solve", lambda self, problem: found.append(problem))
    for case in wiring_cases(TABLE):
        case.check(Context(Backend(Faithful(), "faithful"), TARGET))
    return found


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_graphs_are_valid_and_run(problems) -> None:
    assert len(problems) == 16
    for problem in problems:
        verify(problem.model)
        results = evaluate(problem.model, problem.feeds[0])
        assert {name: array.shape for name, array in results.items()} == {
            o.name: o.shape for o in problem.model.outputs
        }


def test_values_are_shared_and_told_apart(problems) -> None:
    shared = distinct = 0
    for problem in problems:
        readers = Counter(
            value for node in problem.model.graph for value in node.inputs if value and not value.const_value
        )
        shared += any(count > 1 for count in readers.values())
        results = list(evaluate(problem.model, problem.feeds[0]).values())
        distinct += not any(np.array_equal(a, b) for i, a in enumerate(results) for b in results[:i])
    assert shared > 12
    assert distinct > 8


@pytest.mark.parametrize("granularity", [Granularity.PER_TENSOR, Granularity.PER_CHANNEL])
@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8])
def test_weights_of_every_scheme_can_be_drawn(dtype, granularity) -> None:
    codes = QuantScheme(DType.INT8)
    rule = OpRule("Conv", codes, codes, QuantScheme(dtype, granularity))
    draft = _Draft(Capabilities(TARGET, (rule,)), offset=True)
    weight = draft.weight(np.random.default_rng(0), 5, 3)
    assert weight.values.shape == (5, 3, 1, 1)
    assert np.abs(weight.qparams.dequantize(weight.values)).max() < 1
    assert weight.values.std() > 30


def test_the_same_every_time(problems) -> None:
    context = Context(Backend(Faithful(), "faithful"), TARGET)
    again = []
    context.solve = again.append  # type: ignore[method-assign]
    next(iter(wiring_cases(TABLE))).check(context)
    assert [node.name for node in again[0].model.graph] == [node.name for node in problems[0].model.graph]
