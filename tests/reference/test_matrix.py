"""Matrix products on codes against loops over single products."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

TYPES = (np.int8, np.uint8, np.int16, np.uint16)


def integers(rng, dtype, shape):
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, endpoint=True).astype(dtype)


@st.composite
def products(draw):
    """Two matrices, or a stack and a matrix, with zero points and scales by row of a and column of b."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    m, k, n = (draw(st.integers(1, 4)) for _ in range(3))
    a_type, b_type = draw(st.sampled_from(TYPES)), draw(st.sampled_from(TYPES))
    a = integers(rng, a_type, (*draw(st.sampled_from([(), (2,), (2, 1)])), m, k))
    b = integers(rng, b_type, (k, n))
    rows, columns = (m if draw(st.booleans()) else 1), (n if draw(st.booleans()) else 1)
    scales = [rng.uniform(0.001, 0.1, size).astype(np.float32) for size in (rows, columns)]
    return a, integers(rng, a_type, rows), scales[0], b, integers(rng, b_type, columns), scales[1]


def accumulators(a, a_zero, b, b_zero):
    sums = {}
    for *batch, i, j in itertools.product(*map(range, (*a.shape[:-1], b.shape[-1]))):
        sums[(*batch, i, j)] = sum(
            (int(a[(*batch, i, t)]) - int(a_zero[i % len(a_zero)])) * (int(b[t, j]) - int(b_zero[j % len(b_zero)]))
            for t in range(a.shape[-1])
        )
    return sums


@settings(max_examples=150)
@given(products(), st.sampled_from([0.75, 30.0, 5e3]))
def test_qlinear_matmul_is_the_scalar_definition(run, scalar, given_, y_scale):
    a, a_zero, a_scale, b, b_zero, b_scale = given_
    constants = {"as": a_scale, "az": a_zero, "b": b, "bs": b_scale, "bz": b_zero}
    constants = {name: v.reshape(()) if v.shape == (1,) else v for name, v in constants.items()}
    constants |= {"ys": np.float32(y_scale), "yz": np.uint8(100)}
    node = helper.make_node("QLinearMatMul", ["a", "as", "az", "b", "bs", "bz", "ys", "yz"], ["y"])
    y = run([node], {"a": a}, ["y"], constants)["y"]
    for index, total in accumulators(a, a_zero, b, b_zero).items():
        *_, i, j = index
        scales = float(a_scale[i % len(a_scale)]), float(b_scale[j % len(b_scale)])
        assert y[index] == scalar.requantize(scalar.wrap(total), scalar.multiplier(*scales, y_scale), 100, 0, 255)


@settings(max_examples=60)
@given(products())
def test_matmul_integer_is_the_wrapped_sum(run, scalar, given_):
    a, a_zero, _, b, b_zero, _ = given_
    constants = {"az": a_zero, "b": b, "bz": b_zero}
    constants = {name: v.reshape(()) if v.shape == (1,) else v for name, v in constants.items()}
    node = helper.make_node("MatMulInteger", ["a", "b", "az", "bz"], ["y"])
    y = run([node], {"a": a}, ["y"], constants)["y"]
    assert {i: int(y[i]) for i in np.ndindex(*y.shape)} == {
        i: scalar.wrap(t) for i, t in accumulators(a, a_zero, b, b_zero).items()
    }


def gemm_unit(a, b, bias, scales, **attributes):
    """DQ → Gemm → Q; the bias has scale alpha · s_a · s_b / beta."""
    a_scale, b_scale, y_scale = map(np.float32, scales)
    alpha, beta = np.float32(attributes.get("alpha", 1)), np.float32(attributes.get("beta", 1))
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "as", "az"], ["a_real"]),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["b_real"]),
        helper.make_node("DequantizeLinear", ["c", "cs"], ["c_real"]),
        helper.make_node("Gemm", ["a_real", "b_real", "c_real"], ["real"], **attributes),
        helper.make_node("QuantizeLinear", ["real", "ys", "yz"], ["y"]),
    ]
    constants = {"as": a_scale, "az": np.uint8(128), "b": b, "bs": b_scale, "bz": np.int8(-3), "c": bias}
    return nodes, constants | {"cs": a_scale * b_scale * alpha / beta, "ys": y_scale, "yz": np.int8(4)}


@settings(max_examples=100)
@given(
    st.integers(0, 2**32),
    st.tuples(st.booleans(), st.booleans()),
    st.tuples(st.sampled_from([1.0, 0.5, 0.3]), st.sampled_from([1.0, 0.25])),
)
def test_a_gemm_unit_is_the_scalar_definition(run, scalar, seed, transposed, factors):
    (trans_a, trans_b), (alpha, beta) = transposed, factors
    rng = np.random.default_rng(seed)
    m, k, n = rng.integers(1, 5, 3)
    a, b = integers(rng, np.uint8, (m, k)), integers(rng, np.int8, (k, n))
    bias = rng.integers(-50_000, 50_000, n).astype(np.int32)
    attributes = {"transA": int(trans_a), "transB": int(trans_b), "alpha": alpha, "beta": beta}
    nodes, constants = gemm_unit(a, b.T if trans_b else b, bias, (0.02, 0.007, 0.9), **attributes)
    y = run(nodes, {"a": a.T if trans_a else a}, ["y"], constants)["y"]
    product = scalar.f32(scalar.f32(scalar.f32(0.02) * scalar.f32(0.007)) * scalar.f32(alpha))
    multiplier = scalar.f32(product / scalar.f32(0.9))
    for i, j in np.ndindex(*y.shape):
        total = sum((int(a[i, t]) - 128) * (int(b[t, j]) + 3) for t in range(k)) + int(bias[j])
        assert y[i, j] == scalar.requantize(scalar.wrap(total), multiplier, 4, -128, 127)


