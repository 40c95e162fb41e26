"""Bias correction takes the mean error of layers away, and finds a place for the bias."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from deepseek.quantization.steps.correct_bias import CorrectBias

from deepseek_core.errors import ConfigError
from deepseek_core.quantize import QuantizedWeight, weight_params


def rows(seed, count, *shape):
    random = np.random.default_rng(seed)
    return [{"x": random.uniform(0.2, 1, shape).astype(np.float32)} for _ in range(count)]


def convolutions(draft):
    """Inputs with a mean, 4-bit weights: rounding errors add up to shifted outputs. The first Conv has no bias."""
    x = draft.op("Relu", draft.op("Conv", "x", draft.weight(16, 3, 3, 3)))
    return draft.model({"x": ["n", 3, 10, 10]}, draft.op("Conv", x, draft.weight(5, 16, 3, 3), draft.weight(5)))


def products(draft):
    """A MatMul with an Add behind it, and one without."""
    x = draft.op("Add", draft.op("MatMul", "x", draft.weight(12, 16)), draft.weight(16))
    return draft.model({"x": ["n", 4, 12]}, draft.op("MatMul", draft.op("Relu", x), draft.weight(16, 5)))


@pytest.mark.parametrize("method", ["best", "empirical", "analytic"])
def test_convolutions_with_and_without_a_bias(method, new_draft, start, fidelity):
    work = start(convolutions(new_draft(0)), rows(0, 12, 2, 3, 10, 10), "w4a8")
    done = CorrectBias(method)(work)
    held_out = rows(1, 4, 2, 3, 10, 10)
    assert fidelity(done, held_out) > fidelity(work, held_out) + 3
    assert all(len(node.inputs) == 3 for node in done.model.graph if node.op_type == "Conv")
    assert [unit.name for unit in done.model.units()] == [unit.name for unit in work.model.units()]


def test_products_get_an_add_and_values_keep_their_names(new_draft, start, fidelity):
    work = start(products(new_draft(1)), rows(0, 12, 2, 4, 12), "w4a8")
    done = CorrectBias("empirical")(work)
    held_out = rows(1, 4, 2, 4, 12)
    assert fidelity(done, held_out) > fidelity(work, held_out) + 3
    new = [node for node in done.model.graph if node.name not in {n.name for n in work.model.graph}]
    assert [node.op_type for node in new] == ["Add"]
    assert [out.name for out in done.model.outputs] == [out.name for out in work.model.outputs]
    assert CorrectBias("empirical", insert=False)(work).model.graph.num_nodes() == work.model.graph.num_nodes()


def test_an_add_that_wins_little_is_not_kept(new_draft, start):
    work = start(products(new_draft(1)), rows(0, 12, 2, 4, 12), "w4a8")
    done = CorrectBias("empirical", insert_gain=0.999)(work)
    assert done.model.graph.num_nodes() == work.model.graph.num_nodes()
    assert done.model is not work.model


def test_chosen_codes_and_statistics_stay(new_draft, start):
    work = start(convolutions(new_draft(2)), rows(0, 8, 2, 3, 10, 10), "w4a8").calibrated()
    scales = weight_params(work.model, work.recipe(), work.calibration)
    key = next(iter(scales))
    codes = np.ones(next(n for n in work.model.graph if n.name == key[0]).inputs[1].shape.numpy(), np.int8)
    chosen = QuantizedWeight(codes.astype(scales[key].zero_point.dtype), scales[key])
    work = replace(work, weights={key: chosen})
    done = CorrectBias()(work)
    assert done.model is not work.model
    assert done.weights[key] is chosen
    assert all(done.calibration[name] == work.calibration[name] for name in work.calibration)


def test_it_is_judged_on_samples_that_it_was_not_fitted_on(new_draft, start, fidelity):
    """Whatever is kept, the outputs on the other half of the samples are no worse."""
    samples = rows(0, 8, 1, 4, 12)
    for seed in range(3):
        work = start(products(new_draft(seed)), samples)
        assert fidelity(CorrectBias()(work), samples[1::2]) >= fidelity(work, samples[1::2])


@pytest.mark.parametrize("options", [{"method": "guess"}, {"samples": 0}, {"insert_gain": 1.0}])
def test_impossible_options(options):
    with pytest.raises(ConfigError, match="correct_bias"):
        CorrectBias(**options)
