"""The statistics are a function of the multiset of values: order, batches and shards leave no trace."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepseek_core.calibration import TensorStats, activation_qparams
from deepseek_core.calibration.stats import BINS
from deepseek_core.recipe import CalibratorSpec, TensorRecipe
from deepseek_core.scheme import DType, QuantScheme

WILD = hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(width=32, allow_nan=True, allow_infinity=True))
RECIPES = [
    TensorRecipe(scheme, CalibratorSpec(method))
    for scheme in (QuantScheme(DType.UINT8), QuantScheme(DType.INT8, symmetric=True), QuantScheme(DType.INT16))
    for method in ("minmax", "percentile", "entropy", "mse")
]


def brute_force(values):
    """Counts by the definition, one value at a time in exact arithmetic."""
    finite = [float(v) for v in values.ravel() if math.isfinite(v)]
    exponent = -126
    while finite and max(map(abs, finite)) >= BINS * 2.0**exponent:
        exponent += 1
    counts = np.zeros((2, BINS), np.int64)
    for value in finite:
        # A quotient of doubles by a power of two is exact here: float32 values are far from double's limits.
        counts[0 if value < 0 else 1, int(abs(value) / 2.0**exponent)] += 1
    return exponent, counts


@given(WILD)
def test_counts_are_those_of_the_definition(values):
    stats = TensorStats()
    stats.update(values)
    exponent, counts = brute_force(values)
    finite = values[np.isfinite(values)]
    assert stats.exponent == exponent
    assert np.array_equal(stats.counts, counts)
    assert (stats.count, stats.zeros) == (finite.size, np.count_nonzero(finite == 0))
    assert (stats.nans, stats.infs) == (np.isnan(values).sum(), np.isinf(values).sum())
    assert (stats.min, stats.max) == ((finite.min(), finite.max()) if finite.size else (math.inf, -math.inf))
    assert stats.problem() is None


@given(WILD, st.randoms(use_true_random=False), st.integers(0, 5))
def test_order_batches_and_shards_leave_no_trace(values, random, cuts):
    whole = TensorStats()
    whole.update(values)
    shuffled = np.random.default_rng(random.getrandbits(32)).permutation(values)
    shards = np.array_split(shuffled, cuts + 1)
    merged = TensorStats()
    for shard in shards:
        one = TensorStats()
        for row in shard.reshape(1, -1):
            one.update(row)
        merged = one.merge(merged) if random.random() < 0.5 else merged.merge(one)
    assert merged == whole
    assert math.copysign(1, merged.min) == math.copysign(1, whole.min)  # -0.0 == 0.0, but its digest differs


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_shards_give_bit_identical_parameters(seed, shards):
    generator = np.random.default_rng(seed)
    scale = np.exp(generator.normal(0, 3, size=(40, 1)))
    values = np.maximum(generator.laplace(size=(40, 200)) * scale, generator.choice([0.0, -1e9])).astype(np.float32)
    whole, merged = TensorStats(), TensorStats()
    whole.update(values)
    for part in np.array_split(values[generator.permutation(40)], shards):
        one = TensorStats()
        one.update(part)
        merged = merged.merge(one)
    for recipe in RECIPES:
        a, b = activation_qparams(whole, recipe), activation_qparams(merged, recipe)
        assert a.scale.tobytes() == b.scale.tobytes(), recipe
        assert a.zero_point.tobytes() == b.zero_point.tobytes(), recipe


def test_range_growth_merges_bins_exactly():
    values = np.float32(2.0) ** np.arange(-140, 120, dtype=np.float32)
    rising, falling = TensorStats(), TensorStats()
    for value in values:
        rising.update(value.reshape(1))
        falling.update(-value.reshape(1))
    together = TensorStats()
    together.update(np.concatenate([values, -values])[::-1])
    assert rising.merge(falling) == together
    assert np.array_equal(together.counts[0], together.counts[1])


@pytest.mark.parametrize("tiny", [-1e-45, 1e-45])
def test_a_subnormal_value_keeps_its_sign_beside_a_huge_one(tiny):
    stats = TensorStats()
    stats.update(np.array([3e38, tiny], np.float32))
    assert stats.counts[1 if tiny > 0 else 0, 0] == 1
    assert stats.zeros == 0


def test_negative_zero_is_zero():
    stats = TensorStats()
    stats.update(np.array([-0.0, -0.0], np.float32))
    assert (stats.zeros, stats.counts[1, 0]) == (2, 2)
    assert math.copysign(1, stats.min) == 1


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_float_types_count_as_their_values(dtype):
    values = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(dtype)
    stats, reference = TensorStats(), TensorStats()
    stats.update(values)
    reference.update(values.astype(np.float64))
    assert stats == reference
    assert stats.count == 105


def test_float64_beyond_float32():
    stats = TensorStats()
    stats.update(np.array([1e300, -1e-300]))
    assert (stats.max, stats.counts[0, 0]) == (1e300, 1)
    assert stats.problem() is None


def test_strided_scalar_and_empty_arrays():
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    a, b = TensorStats(), TensorStats()
    a.update(values.T[::2])
    a.update(np.float32(3.0).reshape(()))
    a.update(np.empty((0, 4), np.float32))
    b.update(np.append(values[:, ::2].ravel(), np.float32(3.0)))
    assert a == b


@given(st.floats(2.0**-100, 2.0**100, width=32))
def test_at_least_2048_bins_span_the_largest_magnitude(largest):
    stats = TensorStats()
    stats.update(np.array([largest], np.float32))
    assert BINS / 2 <= largest / stats.width < BINS


def test_more_values_take_no_more_memory():
    stats = TensorStats()
    generator = np.random.default_rng(0)
    for spread in (1, 10, 1000):
        stats.update(generator.normal(0, spread, 100_000))
    assert stats.counts.nbytes == TensorStats().counts.nbytes == 2 * BINS * 8
    assert stats.counts.sum() == stats.count == 300_000


def test_merging_changes_neither_operand():
    a, b = TensorStats(), TensorStats()
    a.update(np.ones(3, np.float32))
    b.update(np.full(2, 1e6, np.float32))
    before = a.merge(TensorStats()), b.merge(TensorStats())
    merged = a.merge(b)
    merged.update(np.zeros(5, np.float32))
    assert (a, b) == before


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("count", 4, "add up"),
        ("zeros", 3, "add up"),
        ("nans", -1, "impossible"),
        ("min", 2.0, "impossible"),
        ("max", math.nan, "impossible"),
        ("exponent", 3, "bin width"),
        ("counts", np.zeros((2, 8), np.int64), "shape"),
        ("counts", np.zeros((2, BINS), np.int32), "int64"),
    ],
)
def test_impossible_statistics_are_named(field, value, word):
    stats = TensorStats()
    stats.update(np.array([0.0, 1.0, 1.5], np.float32))
    setattr(stats, field, value)
    assert word in (stats.problem() or "")
