from __future__ import annotations

import numpy as np
from deepseek.quantization.grams import InputMoments, Moments, OutputMoments
from deepseek.quantization.grams.moments import moderated
from hypothesis import given, settings
from hypothesis import strategies as st


def parts(rng: np.random.Generator, counts: list[int], shape: tuple[int, int, int]) -> tuple[list, list, list, list]:
    groups, outputs, inputs = shape
    xs, ys, ws, found = [], [], [], []
    for count in counts:
        x = (rng.standard_normal((groups, count, inputs)) + 3).astype(np.float32)
        y = rng.standard_normal((groups, count, outputs)).astype(np.float32)
        w = rng.uniform(0.1, 1, count).astype(np.float32)
        read, made = InputMoments(), OutputMoments()
        for part in (slice(0, count // 2), slice(count // 2, None)):
            read.update(x[:, part], w[part])
            made.update(y[:, part], x[:, part], w[part])
        xs, ys, ws, found = [*xs, x], [*ys, y], [*ws, w], [*found, (read, made)]
    return xs, ys, ws, found


@settings(max_examples=20, deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)),
    seed=st.integers(0, 99),
)
def test_errors_are_those_of_the_samples(counts: list[int], shape: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    xs, ys, ws, found = parts(rng, counts, shape)
    x, y = np.concatenate(xs, axis=1, dtype=np.float64), np.concatenate(ys, axis=1, dtype=np.float64)
    w = np.concatenate(ws)
    moments = Moments.of(*found)
    weight, bias = rng.standard_normal(shape), rng.standard_normal(shape[:2])
    rest = y - x @ weight.swapaxes(1, 2)
    error = np.average(np.square(rest - bias[:, None]), axis=1, weights=w)
    np.testing.assert_allclose(moments.error(weight, bias), error, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(moments.bias(weight), np.average(rest, axis=1, weights=w), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(moments.power, np.average(np.square(y), axis=1, weights=w), rtol=1e-4)
    centred = x - np.average(x, axis=1, weights=w)[:, None]
    covariance = (centred * w[:, None]).swapaxes(1, 2) @ centred / w.sum(dtype=np.float64)
    np.testing.assert_allclose(moments.xx, covariance, rtol=1e-3, atol=1e-4)
    assert moments.count == sum(counts)


def test_updates_keep_what_others_hold() -> None:
    rows, alike = np.ones((1, 4, 2), np.float32), np.ones(4, np.float32)
    moments = InputMoments()
    moments.update(rows, alike)
    before = moments.first.copy()
    moments.update(rows, alike)
    np.testing.assert_array_equal(moments.first, 2 * before)
    np.testing.assert_array_equal(rows, 1)


def test_rows_of_massive_power_count_as_much_as_large_ones() -> None:
    rows = np.ones((2, 9, 3), np.float32)
    rows[:, 4] = 100
    rows[:, 5] = 3
    weights = moderated(rows)
    np.testing.assert_allclose(weights[4], 10 / 100**2, rtol=1e-6)
    np.testing.assert_array_equal(np.delete(weights, 4), 1)
    np.testing.assert_array_equal(moderated(np.zeros((1, 3, 2), np.float32)), 1)
    assert moderated(np.zeros((1, 0, 2), np.float32)).shape == (0,)
