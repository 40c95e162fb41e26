"""Layers whose input a few huge elements own stay in float; others do not."""

from __future__ import annotations

import numpy as np
import pytest
from deepseek.quantization.steps import StepSpec
from deepseek.quantization.steps.spare_outliers import bulk_sqnr

from deepseek_core.calibration import TensorStats
from deepseek_core.errors import ConfigError


def stats_of(values: np.ndarray) -> TensorStats:
    stats = TensorStats()
    stats.update(values.astype(np.float32))
    return stats


def test_the_bulk_of_a_normal_tensor_is_far_above_the_rounding() -> None:
    values = np.random.default_rng(0).standard_normal(100_000)
    scale = np.ptp(values) / 255
    measured = bulk_sqnr(stats_of(values), scale, 0.01)
    bulk = values[np.abs(values) <= np.quantile(np.abs(values), 0.99)]
    assert measured == pytest.approx(10 * np.log10(np.mean(bulk**2) * 12 / scale**2), abs=0.3)


@pytest.mark.parametrize("peak", [300.0, 30_000.0])
def test_one_huge_element_takes_the_bulk_down(peak: float) -> None:
    values = np.random.default_rng(0).standard_normal(10_000)
    values[7] = peak
    assert bulk_sqnr(stats_of(values), peak / 255, 0.01) < (10 if peak < 1000 else 1)


def test_zeros_of_a_relu_are_no_bulk() -> None:
    values = np.maximum(np.random.default_rng(0).standard_normal(100_000) - 2.5, 0)
    assert bulk_sqnr(stats_of(values), values.max() / 255, 0.01) > 25


def massive(draft):
    """Two layers; the second reads the square of what the first makes, with one channel that is huge."""
    weight = draft.random.standard_normal((8, 8)).astype(np.float32)
    weight[:, 3] *= 100
    first = draft.op("MatMul", "x", draft.constant(weight))
    huge = draft.op("Mul", first, draft.op("Abs", first))
    gain = draft.random.standard_normal((8, 4)).astype(np.float32)
    gain[3] = 0
    return draft.model({"x": ["n", 4, 8]}, draft.op("MatMul", huge, draft.constant(gain)))


def test_its_readers_stay_in_float_and_the_outputs_are_right(new_draft, start, fidelity) -> None:
    samples = [{"x": np.random.default_rng(i).standard_normal((2, 4, 8)).astype(np.float32)} for i in range(8)]
    work = start(massive(new_draft(0)), samples, "int8")
    spared = StepSpec("spare_outliers", {"tail": 0.15}).build()(work)
    assert [name.partition("_")[0] for name in spared.kept if name.startswith("matmul")] == ["matmul"]
    assert fidelity(spared, samples) > fidelity(work, samples) + 10
    assert {note.step for note in spared.log} == {"spare_outliers"}


def test_nothing_is_spared_where_no_element_is_huge(new_draft, start) -> None:
    draft = new_draft(0)
    model = draft.model({"x": ["n", 4, 8]}, draft.op("MatMul", "x", draft.weight(8, 4)))
    samples = [{"x": np.random.default_rng(i).standard_normal((2, 4, 8)).astype(np.float32)} for i in range(4)]
    assert not StepSpec("spare_outliers").build()(start(model, samples, "int8")).kept


def test_an_impossible_tail() -> None:
    with pytest.raises(ConfigError, match=r"tail of 1\.5"):
        StepSpec("spare_outliers", {"tail": 1.5}).build()
