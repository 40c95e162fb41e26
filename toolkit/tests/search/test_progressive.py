from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from deepseek.quantization import QuantizationRecipe
from deepseek.quantization.precision import Precision
from deepseek.quantization.run import run, start
from deepseek.quantization.search.compensation import Equations, directions
from deepseek.quantization.search.judge import Judge
from deepseek.quantization.steps import StepSpec
from hypothesis import given
from hypothesis import strategies as st

from deepseek_core import CalibratorSpec, QuantizedModel, discover
from deepseek_core.errors import ConfigError

from .conftest import perceptron, samples_of

FOUR_BIT = QuantizationRecipe(Precision.W4A8, calibrator=CalibratorSpec("minmax"))


def noise(model: QuantizedModel, **options: int) -> float:
    """At the outputs, on samples that the step never saw."""
    steps = (StepSpec("progressive", options),) if options else ()
    recipe = replace(FOUR_BIT, steps=steps)
    work = run(start(model, samples_of(model, 16), recipe), recipe)
    judge = Judge(work.origin, samples_of(model, 16, seed=99), None, discover())
    return judge.fidelity(work.quantized()).noise


def test_it_helps_over_quantizing_in_one_shot() -> None:
    model = perceptron(6, 32)
    plain, staged = noise(model), noise(model, stages=3)
    assert staged < 0.9 * plain


def test_the_weights_keep_their_codes() -> None:
    model = perceptron(4)
    recipe = replace(FOUR_BIT, steps=(StepSpec("progressive"),))
    start_work = start(model, samples_of(model), recipe)
    before = {unit.name: unit for unit in start_work.quantized().units()}
    for unit in run(start_work, recipe).quantized().units():
        for mine, theirs in zip(unit.inputs, before[unit.name].inputs, strict=True):
            if mine is not None and theirs is not None and mine.role == "weight":
                np.testing.assert_array_equal(mine.value.const_value.numpy(), theirs.value.const_value.numpy())  # type: ignore[union-attr]


def test_it_is_the_same_each_time_and_leaves_its_argument_alone() -> None:
    model = perceptron(4)
    recipe = replace(FOUR_BIT, steps=(StepSpec("progressive"),))
    work = start(model, samples_of(model), recipe)
    digest = work.model.digest()
    assert run(work, recipe).quantized().digest() == run(work, recipe).quantized().digest()
    assert work.model.digest() == digest


@pytest.mark.parametrize("options", [{"stages": 0}, {"directions": 0}, {"samples": 0}])
def test_counts_start_at_one(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        StepSpec("progressive", options).build()


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20), st.integers(1, 5))
def test_directions_divide_the_error(error: list[float], count: int) -> None:
    whole = np.array(error)
    found = directions("u", whole, count)
    assert len(found) <= count
    if np.square(whole).sum() > 0:
        np.testing.assert_allclose(sum(direction.shift for direction in found), whole)


def test_the_shares_are_those_that_explain_the_residual() -> None:
    rng = np.random.default_rng(0)
    wanted, equations = np.array([1.0, -0.5, 0.25]), Equations(3)
    for _ in range(4):
        effects = rng.standard_normal((3, 50))
        equations.add(wanted @ effects, list(effects))
    np.testing.assert_allclose(equations.shares(), wanted, atol=1e-2)


def test_effects_that_explain_nothing_of_other_samples_get_no_share() -> None:
    rng = np.random.default_rng(0)
    equations = Equations(30)
    for _ in range(3):
        equations.add(rng.standard_normal(20), list(rng.standard_normal((30, 20))))
    assert np.abs(equations.shares()).max() < 0.1
