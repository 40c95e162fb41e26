"""Pools against loops over single elements."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper


@st.composite
def pools(draw):
    kernel = [draw(st.integers(1, 3)) for _ in range(2)]
    dilations = [draw(st.integers(1, 2)) for _ in range(2)]
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    attributes = {
        "kernel_shape": kernel,
        "strides": [draw(st.integers(1, 3)) for _ in range(2)],
        "dilations": dilations,
        "pads": [draw(st.integers(0, k - 1)) for k in kernel * 2],
        "ceil_mode": draw(st.integers(0, 1)),
    }
    spatial = [draw(st.integers(e, e + 4)) for e in extent]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.permutation(2 * math.prod(spatial)).reshape(1, 2, *spatial).astype(np.float32) - 8, attributes


def positions(size, axis, a):
    """Window positions along an axis, written as the operator's text has it."""
    begin, end = a["pads"][axis], a["pads"][axis + 2]
    extent = (a["kernel_shape"][axis] - 1) * a["dilations"][axis] + 1
    exact = (size + begin + end - extent) / a["strides"][axis] + 1
    count = math.ceil(exact) if a["ceil_mode"] else math.floor(exact)
    return count - 1 if a["ceil_mode"] and (count - 1) * a["strides"][axis] >= size + begin else count


def window(place, spatial, a):
    """Coordinates that one window position covers."""
    axes = []
    for axis in range(2):
        first = place[axis] * a["strides"][axis] - a["pads"][axis]
        axes.append([first + t * a["dilations"][axis] for t in range(a["kernel_shape"][axis])])
    return list(itertools.product(*axes))


def is_inside(where, spatial, margins=(0, 0, 0, 0)):
    return all(-margins[i] <= p < n + margins[i + 2] for i, (p, n) in enumerate(zip(where, spatial, strict=True)))


@settings(max_examples=150)
@given(pools(), st.integers(0, 1))
def test_max_pool_and_its_indices(run, pool, order):
    x, a = pool
    node = helper.make_node("MaxPool", ["x"], ["y", "i"], **a, storage_order=order)
    result = run([node], {"x": x}, ["y", "i"])
    spatial = x.shape[2:]
    assert result["y"].shape[2:] == tuple(positions(n, axis, a) for axis, n in enumerate(spatial))
    for _, c, *place in np.ndindex(*result["y"].shape):
        covered = [w for w in window(place, spatial, a) if is_inside(w, spatial)]
        best = max(covered, key=lambda w: x[(0, c, *w)])
        assert result["y"][(0, c, *place)] == x[(0, c, *best)]
        flat = best[0] * spatial[1] + best[1] if order == 0 else best[1] * spatial[0] + best[0]
        assert result["i"][(0, c, *place)] == c * math.prod(spatial) + flat


@settings(max_examples=150)
@given(pools(), st.integers(0, 1))
def test_average_pool_counts_what_it_says(run, pool, include):
    x, a = pool
    node = helper.make_node("AveragePool", ["x"], ["y"], **a, count_include_pad=include)
    y = run([node], {"x": x}, ["y"])["y"]
    spatial = x.shape[2:]
    for _, c, *place in np.ndindex(*y.shape):
        covered = window(place, spatial, a)
        total = sum(float(x[(0, c, *w)]) for w in covered if is_inside(w, spatial))
        count = sum(is_inside(w, spatial, a["pads"] if include else (0, 0, 0, 0)) for w in covered)
        assert y[(0, c, *place)] == pytest.approx(total / count, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_padding_never_wins_a_maximum(run, dtype):
    x = np.full((1, 1, 2, 2), np.iinfo(dtype).min, dtype)
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], pads=[1, 1, 1, 1])
    assert (run([node], {"x": x}, ["y"])["y"] == np.iinfo(dtype).min).all()


def test_a_quantized_pool_keeps_codes(run):
    x = np.arange(-8, 8, dtype=np.int8).reshape(1, 1, 4, 4)
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["real"]),
        helper.make_node("MaxPool", ["real"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("QuantizeLinear", ["pooled", "s", "z"], ["y"]),
    ]
    y = run(nodes, {"x": x}, ["y"], {"s": np.float32(0.3), "z": np.int8(5)})["y"]
    assert y[0, 0].tolist() == [[-3, -1], [5, 7]]


def test_float16_pools_in_float32(run):
    x = np.full((1, 1, 64, 64), 100, np.float16)
    assert run([helper.make_node("GlobalAveragePool", ["x"], ["y"])], {"x": x}, ["y"])["y"].item() == 100


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("positions", [(5,), (3, 4), (2, 3, 2)])
def test_a_global_pool_of_powers_is_a_norm(run, p, positions) -> None:
    x = np.random.default_rng(p).standard_normal((2, 3, *positions)).astype(np.float32)
    found = run([helper.make_node("GlobalLpPool", ["x"], ["y"], p=p)], {"x": x}, ["y"])["y"]
    expected = np.linalg.norm(x.reshape(2, 3, -1).astype(np.float64), p, axis=2)
    assert found.shape == (2, 3, *(1 for _ in positions))
    np.testing.assert_allclose(found.reshape(2, 3), expected, rtol=1e-6)
