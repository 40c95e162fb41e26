"""Softmax and functions of int16: exact integer arithmetic, held against the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_backend_npu.lowering.wide import _planned
from deepseek_backend_npu.runtime import NpuExecutable
from deepseek_backend_npu.verification.networks import unary_network
from deepseek_core.lowering import UnaryFunction
from deepseek_core.reference import evaluate

_CODES = np.arange(-32768, 32768)


@pytest.mark.parametrize("shape", [(1, 1), (3, 10), (1, 1000), (2, 3, 5, 7)])
def test_softmax_is_within_a_code_of_the_definition(shape, compiled) -> None:
    model = unary_network("Softmax", shape, axis=-1, scale=0.08, result=(1 / 256, -128))
    (name,) = (info.name for info in model.inputs)
    rng = np.random.default_rng(0)
    for low, high in ((-128, 127), (100, 127), (127, 127), (-128, -128)):
        feeds = {name: rng.integers(low, high + 1, shape).astype(np.int8)}
        (actual,) = NpuExecutable(compiled(model)).run(feeds).values()
        (expected,) = evaluate(model, feeds).values()
        assert np.abs(actual.astype(int) - expected.astype(int)).max() <= 1


def test_softmax_of_one_large_code_among_many_small_ones_is_exact(compiled) -> None:
    """The sum of a thousand exponentials just above nothing must not be lost."""
    model = unary_network("Softmax", (1, 1000), axis=-1, scale=0.046, result=(1 / 256, -128))
    (name,) = (info.name for info in model.inputs)
    codes = np.full((1, 1000), -128, np.int8)
    codes[0, 0] = 127
    (actual,) = NpuExecutable(compiled(model)).run({name: codes}).values()
    (expected,) = evaluate(model, {name: codes}).values()
    np.testing.assert_array_equal(actual, expected)


def test_rows_that_are_too_long_are_refused_by_length() -> None:
    from deepseek_backend_npu.lowering.limits import problem

    (unit,) = unary_network("Softmax", (1, 2049), axis=-1, scale=0.1, result=(1 / 256, -128)).units()
    assert "2048" in (problem(unit) or "")


@settings(max_examples=25, deadline=None)
@given(
    op=st.sampled_from(["Sigmoid", "Tanh", "Erf", "Softplus"]),
    reach=st.floats(0.01, 60.0),
    full=st.floats(0.2, 3.0),
)
def test_planned_tables_are_within_a_code_for_every_code(op, reach, full) -> None:
    """A plan says what the NPU computes; it must hold for all codes, or there must be none."""
    scale = float(np.float32(reach / 32768))
    step = float(np.float32(full * max(1.0, reach if op == "Softplus" else 1.0) / 32768))
    plan = _planned(UnaryFunction(op), scale, step)
    if plan is None:
        return
    real = UnaryFunction(op)((_CODES * np.float32(scale)).astype(np.float32))
    wanted = np.clip(np.rint(real / np.float32(step)), -32768, 32767)
    assert np.abs(plan.results() - wanted).max() <= 1


def test_a_function_with_a_jump_between_points_has_no_plan() -> None:
    assert _planned(UnaryFunction("Sigmoid"), 1.0, 1 / 32768) is None, "a step within one code"
