"""The defining numerics of quantization, against exact arithmetic and against ONNX's own reference."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from deepseek_core.errors import ModelError
from deepseek_core.ir.qdq import onnx_dtype
from deepseek_core.ir.qparams import QParams, expand, numpy_dtype
from deepseek_core.scheme import DType, Granularity, QuantScheme

INTEGERS = [d for d in DType if d.is_quantized and d.is_integer]
SCALES = st.floats(2.0**-30, 2.0**30, width=32)
REALS = st.floats(allow_nan=True, allow_infinity=True, width=32)


@st.composite
def per_tensor(draw: st.DrawFn, dtypes: list[DType] = INTEGERS) -> QParams:
    dtype = draw(st.sampled_from(dtypes))
    zero = draw(st.integers(*map(int, dtype.range))) if dtype.is_integer else 0
    scheme = QuantScheme(dtype, narrow_range=draw(st.booleans()) and dtype.is_signed and zero > dtype.range[0])
    return QParams(scheme, np.float32(draw(SCALES)), np.array(zero, numpy_dtype(dtype)))


@given(per_tensor(), st.lists(REALS, min_size=1, max_size=8))
def test_quantize_is_round_half_even_then_saturate(params, values):
    x = np.array(values, np.float32)
    codes = params.quantize(x).astype(np.int64)
    with np.errstate(over="ignore"):
        ratios = x / params.scale
    for code, ratio in zip(codes, ratios, strict=True):
        if np.isnan(ratio):
            exact = int(params.zero_point)
        elif np.isinf(ratio):
            exact = params.scheme.qmax if ratio > 0 else params.scheme.qmin
        else:
            exact = round(Fraction(float(ratio))) + int(params.zero_point)
        assert code == min(max(exact, params.scheme.qmin), params.scheme.qmax)


@given(per_tensor())
def test_quantizing_what_was_dequantized_gives_every_code_again(params):
    codes = np.arange(params.scheme.qmin, params.scheme.qmax + 1).astype(numpy_dtype(params.scheme.dtype))
    assert np.array_equal(params.quantize(params.dequantize(codes)), codes)


@given(per_tensor(), hnp.arrays(np.float32, 5, elements=st.floats(-1e6, 1e6, width=32)))
def test_the_error_is_half_a_step_inside_the_range(params, x):
    low, high = params.dequantize(np.array([params.scheme.qmin, params.scheme.qmax], numpy_dtype(params.scheme.dtype)))
    x = np.clip(x, low, high)
    # Half a step, and what float32 loses in the quotient and in the product of the largest code.
    slack = params.scale / 2 + 2.0**-22 * np.maximum(np.abs(x), 1) + 2.0**-23 * (high - low)
    assert (np.abs(params.fake_quantize(x) - x) <= slack).all()


@given(per_tensor(), st.tuples(REALS, REALS))
def test_quantize_is_monotone(params, pair):
    assume(not np.isnan(pair).any())
    low, high = params.quantize(np.sort(np.array(pair, np.float32))).astype(np.int64)
    assert low <= high


@pytest.mark.parametrize("dtype", [d for d in DType if d.is_quantized])
@settings(max_examples=25)
@given(data=st.data())
def test_it_is_what_onnx_defines(dtype, data):
    params = data.draw(per_tensor([dtype]))
    params = QParams(QuantScheme(dtype), params.scale, params.zero_point)
    # ONNX's own reference overflows the int32 it rounds into; ratios stay in its range here.
    x = data.draw(hnp.arrays(np.float32, (2, 3), elements=st.floats(-1e6, 1e6, width=32)))
    x = np.clip(x, -1e9 * params.scale, 1e9 * params.scale)
    zero = numpy_helper.from_array(params.zero_point, "z")
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 3])],
        [
            helper.make_tensor_value_info("q", int(onnx_dtype(dtype)), [2, 3]),
            helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 3]),
        ],
        [numpy_helper.from_array(params.scale, "s"), zero],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    codes, real = ReferenceEvaluator(model).run(None, {"x": x})
    assert np.array_equal(params.quantize(x).astype(np.float32), np.asarray(codes).astype(np.float32))
    assert np.array_equal(params.dequantize(params.quantize(x)), real)


@given(
    st.sampled_from([DType.INT8, DType.UINT8, DType.INT4, DType.UINT4, DType.INT16, DType.UINT16]),
    st.booleans(),
    st.floats(-1e30, 1e30),
    st.floats(0, 1e30),
)
def test_a_range_becomes_codes_that_hold_it_and_zero(dtype, symmetric, low, width):
    params = QParams.from_range(QuantScheme(dtype, symmetric=symmetric), low, low + width)
    assert params.fake_quantize(np.zeros(1, np.float32)) == 0, "real zero is a code"
    ends = np.array([min(low, 0), max(low + width, 0)])
    step = float(params.scale)
    if np.abs(ends).max() >= np.finfo(np.float32).tiny * dtype.range[1]:
        error = np.abs(params.fake_quantize(ends.astype(np.float32)).astype(np.float64) - ends)
        assert (error <= 1.0001 * step).all(), "the ends lose a step at most, to the zero point's rounding"
    if symmetric and dtype.is_signed:
        assert not params.zero_point.astype(np.int64).any()


@given(st.floats(-100, 100), st.floats(-100, 100))
def test_narrow_range_leaves_the_lowest_code_out(low, high):
    scheme = QuantScheme(DType.INT8, symmetric=True, narrow_range=True)
    params = QParams.from_range(scheme, min(low, high), max(low, high))
    codes = params.quantize(np.linspace(-200, 200, 101, dtype=np.float32))
    assert codes.min() >= -127


def test_an_empty_range_is_exact_at_zero():
    params = QParams.from_range(QuantScheme(DType.UINT8), 0.0, 0.0)
    assert params.scale == 1
    assert params.quantize(np.zeros(3, np.float32)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("bounds", [(np.nan, 1.0), (0.0, np.inf), (-np.inf, 0.0)])
def test_a_range_that_is_not_finite_is_refused(bounds):
    with pytest.raises(ModelError, match="not finite"):
        QParams.from_range(QuantScheme(DType.INT8), *bounds)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_a_scale_must_be_positive_and_finite(scale):
    with pytest.raises(ModelError, match="positive and finite"):
        QParams(QuantScheme(DType.INT8), np.float32(scale), np.int8(0))


def test_scale_and_zero_point_have_one_shape():
    with pytest.raises(ModelError, match="same shape"):
        QParams(QuantScheme(DType.INT8), np.float32(1), np.zeros(2, np.int8))


@given(
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=5),
    st.data(),
)
def test_a_channel_is_quantized_as_if_it_were_alone(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    count = shape[axis]
    scale = data.draw(hnp.arrays(np.float32, count, elements=SCALES))
    zero = data.draw(hnp.arrays(np.int8, count))
    x = data.draw(hnp.arrays(np.float32, shape, elements=st.floats(-1e3, 1e3, width=32)))
    params = QParams(QuantScheme(DType.INT8, Granularity.PER_CHANNEL, axis=axis), scale, zero)
    codes = params.quantize(x)
    for index in range(count):
        alone = QParams(QuantScheme(DType.INT8), scale[index], zero[index])
        assert np.array_equal(codes.take(index, axis), alone.quantize(x.take(index, axis)))
        assert np.array_equal(params.dequantize(codes).take(index, axis), alone.dequantize(codes.take(index, axis)))


@given(hnp.array_shapes(min_dims=1, max_dims=3, max_side=6), st.data())
def test_blocks_share_a_scale_and_the_last_may_be_short(shape, data):
    axis = data.draw(st.integers(0, len(shape) - 1))
    block = data.draw(st.integers(1, 2 * shape[axis]))
    scheme = QuantScheme(DType.UINT4, Granularity.PER_BLOCK, axis=axis, block_size=block)
    reduced = tuple(-(-n // block) if i == axis else n for i, n in enumerate(shape))
    values = np.arange(np.prod(reduced)).reshape(reduced)
    expanded = expand(values, shape, scheme)
    assert expanded.shape == shape
    for index in np.ndindex(*shape):
        where = tuple(i // block if a == axis else i for a, i in enumerate(index))
        assert expanded[index] == values[where]


def test_an_absurd_block_size_allocates_nothing():
    scheme = QuantScheme(DType.INT4, Granularity.PER_BLOCK, axis=0, block_size=1 << 60)
    assert expand(np.ones((1, 2), np.float32), (3, 2), scheme).shape == (3, 2)


@pytest.mark.parametrize(
    ("scheme", "values", "complaint"),
    [
        (QuantScheme(DType.INT8, Granularity.PER_CHANNEL, axis=3), np.ones(2), "axis 3"),
        (QuantScheme(DType.INT8, Granularity.PER_CHANNEL, axis=1), np.ones(2), "2 scales for axis 1"),
        (QuantScheme(DType.INT4, Granularity.PER_BLOCK, axis=1, block_size=2), np.ones((2, 3)), "blocks of 2"),
        (QuantScheme(DType.INT4, Granularity.PER_BLOCK, axis=1, block_size=2), np.ones((1, 2)), "blocks of 2"),
    ],
)
def test_scales_that_do_not_fit_the_tensor_are_refused(scheme, values, complaint):
    with pytest.raises(ModelError, match=complaint):
        expand(values, (2, 4 if scheme.block_size else 3), scheme)


def test_float8_saturates_and_keeps_nan():
    params = QParams(QuantScheme(DType.FLOAT8E4M3FN), np.float32(0.5), np.zeros((), ml_dtypes.float8_e4m3fn))
    codes = params.quantize(np.array([1e9, -1e9, np.inf, np.nan, 0.25], np.float32)).astype(np.float32)
    assert codes[:3].tolist() == [448, -448, 448]
    assert np.isnan(codes[3])
    assert codes[4] == 0.5


def test_equal_parameters_differ_in_flags_only():
    one = QParams(QuantScheme(DType.INT8, symmetric=True), np.float32(0.1), np.int8(0))
    same = QParams(QuantScheme(DType.INT8, narrow_range=True), np.float32(0.1), np.int8(0))
    assert one.equals(same)
    for other in (
        QParams(QuantScheme(DType.INT8), np.float32(0.2), np.int8(0)),
        QParams(QuantScheme(DType.INT8), np.float32(0.1), np.int8(1)),
        QParams(QuantScheme(DType.UINT8), np.float32(0.1), np.uint8(0)),
        QParams(
            QuantScheme(DType.INT8, Granularity.PER_CHANNEL, axis=0), np.full(1, 0.1, np.float32), np.zeros(1, np.int8)
        ),
    ):
        assert not one.equals(other)
