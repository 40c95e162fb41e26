from __future__ import annotations

import numpy as np
from deepseek.quantization.grams import InputMoments, Moments, OutputMoments
from hypothesis import given, settings
from hypothesis import strategies as st


def parts(rng: np.random.Generator, counts: list[int], shape: tuple[int, int, int]) -> tuple[list, list, list]:
    groups, outputs, inputs = shape
    xs, ys, found = [], [], []
    for count in counts:
        x = (rng.standard_normal((groups, count, inputs)) + 3).astype(np.float32)
        y = rng.standard_normal((groups, count, outputs)).astype(np.float32)
        read, made = InputMoments(), OutputMoments()
        for part in (slice(0, count // 2), slice(count // 2, None)):
            read.update(x[:, part])
            made.update(y[:, part], x[:, part])
        xs, ys, found = [*xs, x], [*ys, y], [*found, (read, made)]
    return xs, ys, found


@settings(max_examples=20, deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)),
    seed=st.integers(0, 99),
)
def test_errors_are_those_of_the_samples(counts: list[int], shape: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    xs, ys, found = parts(rng, counts, shape)
    x, y = np.concatenate(xs, axis=1, dtype=np.float64), np.concatenate(ys, axis=1, dtype=np.float64)
    moments = Moments.of(*found)
    weight, bias = rng.standard_normal((shape[0], shape[1], shape[2])), rng.standard_normal(shape[:2])
    rest = y - x @ weight.swapaxes(1, 2)
    np.testing.assert_allclose(
        moments.error(weight, bias), np.square(rest - bias[:, None]).mean(axis=1), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(moments.bias(weight), rest.mean(axis=1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(moments.power, np.square(y).mean(axis=1), rtol=1e-4)
    centred = x - x.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(moments.xx, centred.swapaxes(1, 2) @ centred / x.shape[1], rtol=1e-3, atol=1e-4)
    assert moments.count == sum(counts)


def test_updates_keep_what_others_hold() -> None:
    rows = np.ones((1, 4, 2), np.float32)
    moments = InputMoments()
    moments.update(rows)
    before = moments.first.copy()
    moments.update(rows)
    np.testing.assert_array_equal(moments.first, 2 * before)
    np.testing.assert_array_equal(rows, 1)
