"""Calibrators on distributions whose best range is known from a formula or from the definition."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from deepseek_core.calibration import TensorStats, calibrator
from deepseek_core.calibration.density import density
from deepseek_core.calibration.entropy import divergence
from deepseek_core.calibration.noise import noise as histogram_noise
from deepseek_core.calibration.stats import BINS
from deepseek_core.ir.qparams import QParams
from deepseek_core.recipe import CalibratorSpec
from deepseek_core.scheme import DType, QuantScheme

U8, U4 = QuantScheme(DType.UINT8), QuantScheme(DType.UINT4)
S8, S4 = QuantScheme(DType.INT8, symmetric=True), QuantScheme(DType.INT4, symmetric=True)
NARROW8 = QuantScheme(DType.INT8, symmetric=True, narrow_range=True)
NARROW4 = QuantScheme(DType.INT4, symmetric=True, narrow_range=True)
METHODS = ("minmax", "percentile", "entropy", "mse")


def ranged(method, stats, scheme, **options):
    return calibrator(CalibratorSpec(method, tuple(options.items()))).range(stats, scheme)


def noise(values, scheme, low, high):
    """Mean squared error of really quantizing."""
    restored = QParams.from_range(scheme, low, high).fake_quantize(values.astype(np.float32))
    return float(np.square(restored - values, dtype=np.float64).mean())


def gauss_tail(x):
    return 1 - NormalDist().cdf(x)


def laplace_tail(x):
    return math.exp(-x) / 2


def exact_stats(tail, largest=8.0, samples=1e15):
    """Statistics of a symmetric distribution without sampling noise: expected counts of `samples` values."""
    stats = TensorStats(min=-largest * 0.999, max=largest * 0.999)
    stats.update(np.array([largest * 0.999]))  # sets the bin width
    edges = np.arange(BINS + 1) * stats.width
    beyond = np.array([tail(x) for x in edges])
    side = np.rint(-np.diff(beyond) * samples).astype(np.int64)
    return TensorStats(2 * int(side.sum()), 0, 0, 0, stats.min, stats.max, stats.exponent, np.stack([side, side]))


def best_threshold(saturation, tail, codes):
    """Minimiser of rounding + saturation noise, both in closed form, on a fine grid."""
    thresholds = np.linspace(0.5, 12, 20_000)
    rounding = (thresholds / (codes - 1)) ** 2 / 12 * (1 - 2 * np.array([tail(t) for t in thresholds]))
    return thresholds[np.argmin(rounding + np.array([saturation(t) for t in thresholds]))]


def gauss_saturation(t):
    density_at = math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    return 2 * ((t * t + 1) * gauss_tail(t) - t * density_at)


def laplace_saturation(t):
    return 2 * math.exp(-t)


@pytest.mark.parametrize(("scheme", "codes"), [(NARROW4, 8), (NARROW8, 128)])
@pytest.mark.parametrize(
    ("tail", "saturation", "largest"),
    [(gauss_tail, gauss_saturation, 7.9), (laplace_tail, laplace_saturation, 30.0)],
)
def test_mse_finds_the_analytic_optimum(scheme, codes, tail, saturation, largest):
    low, high = ranged("mse", exact_stats(tail, largest), scheme)
    assert low == -high
    assert high == pytest.approx(best_threshold(saturation, tail, codes), rel=0.02)


def test_mse_of_an_asymmetric_code_searches_both_ends():
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.exponential(1, 100_000), -generator.exponential(0.1, 100_000)])
    stats = TensorStats()
    stats.update(values.astype(np.float32))
    low, high = ranged("mse", stats, U4)
    step = (high - low) / 15
    errors = [
        noise(values, U4, a, b)
        for a in np.linspace(low - 2 * step, 0, 12)
        for b in np.linspace(high - 3 * step, high + 3 * step, 24)
    ]
    assert noise(values, U4, low, high) <= min(errors) * 1.02


@pytest.mark.parametrize("scheme", [U8, S8, U4, S4])
@pytest.mark.parametrize("limits", [(-4.0, 6.0), (-1.3, 2.7), (0.0, 3.0), (-0.01, 9.0)])
def test_noise_of_a_histogram_is_that_of_its_values(scheme, limits, stats_of):
    values = np.random.default_rng(0).laplace(size=200_000).astype(np.float32)
    problem = density(stats_of(values, np.zeros(1000, np.float32)), scheme)
    low, high = (-max(-limits[0], limits[1]), max(-limits[0], limits[1])) if scheme.symmetric else limits
    found = histogram_noise(problem, np.array([low]) / problem.width, np.array([high]) / problem.width)[0]
    assert found * problem.width**2 / values.size == pytest.approx(noise(values, scheme, low, high), rel=0.01)


def brute_force_divergence(problem, low, high):
    """KL(P ‖ Q) by its definition: loops over codes and bins, shares of bins by overlap."""
    mass, zero, levels, symmetric = problem.mass, problem.zero, problem.levels, problem.symmetric
    step = (high - low) / (levels - 1)
    first = -round(-low / step)
    if symmetric:
        first, step = -(levels // 2), high / (levels - 1 - levels // 2)
    bounds = [((first + j - 0.5) * step, (first + j + 0.5) * step) for j in range(levels)]
    used = [i - zero for i in np.flatnonzero(mass)]
    bounds[0] = (min(used), bounds[0][1])
    bounds[-1] = (bounds[-1][0], max(used) + 1)
    total, result = mass.sum(), 0.0
    for start, stop in bounds:
        shares = {i: max(0.0, min(stop, i + 1) - max(start, i)) for i in used}
        count = sum(share * mass[i + zero] for i, share in shares.items())
        occupied = sum(shares.values())
        for i, share in shares.items():
            p, q = mass[i + zero] / total, count / occupied / total if occupied else 0.0
            result += share * p * math.log(p / q) if share else 0.0
    return result


@pytest.mark.parametrize("signs", ["both", "positive", "negative"])
@pytest.mark.parametrize("scheme", [U4, S4])
def test_divergence_is_that_of_the_definition(signs, scheme, stats_of):
    generator = np.random.default_rng(3)
    values = generator.laplace(size=3000) / 100 + generator.choice([0, 1], size=3000, p=[0.99, 0.01])
    values = {"both": values, "positive": abs(values), "negative": -abs(values)}[signs].astype(np.float32)
    problem = density(stats_of(values, np.zeros(500, np.float32)), scheme)
    lows, highs = (np.repeat(problem.lows[::40], 5), np.tile(problem.highs[:: len(problem.highs) // 5 + 1], 99))
    size = min(len(lows), len(highs))
    found = divergence(problem, lows[:size], highs[:size])
    expected = [brute_force_divergence(problem, low, high) for low, high in zip(lows[:size], highs[:size], strict=True)]
    assert size >= 5
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def laplace_cell(width):
    """KL of e^−x on a cell of this width against the uniform distribution, in nats."""
    kept = 1 - np.exp(-width)
    return np.log(width / kept) - 1 + width * (1 - kept) / kept


def test_entropy_finds_the_analytic_optimum_of_a_laplace_distribution():
    largest, codes = 30.0, 128
    thresholds = np.linspace(2, 29, 20_000)
    step = thresholds / (codes - 1)
    beyond = np.exp(-(thresholds - step / 2))
    near_zero = 1 - np.exp(-step / 2)
    losses = (
        near_zero * laplace_cell(step / 2)
        + (1 - near_zero - beyond) * laplace_cell(step)
        + beyond * laplace_cell(largest - thresholds + step / 2)
    )
    low, high = ranged("entropy", exact_stats(laplace_tail, largest), NARROW8)
    assert high == pytest.approx(thresholds[np.argmin(losses)], rel=0.03)
    assert low == -high


def test_entropy_clips_a_gaussian():
    low, high = ranged("entropy", exact_stats(gauss_tail, 7.9), S8)
    assert 4 < high < 5
    assert low == -high


@pytest.mark.parametrize("method", ["entropy", "mse"])
@pytest.mark.parametrize("scheme", [U8, S8])
def test_a_uniform_distribution_is_not_clipped(method, scheme, stats_of):
    for size in (5_000, 500_000):
        stats = stats_of(np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32))
        low, high = ranged(method, stats, scheme)
        assert high - low > 2 * 0.98


@pytest.mark.parametrize("method", ["entropy", "percentile"])
@pytest.mark.parametrize("scheme", [U8, S8, U4, S4])
def test_a_lone_outlier_does_not_set_the_range(method, scheme, stats_of):
    values = np.append(np.random.default_rng(0).normal(size=1_000_000), [150.0]).astype(np.float32)
    low, high = ranged(method, stats_of(values), scheme)
    assert high < 10
    assert -6 < low < -2


@pytest.mark.parametrize("scheme", [U8, S8])
def test_mse_balances_a_lone_outlier_against_the_step(scheme, stats_of):
    """The best T makes (150 − T)² + n · step(T)² / 12 stationary; it lies in the gap between bulk and outlier."""
    values = np.append(np.random.default_rng(0).normal(size=1_000_000), [150.0]).astype(np.float32)
    other_end, steps = (-float(values.min()), 255) if scheme is U8 else (0.0, 127)
    weight = values.size / 12 / steps**2
    _, high = ranged("mse", stats_of(values), scheme)
    assert high == pytest.approx((150 - weight * other_end) / (1 + weight), rel=0.03)


@pytest.mark.parametrize("method", ["entropy", "mse"])
def test_a_spike_where_relu6_saturates_is_kept(method, stats_of):
    values = np.clip(np.random.default_rng(0).normal(2, 2.5, 1_000_000), 0, 6).astype(np.float32)
    low, high = ranged(method, stats_of(values), U8)
    assert low == 0
    assert 5.97 < high <= 6


def depthwise_like(seed, size=200_000):
    """Sharp peak, thin long tail, cut at 6: activations inside depthwise networks."""
    generator = np.random.default_rng(seed)
    bulk = np.abs(generator.laplace(0, 10 ** generator.uniform(-2, 0), size))
    tail = (generator.random(size) < 10 ** generator.uniform(-4, -1)) * generator.exponential(2, size)
    return np.clip(bulk + tail, 0, 6).astype(np.float32)


@pytest.mark.parametrize("seed", range(12))
def test_clipping_is_never_noisier_than_the_full_range(seed, stats_of):
    values = depthwise_like(seed) * np.float32(1 if seed % 2 else -1)
    stats = stats_of(values)

    full = noise(values, U8, stats.min, stats.max)
    assert noise(values, U8, *ranged("entropy", stats, U8)) <= full * 1.005  # bins resolve values only so far
    assert noise(values, U8, *ranged("mse", stats, U8)) <= full * 1.005


def test_unbounded_kl_does_the_harm_that_the_bound_prevents(stats_of):
    """Guards the guard: without it, KL cuts a tail that carries the signal."""
    values = np.concatenate([depthwise_like(4) / 8, np.random.default_rng(0).uniform(0.5, 6, 1500).astype(np.float32)])
    stats = stats_of(values)
    free, bounded = ranged("entropy", stats, S8, max_noise=math.inf)[1], ranged("entropy", stats, S8)[1]
    assert free < bounded / 2


@pytest.mark.parametrize("method", ["entropy", "mse", "minmax"])
def test_zeros_change_nothing(method, stats_of):
    values = np.random.default_rng(0).laplace(size=50_000).astype(np.float32)
    for scheme in (U8, S8):
        with_zeros = stats_of(values, np.zeros(1_000_000, np.float32))
        assert ranged(method, with_zeros, scheme) == ranged(method, stats_of(values), scheme)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scheme", [U8, S8, S4])
def test_a_power_of_two_scales_the_range_exactly(method, scheme, stats_of):
    values = np.random.default_rng(0).laplace(size=50_000).astype(np.float32)
    low, high = ranged(method, stats_of(values), scheme)
    assert ranged(method, stats_of(values * np.float32(2**-20)), scheme) == (low * 2**-20, high * 2**-20)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "scheme", [U8, S8, U4, QuantScheme(DType.INT16), QuantScheme(DType.FLOAT8E4M3FN, symmetric=True)]
)
@pytest.mark.parametrize("values", [[0.0], [3.5], [-2.0], [0.0, 1e-40], [-1.0, 1.0], [-3e38, 3e38]])
def test_degenerate_tensors_have_usable_parameters(method, scheme, values, stats_of):
    array = np.array(values, np.float32)
    params = QParams.from_range(scheme, *ranged(method, stats_of(array), scheme))
    step = float(params.scale) if scheme.dtype.is_integer else abs(array).max() / 16
    np.testing.assert_allclose(params.fake_quantize(array), array, rtol=0, atol=max(0.6 * step, 1e-38))


@pytest.mark.parametrize("method", ["entropy", "mse"])
def test_one_sided_negative_values_keep_zero_as_the_upper_end(method, stats_of):
    low, high = ranged(method, stats_of(-np.random.default_rng(0).exponential(1, 100_000).astype(np.float32)), U8)
    assert high == 0
    assert -16 < low < -4


@pytest.mark.parametrize("method", ["entropy", "mse"])
def test_float_codes_take_the_full_range(method, stats_of):
    stats = stats_of(np.random.default_rng(0).laplace(size=10_000).astype(np.float32))
    assert ranged(method, stats, QuantScheme(DType.FLOAT8E4M3FN, symmetric=True)) == (stats.min, stats.max)


def test_sixteen_bits_take_the_full_range_under_entropy(stats_of):
    stats = stats_of(np.random.default_rng(0).laplace(size=10_000).astype(np.float32))
    assert ranged("entropy", stats, QuantScheme(DType.INT16)) == (stats.min, stats.max)


@pytest.mark.parametrize("percentile", [90, 99, 99.9, 100])
@pytest.mark.parametrize("scheme", [U8, S8])
@pytest.mark.parametrize("sign", ["both", "positive", "negative"])
def test_percentile_clips_at_most_its_share_and_not_much_less(percentile, scheme, sign, stats_of):
    values = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    values = {"both": values, "positive": abs(values), "negative": -abs(values)}[sign]
    stats = stats_of(values)
    low, high = ranged("percentile", stats, scheme, percentile=percentile)
    allowed = 1 - percentile / 100
    if scheme is U8 and sign == "both":
        assert max(np.mean(values < low), np.mean(values > high)) <= allowed / 2 + 1e-12
    assert np.mean((values < low) | (values > high)) <= allowed + 1e-12
    narrower = (values < low + 2 * stats.width) | (values > high - 2 * stats.width)
    assert np.mean(narrower) > allowed
