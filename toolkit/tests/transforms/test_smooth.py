"""SmoothQuant helps transformers with outlier channels, wherever the factors can go."""

from __future__ import annotations

import numpy as np
import pytest
from deepseek.quantization.steps.smooth import Smooth

from deepseek_core.errors import ConfigError

WIDTH = 32


def tokens(seed, count):
    random = np.random.default_rng(seed)
    return [{"x": random.uniform(-2, 2, (4, 6, WIDTH)).astype(np.float32)} for _ in range(count)]


def block(draft, *, outliers, residual):
    """LayerNorm → three products, summed; the LayerNorm's gain has outlier channels; maybe read by a residual, too."""
    gain = draft.weight(WIDTH, spread=1)
    draft.constants[gain][:outliers] *= 40
    normed = draft.op("LayerNormalization", "x", gain, draft.weight(WIDTH), axis=-1)
    total = None
    for _ in range(3):
        weight = draft.weight(WIDTH, WIDTH)
        draft.constants[weight][:outliers] /= 40
        made = draft.op("Sigmoid", draft.op("MatMul", normed, weight))
        total = made if total is None else draft.op("Mul", total, made)
    if residual:
        total = draft.op("Add", total, draft.op("Tanh", normed))
    return draft.model({"x": ["n", 6, WIDTH]}, total)


def same_function(work, done, outputs, feeds):
    before, after = outputs(work.model, feeds), outputs(done.model, feeds)
    return all(np.allclose(after[name], array, rtol=1e-3, atol=1e-4) for name, array in before.items())


def test_factors_go_into_the_layer_norm(new_draft, start, fidelity, outputs):
    work = start(block(new_draft(0), outliers=2, residual=False), tokens(0, 48))
    done = Smooth()(work)
    assert fidelity(done, tokens(1, 8)) > fidelity(work, tokens(1, 8)) + 4
    assert [node.op_type for node in done.model.graph] == [node.op_type for node in work.model.graph]
    assert same_function(work, done, outputs, tokens(1, 1)[0])
    note, summary = done.log
    assert summary.figures["snr_after_db"] > summary.figures["snr_before_db"]
    assert note.subject == "v0"
    assert note.figures["relative_error_after"] < note.figures["relative_error_before"]


def test_one_mul_serves_all_products_where_others_read_the_tensor(new_draft, start, fidelity, outputs):
    work = start(block(new_draft(0), outliers=2, residual=True), tokens(0, 48))
    done = Smooth()(work)
    assert fidelity(done, tokens(1, 8)) > fidelity(work, tokens(1, 8)) + 4
    new = {node.name for node in done.model.graph} - {node.name for node in work.model.graph}
    assert new == {"v0/smooth"}
    assert {n.op_type for n in done.model.graph if n.inputs[0].name == "v0_smooth"} == {"MatMul"}
    assert same_function(work, done, outputs, tokens(1, 1)[0])
    assert Smooth(insert=False)(work).model is work.model


def test_it_does_not_harm_a_network_without_outliers(new_draft, start, fidelity):
    work = start(block(new_draft(1), outliers=0, residual=False), tokens(0, 48))
    assert fidelity(Smooth()(work), tokens(1, 8)) > fidelity(work, tokens(1, 8)) - 0.5


def test_gemm_with_a_transposed_weight_and_a_dead_channel(new_draft, start, outputs):
    draft = new_draft(2)
    x = draft.op("Gelu", draft.op("Gemm", "x", draft.weight(WIDTH, 8), transB=0))
    weight = draft.weight(5, 8)
    draft.constants[weight][:, 3] = 0
    outlier = draft.op("Mul", draft.op("Sigmoid", x), draft.constant(np.array([30, 1, 1, 0, 1, 1, 1, 1], np.float32)))
    model = draft.model({"x": ["n", WIDTH]}, draft.op("Gemm", outlier, weight, draft.weight(5), transB=1))
    samples = [{"x": sample["x"][0]} for sample in tokens(0, 8)]
    work = start(model, samples)
    done = Smooth(least_gain=0.0, insert_gain=0.0)(work)
    assert done is not work
    assert same_function(work, done, outputs, samples[0])


@pytest.mark.parametrize("options", [{"least_gain": 1.0}, {"insert_gain": -0.5}, {"samples": 0}])
def test_impossible_options(options):
    with pytest.raises(ConfigError, match="smooth with gains"):
        Smooth(**options)