def test_a_bias_wraps_the_accumulator(run):
    nodes, constants = gemm_unit(
        np.full((1, 2), 255, np.uint8), np.full((2, 1), 127, np.int8), np.array([2**31 - 1], np.int32), (1, 1, 1)
    )
    constants["ys"] = np.float32(2**24)
    y = run(nodes, {"a": np.full((1, 2), 255, np.uint8)}, ["y", "real"], constants)
    assert y["real"].item() == np.float32(2**31 - 1 + 2 * 127 * 130 - 2**32)
    assert y["y"].item() == -124  # 4 − 128 and nothing saturates


@pytest.mark.parametrize(
    ("a_shape", "b_shape"), [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((3,), (4, 3, 2)), ((4, 2, 3), (3,))]
)
def test_vectors(run, a_shape, b_shape):
    rng = np.random.default_rng(1)
    a, b = integers(rng, np.int8, a_shape), integers(rng, np.int8, b_shape)
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "s"], ["a_real"]),
        helper.make_node("DequantizeLinear", ["b", "s"], ["b_real"]),
        helper.make_node("MatMul", ["a_real", "b_real"], ["real"]),
        helper.make_node("QuantizeLinear", ["real", "ys", "yz"], ["y"]),
    ]
    constants = {"b": b, "s": np.float32(0.5), "ys": np.float32(256), "yz": np.int8(0)}
    result = run(nodes, {"a": a}, ["y", "real"], constants)
    expected = a.astype(np.int64) @ b.astype(np.int64)
    np.testing.assert_array_equal(result["real"], expected * np.float32(0.25))
    np.testing.assert_array_equal(result["y"], np.clip(np.rint(expected / 1024), -128, 127))


def test_columns_of_their_own_scale_behind_a_vector(run):
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "s"], ["a_real"]),
        helper.make_node("DequantizeLinear", ["b", "bs"], ["b_real"], axis=1),
        helper.make_node("MatMul", ["a_real", "b_real"], ["real"]),
    ]
    b = np.array([[1, 2], [3, 4]], np.int8)
    constants = {"b": b, "s": np.float32(1), "bs": np.array([1, 0.5], np.float32)}
    assert run(nodes, {"a": np.array([1, 1], np.int8)}, ["real"], constants)["real"].tolist() == [4, 3]


@pytest.mark.parametrize("block", [2, 3])
def test_blocks_along_the_summed_axis_multiply_in_float(run, block):
    """Scales inside a sum leave no integer accumulator: the weights are dequantized."""
    rng = np.random.default_rng(2)
    b = rng.integers(-8, 8, (6, 4)).astype(ml_dtypes.int4)
    scale = rng.uniform(0.1, 1, (6 // block, 4)).astype(np.float32)
    a = rng.normal(0, 1, (3, 6)).astype(np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["b", "s"], ["b_real"], axis=0, block_size=block),
        helper.make_node("MatMul", ["a", "b_real"], ["y"]),
    ]
    y = run(nodes, {"a": a}, ["y"], {"b": b, "s": scale})["y"]
    weights = b.astype(np.float64) * np.repeat(scale, block, 0)
    np.testing.assert_allclose(y, a @ weights, rtol=1e-5)


def test_large_sums_are_exact(run):
    """65535² · 70,000 needs 49 bits: beyond float32, within float64."""
    a = np.full((1, 70_000), 65535, np.uint16)
    nodes = [helper.make_node("MatMulInteger", ["a", "b"], ["y"])]
    y = run(nodes, {"a": a.astype(np.uint8)}, ["y"], {"b": np.full((70_000, 1), 255, np.uint8)})["y"]
    assert y.item() == 70_000 * 255 * 255 - 2**32
    product = 70_000 * 65535**2
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "s"], ["a_real"]),
        helper.make_node("DequantizeLinear", ["b", "s"], ["b_real"]),
        helper.make_node("MatMul", ["a_real", "b_real"], ["y"]),
    ]
    y = run(nodes, {"a": a}, ["y"], {"b": a.T, "s": np.float32(1)})["y"]
    assert y.item() == np.float32((product + 2**31) % 2**32 - 2**31)


def test_a_scale_that_varies_inside_the_sum_multiplies_in_float(run):
    """Activations with a scale for each column of a, that is inside each sum."""
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "as"], ["a_real"], axis=1),
        helper.make_node("DequantizeLinear", ["b", "s"], ["b_real"]),
        helper.make_node("MatMul", ["a_real", "b_real"], ["y"]),
    ]
    constants = {"b": np.array([[1], [2]], np.int8), "as": np.array([1, 10], np.float32), "s": np.float32(1)}
    assert run(nodes, {"a": np.array([[3, 4]], np.int8)}, ["y"], constants)["y"].item() == 83


def test_qlinear_matmul_may_have_an_output_scale_for_each_row(run):
    node = helper.make_node("QLinearMatMul", ["a", "s", "z", "b", "s", "z", "ys", "yz"], ["y"])
    constants = {"b": np.array([[1, 2], [3, 4]], np.int8), "s": np.float32(1), "z": np.int8(0)}
    constants |= {"ys": np.array([1, 2], np.float32), "yz": np.array([0, 5], np.int8)}
    y = run([node], {"a": np.array([[1, 1], [2, 2]], np.int8)}, ["y"], constants)["y"]
    assert y.tolist() == [[4, 6], [9, 11]]
