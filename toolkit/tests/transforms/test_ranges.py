"""Ranges are chosen for the layers that read them."""

from __future__ import annotations

import numpy as np
import pytest
from deepseek.quantization.steps.ranges import Ranges

from deepseek_core import CalibratorSpec
from deepseek_core.errors import ConfigError


def rows(seed, count):
    random = np.random.default_rng(seed)
    return [{"x": random.standard_normal((16, 12)).astype(np.float32)} for _ in range(count)]


def test_outliers_that_nobody_reads_are_clipped(new_draft, start, fidelity):
    draft = new_draft(0)
    first, second = draft.weight(12, 24), draft.weight(24, 6)
    draft.constants[first][:, 0] *= 100
    draft.constants[second][0] = 0
    hidden = draft.op("Relu", draft.op("Gemm", "x", first))
    work = start(draft.model({"x": ["n", 12]}, draft.op("Gemm", hidden, second)), rows(0, 8))
    done = Ranges()(work)
    assert fidelity(done, rows(1, 4)) > fidelity(work, rows(1, 4)) + 15
    spec = done.ranges["v1"]
    assert spec.method == "fixed"
    assert dict(spec.options)["high"] < work.calibrated().calibration["v1"].max / 4


def test_what_feeds_a_softmax_keeps_its_range(new_draft, start):
    draft = new_draft(1)
    query, key = draft.op("MatMul", "x", draft.weight(12, 8)), draft.op("MatMul", "x", draft.weight(12, 8))
    scores = draft.op(
        "Mul", draft.op("MatMul", query, draft.op("Transpose", key, perm=[1, 0])), draft.constant(np.float32(0.9))
    )
    mixed = draft.op("MatMul", draft.op("Softmax", scores, axis=-1), draft.op("MatMul", "x", draft.weight(12, 8)))
    work = start(draft.model({"x": [16, 12]}, draft.op("MatMul", mixed, draft.weight(8, 3))), rows(0, 8))
    done = Ranges()(work)
    assert "v4" in work.recipe().activations
    assert done.ranges.get("v4", CalibratorSpec("minmax")) == CalibratorSpec("minmax")


def test_ranges_that_make_outputs_worse_are_left_out(new_draft, start, fidelity):
    """Whatever is kept, the outputs on the calibration samples are no worse."""
    for seed in range(3):
        draft = new_draft(seed)
        hidden = draft.op("Gelu", draft.op("Gemm", "x", draft.weight(12, 24)))
        work = start(draft.model({"x": ["n", 12]}, draft.op("Gemm", hidden, draft.weight(24, 6))), rows(0, 8))
        assert fidelity(Ranges()(work), rows(0, 8)) >= fidelity(work, rows(0, 8))


@pytest.mark.parametrize("options", [{"least_gain": 1.0}, {"samples": 0}, {"methods": ("widest",)}])
def test_impossible_options(options):
    with pytest.raises(ConfigError):
        Ranges(**options)
