"""Equalization helps where channels have unlike scales, and leaves other networks alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from deepseek.quantization.steps.equalize import Equalize

from deepseek_core import Granularity, QuantScheme
from deepseek_core.errors import ConfigError


def separable(draft, spread):
    """Conv → ReLU → depthwise → ReLU → Conv, channels scaled by factors of up to e^spread either way."""
    width = 16
    factors = np.exp(draft.random.uniform(-spread, spread, (2, width))).astype(np.float32)
    first, middle, last = draft.weight(width, 3, 3, 3), draft.weight(width, 1, 3, 3), draft.weight(6, width, 1, 1)
    bias = draft.weight(width)
    draft.constants[first] *= factors[0, :, None, None, None]
    draft.constants[bias] *= factors[0]
    draft.constants[middle] *= (factors[1] / factors[0])[:, None, None, None]
    draft.constants[last] /= factors[1, None, :, None, None]
    x = draft.op("Relu", draft.op("Conv", "x", first, bias, pads=[1, 1, 1, 1]))
    x = draft.op("Relu", draft.op("Conv", x, middle, draft.weight(width), pads=[1, 1, 1, 1], group=width))
    return draft.model({"x": ["n", 3, 12, 12]}, draft.op("Conv", x, last))


def images(seed, count):
    random = np.random.default_rng(seed)
    return [{"x": random.uniform(-2, 2, (2, 3, 12, 12)).astype(np.float32)} for _ in range(count)]


def test_it_mends_badly_scaled_channels(new_draft, start, fidelity, outputs):
    work = start(separable(new_draft(1), 3.0), images(0, 32))
    done = Equalize()(work)
    held_out = images(1, 4)
    assert fidelity(done, held_out) > fidelity(work, held_out) + 10
    before, after = outputs(work.model, held_out[0]), outputs(done.model, held_out[0])
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array, rtol=1e-3, atol=1e-4 * np.abs(array).max())


def test_it_does_not_harm_a_balanced_network(new_draft, start, fidelity):
    work = start(separable(new_draft(2), 0.0), images(0, 32))
    assert fidelity(Equalize()(work), images(1, 4)) > fidelity(work, images(1, 4)) - 0.5


def test_one_scale_per_weight_tensor(new_draft, start, fidelity):
    """There the noise of the layers that make the channels counts, too."""
    work = start(separable(new_draft(3), 3.0), images(0, 32))
    tables = [
        replace(table, rules=tuple(r for r in table.rules if not _per_channel(r.weight))) for table in work.tables
    ]
    work = replace(work, tables=tuple(tables))
    assert fidelity(Equalize()(work), images(1, 4)) > fidelity(work, images(1, 4)) + 6


def _per_channel(weight):
    return isinstance(weight, QuantScheme) and weight.granularity is Granularity.PER_CHANNEL


def test_dead_and_constant_channels(new_draft, start, fidelity):
    draft = new_draft(4)
    weight, bias = draft.weight(8, 3, 1, 1), draft.weight(8)
    draft.constants[weight][:3] = 0
    draft.constants[bias][:3] = (0, 5, -5)  # dead, constant, dead behind the ReLU
    last = draft.weight(4, 8, 1, 1)
    draft.constants[last][:, 5] = 0
    draft.constants[weight][6] *= 50
    x = draft.op("Relu", draft.op("Conv", "x", weight, bias))
    work = start(draft.model({"x": ["n", 3, 12, 12]}, draft.op("Conv", x, last)), images(0, 4))
    done = Equalize()(work)
    assert all(np.isfinite(v.const_value.numpy()).all() for v in done.model.graph.initializers.values())
    assert fidelity(done, images(1, 2)) > fidelity(work, images(1, 2)) - 0.5


def test_nothing_to_scale_returns_the_same_work(new_draft, start):
    draft = new_draft()
    model = draft.model({"x": ["n", 3, 12, 12]}, draft.op("Conv", "x", draft.weight(4, 3, 1, 1)))
    work = start(model, images(0, 2))
    assert Equalize()(work) is work


@pytest.mark.parametrize("options", [{"least_gain": 1.0}, {"least_gain": -0.1}, {"rounds": 0}, {"samples": 0}])
def test_impossible_options(options):
    with pytest.raises(ConfigError, match="equalize with"):
        Equalize(**options)
