"""Quantize, dequantize and requantize against the scalar definition and against the IR's QParams."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deepseek_core.errors import ModelError
from deepseek_core.ir.qparams import QParams, numpy_dtype
from deepseek_core.reference.codes import dequantize, integer_range, is_integer, quantize, requantize, spread
from deepseek_core.scheme import DType, Granularity, QuantScheme

INTEGERS = [
    np.dtype(t)
    for t in (
        *(np.int8, np.uint8, np.int16, np.uint16),
        *(ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2),
    )
]
FLOAT8 = [np.dtype(t) for t in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)]

dtypes = st.sampled_from(INTEGERS)
scales = st.floats(2.0**-60, 2.0**40, width=32)
reals = st.floats(width=32)


@given(dtypes, st.data(), scales, st.lists(reals, min_size=1, max_size=8))
def test_quantize_is_the_scalar_definition(scalar, dtype, data, scale, values):
    low, high = integer_range(dtype)
    zero = data.draw(st.integers(low, high))
    with np.errstate(all="ignore"):
        codes = quantize(np.array(values, np.float32), np.float32(scale), np.array(zero).astype(dtype), dtype)
    assert codes.dtype == dtype
    assert [int(c) for c in codes] == [scalar.quantize(v, scale, zero, low, high) for v in values]


@given(dtypes, st.data(), st.integers(-(2**17), 2**17), st.integers(-30, 20))
def test_ties_go_to_even_and_ends_saturate(scalar, dtype, data, halves, exponent):
    """x / s is exactly n / 2: half of all cases are ties."""
    low, high = integer_range(dtype)
    zero = data.draw(st.integers(low, high))
    scale = 2.0**exponent
    x = np.float32(halves * scale / 2)
    (code,) = quantize(np.array([x]), np.float32(scale), np.array(zero).astype(dtype), dtype)
    quotient, rest = divmod(halves, 2)
    nearest = quotient + (rest and quotient % 2)
    assert int(code) == min(max(nearest + zero, low), high)


@given(dtypes, st.integers(-(2**15), 2**16), st.integers(-(2**31), 2**31 - 1), st.tuples(scales, scales, scales))
@example(np.dtype(np.int8), 3, 2**31 - 1, (1.0, 1.0, 1.0))
@example(np.dtype(np.int8), 3, -(2**31), (1.0, 1.0, 1.0))
def test_requantize_is_the_scalar_definition(scalar, dtype, zero, accumulator, triple):
    low, high = integer_range(dtype)
    zero, (x_scale, w_scale, y_scale) = min(max(zero, low), high), triple
    source = np.asarray(np.float32(x_scale) * np.float32(w_scale))
    with np.errstate(all="ignore"):
        (code,) = requantize(
            np.array([accumulator], np.int32), source, np.float32(y_scale), np.array(zero).astype(dtype), dtype
        )
    multiplier = scalar.multiplier(x_scale, w_scale, y_scale)
    assert int(code) == scalar.requantize(accumulator, multiplier, zero, low, high)


@given(st.integers(-(2**20), 2**20), st.integers(-128, 127))
def test_requantized_ties_go_to_even(accumulator, zero):
    """The multiplier is exactly 1/2."""
    codes = requantize(
        np.array([accumulator], np.int32), np.float32(0.125), np.float32(0.25), np.int8(zero), np.dtype(np.int8)
    )
    quotient, rest = divmod(accumulator, 2)
    assert codes[0] == min(max(quotient + (rest and quotient % 2) + zero, -128), 127)


@given(dtypes, st.data(), scales)
def test_dequantize_is_exact_before_the_product(scalar, dtype, data, scale):
    low, high = integer_range(dtype)
    code, zero = data.draw(st.integers(low, high)), data.draw(st.integers(low, high))
    real = dequantize(np.array([code]).astype(dtype), np.float32(scale), np.array(zero).astype(dtype))
    assert real[0] == scalar.f32((code - zero) * scale)


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1))
def test_an_int32_difference_does_not_overflow(scalar, code, zero):
    real = dequantize(np.array([code], np.int32), np.float32(1), np.array(zero, np.int32))
    assert real[0] == scalar.f32(code - zero)


@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
@given(value=st.floats(-1e6, 1e6, width=32))
def test_float8_takes_the_nearest_code_and_saturates(dtype, value):
    every = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float64)
    finite = every[np.isfinite(every)]
    (code,) = quantize(np.array([value], np.float32), np.float32(1), None, dtype)
    assert abs(float(code) - value) == np.abs(finite - value).min()


def test_float8_beyond_the_range_without_saturation():
    huge = np.array([1e6, -1e6], np.float32)
    assert np.isnan(quantize(huge, np.float32(1), None, FLOAT8[0], saturate=False).astype(np.float32)).all()
    assert quantize(huge, np.float32(1), None, FLOAT8[1], saturate=False).astype(float).tolist() == [
        math.inf,
        -math.inf,
    ]


def test_precision_is_the_type_of_the_division():
    x, scale = np.array([2049.0], np.float32), np.float32(2)
    assert quantize(x, scale, None, np.dtype(np.int16)).tolist() == [1024]
    x = np.array([2051.0], np.float32)  # 2052 in float16
    assert quantize(x, scale, None, np.dtype(np.int16)).tolist() == [1026]
    half = quantize(x * 2, scale, None, np.dtype(np.int16), precision=np.dtype(np.float16))
    assert half.tolist() == [2052]  # 4102 is 4104 in float16


IR_SCHEMES = [
    QuantScheme(dtype, granularity, axis=axis, block_size=block)
    for dtype in DType
    if dtype.is_quantized
    for granularity, axis, block in (
        (Granularity.PER_TENSOR, None, None),
        (Granularity.PER_CHANNEL, 0, None),
        (Granularity.PER_BLOCK, 1, 3),
    )
]


@pytest.mark.parametrize("scheme", IR_SCHEMES, ids=str)
def test_the_ir_defines_the_same(scheme):
    rng = np.random.default_rng(5)
    shape = {None: (), 0: (4,), 1: (4, 3)}[scheme.axis]
    zero = rng.integers(0, 2, shape) if scheme.dtype.is_integer else np.zeros(shape)
    params = QParams(scheme, rng.uniform(0.01, 0.1, shape).astype(np.float32), zero.astype(numpy_dtype(scheme.dtype)))
    x = np.concatenate([rng.normal(0, 3, (4, 5)), [[np.nan, np.inf, -np.inf, 0]] * 4], 1).astype(np.float32)
    x = x[:, :8]
    scale = spread(params.scale, x.shape, scheme.axis or 0, scheme.block_size or 0)
    offset = spread(params.zero_point, x.shape, scheme.axis or 0, scheme.block_size or 0)
    mine = quantize(x, scale, offset if scheme.dtype.is_integer else None, numpy_dtype(scheme.dtype))
    theirs = params.quantize(x)
    np.testing.assert_array_equal(mine.astype(np.float32), theirs.astype(np.float32))
    finite = np.nan_to_num(theirs.astype(np.float32)).astype(theirs.dtype)
    real = dequantize(finite, scale, offset if scheme.dtype.is_integer else None)
    np.testing.assert_array_equal(real, params.dequantize(finite))


def test_spread_per_tensor_channel_and_block():
    assert spread(np.ones(1), (2, 3), 1).shape == ()
    assert spread(np.ones(3), (2, 3), 1).shape == (1, 3)
    assert spread(np.ones(2), (2, 3), -2).shape == (2, 1)
    blocks = spread(np.arange(4).reshape(2, 2), (2, 5), 1, 3)
    assert blocks.tolist() == [[0, 0, 0, 1, 1], [2, 2, 2, 3, 3]]


@pytest.mark.parametrize(("values", "axis", "block"), [((2,), 1, 0), ((3,), 2, 0), ((2, 2, 1), 1, 2), ((2, 2), 0, 0)])
def test_a_scale_that_fits_nowhere_is_refused(values, axis, block):
    with pytest.raises(ModelError, match="scale or zero point of shape"):
        spread(np.ones(values), (2, 3), axis, block)


def test_what_accumulates():
    assert all(is_integer(dtype) for dtype in INTEGERS)
    assert not any(is_integer(np.dtype(t)) for t in (np.int32, np.float32, ml_dtypes.float8_e4m3fn))
