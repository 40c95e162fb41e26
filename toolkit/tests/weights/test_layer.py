"""Codes for single layers: what every method promises, whatever the layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from deepseek.quantization.grams import Measured
from deepseek.quantization.weights import Method, solve
from deepseek.quantization.weights.grid import Grid
from deepseek.quantization.weights.objective import Objective
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepseek_core import DType, Granularity, QuantScheme
from deepseek_core.ir.qparams import numpy_dtype

SCHEMES = {
    "channel4": QuantScheme(DType.INT4, Granularity.PER_CHANNEL, symmetric=True, axis=0),
    "channel8": QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True, axis=0),
    "tensor8": QuantScheme(DType.UINT8),
    "blocks": QuantScheme(DType.INT4, Granularity.PER_BLOCK, symmetric=True, axis=1, block_size=8),
    "unsigned": QuantScheme(DType.UINT4, Granularity.PER_BLOCK, axis=1, block_size=8),
    "float8": QuantScheme(DType.FLOAT8E4M3FN, Granularity.PER_CHANNEL, symmetric=True, axis=0),
}
METHODS = {
    "nearest": Method(feedback=False, sweeps=0, refits=0, compensation=0, bias=False),
    "gptq": Method(sweeps=0, refits=0, compensation=0, bias=False),
    "learned": Method(),
}
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def weight_of(measured: Measured, method: Method) -> np.ndarray:
    """The chosen weight, [G, M, K]."""
    chosen = solve(measured, method).decision.weight
    return measured.site.layout.matrix(chosen.params.dequantize(chosen.codes)).astype(np.float64)


def nearest_of(measured: Measured) -> np.ndarray:
    array = measured.site.layout.array(measured.site.weight).astype(np.float32)
    return measured.site.layout.matrix(measured.start.fake_quantize(array)).astype(np.float64)


@QUICK
@given(
    scheme=st.sampled_from(sorted(SCHEMES)),
    method=st.sampled_from(sorted(METHODS)),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 19)),
    count=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_never_worse_than_nearest(  # noqa: PLR0917
    layer: Any, scheme: str, method: str, shape: tuple[int, int], count: int, seed: int
) -> None:
    measured = layer(SCHEMES[scheme], outputs=shape[0], inputs=shape[1], count=count, seed=seed)
    how = replace(METHODS[method], compensation=0)
    solution = solve(measured, how)
    objective = Objective.of(measured.total(), measured.site.weight, solution.shrink, free_bias=how.bias)
    chosen, nearest = weight_of(measured, how), nearest_of(measured)
    assert objective.loss(chosen).sum() <= objective.loss(nearest).sum() * (1 + 1e-6)
    decision = solution.decision
    stored = SCHEMES[scheme]
    assert decision.weight.codes.dtype == numpy_dtype(stored.dtype)
    codes = decision.weight.codes.astype(np.float32)
    assert codes.min() >= stored.qmin
    assert codes.max() <= stored.qmax


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("method", METHODS)
def test_weights_that_fit_the_codes_stay_exact(layer: Any, scheme: str, method: str) -> None:
    first = layer(SCHEMES[scheme], inputs=24)
    weight = nearest_of(first)[0].astype(np.float32)
    measured = layer(SCHEMES[scheme], weight=weight)
    np.testing.assert_allclose(weight_of(measured, METHODS[method])[0], weight, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scheme", ["channel4", "channel8", "tensor8", "blocks", "unsigned"])
def test_learning_gains_decibels_on_unseen_inputs(layer: Any, scheme: str) -> None:
    measured = layer(SCHEMES[scheme], outputs=16, inputs=32, count=2000)
    unseen = layer(SCHEMES[scheme], outputs=16, inputs=32, count=2000, seed=0)
    held = unseen.folds()[1]
    half = Measured(measured.site, measured.parts[:1], None, measured.start)
    error = {
        name: held.error(weight, held.bias(weight)).sum()
        for name, weight in (
            ("nearest", nearest_of(half)),
            ("gptq", weight_of(half, Method(sweeps=0, refits=0, shrink=0.02))),
            ("learned", weight_of(half, Method(shrink=0.02))),
        )
    }
    gain = {name: 10 * np.log10(error["nearest"] / value) for name, value in error.items()}
    assert gain["gptq"] > 3
    assert gain["learned"] >= gain["gptq"] - 0.05


@pytest.mark.parametrize("method", METHODS)
def test_same_bits_every_time(layer: Any, method: str) -> None:
    one, two = (solve(layer(SCHEMES["channel4"], noise=0.1), METHODS[method]).decision for _ in range(2))
    np.testing.assert_array_equal(one.weight.codes, two.weight.codes)
    np.testing.assert_array_equal(one.weight.params.scale, two.weight.params.scale)
    assert (one.bias is None) == (two.bias is None)
    assert one.bias is None or np.array_equal(one.bias, two.bias)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_dead_and_constant_inputs_keep_their_weights(layer: Any, scheme: str, method: str) -> None:
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((2, 1, 200, 16)).astype(np.float32)
    rows[..., 2] = 0
    rows[..., 5] = 4
    measured = layer(SCHEMES[scheme], inputs=16, rows=list(rows))
    chosen, nearest = weight_of(measured, METHODS[method])[0], nearest_of(measured)[0]
    scale = np.abs(chosen - measured.site.weight[0])
    step = np.abs(nearest - measured.site.weight[0]).max()
    assert np.isfinite(chosen).all()
    assert scale[:, 2].max() <= 2 * step + 1e-6


def test_no_input_at_all(layer: Any) -> None:
    rows = [np.zeros((1, 50, 8), np.float32)] * 2
    measured = layer(SCHEMES["channel4"], inputs=8, rows=rows)
    solution = solve(measured, Method())
    assert np.isfinite(solution.decision.bias).all()
    assert np.abs(weight_of(measured, Method()) - measured.site.weight).max() < np.abs(measured.site.weight).max()


def test_a_bias_makes_up_for_the_mean(layer: Any) -> None:
    measured = layer(SCHEMES["channel4"], count=2000)
    with_bias, without = (solve(measured, Method(bias=bias, compensation=0, ranges=False)) for bias in (True, False))
    assert with_bias.after > without.after
    assert without.decision.bias is None
    moments = measured.total()
    left = moments.bias(weight_of(measured, Method(compensation=0, ranges=False))) - with_bias.decision.bias
    assert np.abs(left).max() < 0.05 * np.sqrt(moments.power.mean())


def test_compensation_makes_up_for_what_an_earlier_layer_lost(layer: Any) -> None:
    """The quantized network gives this layer 0.8 of every input: a weight 1 / 0.8 times as large is right."""
    rng = np.random.default_rng(4)
    mixing = rng.standard_normal((12, 12))
    rows = [(rng.standard_normal((1, 500, 12)) @ mixing).astype(np.float32) for _ in range(2)]
    measured = layer(SCHEMES["channel8"], inputs=12, rows=rows)
    for _, (read, out) in enumerate(measured.parts):
        read.first, read.second, out.cross = (
            read.first * 0.8,
            read.second * np.float32(0.64),
            out.cross * np.float32(0.8),
        )
    solution = solve(measured, Method())
    assert solution.steps > 0
    assert solution.after > solution.before + 15
    assert solve(measured, Method(compensation=0)).after < solution.before + 3


def test_few_samples_move_nothing_far(layer: Any) -> None:
    """More inputs than rows: correlations are noise, and following them would cost unseen samples dearly."""
    measured = layer(SCHEMES["channel4"], inputs=64, count=12, noise=0.3)
    unseen = layer(SCHEMES["channel4"], inputs=64, count=4000, noise=0.3).total()
    chosen, nearest = weight_of(measured, Method()), nearest_of(measured)
    assert unseen.error(chosen, unseen.bias(chosen)).sum() < 1.05 * unseen.error(nearest, unseen.bias(nearest)).sum()


def test_scales_leave_the_bias_room(layer: Any) -> None:
    measured = layer(SCHEMES["channel8"], inputs=8)
    tiny = layer(SCHEMES["channel8"], weight=(measured.site.weight[0] * 1e-9).astype(np.float32))
    data = layer(SCHEMES["tensor8"]).start
    quantized = Measured(tiny.site, tiny.parts, data, tiny.start)
    chosen = solve(quantized, Method()).decision
    assert chosen.bias is not None
    assert (chosen.weight.params.scale >= tiny.start.scale * (1 - 1e-6)).all()


@QUICK
@given(scheme=st.sampled_from(["channel4", "channel8", "tensor8", "blocks", "unsigned"]), seed=st.integers(0, 99))
def test_a_covering_grid_clips_nothing(layer: Any, scheme: str, seed: int) -> None:
    measured = layer(SCHEMES[scheme], seed=seed)
    grid = Grid.of(measured.start, measured.site.layout, measured.site.weight.shape[2])
    weight = measured.site.weight * np.random.default_rng(seed).uniform(0.5, 3.0)
    wide = grid.covering(weight)
    steps = np.repeat(wide.scale, grid.span, axis=2)[:, :, : weight.shape[2]]
    assert (wide.scale >= grid.scale).all()
    assert (np.abs(wide.round(weight) - weight) <= steps * 0.501).all()
