"""Weight parameters: every granularity, dead channels, odd sizes, other float types, and a search that pays."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepseek_core.calibration import weight_qparams
from deepseek_core.errors import ConfigError, ModelError
from deepseek_core.recipe import CalibratorSpec, TensorRecipe
from deepseek_core.scheme import DType, Granularity, QuantScheme


def recipe(dtype=DType.INT8, granularity=Granularity.PER_TENSOR, method="minmax", symmetric=True, **fields):
    return TensorRecipe(QuantScheme(dtype, granularity, symmetric=symmetric, **fields), CalibratorSpec(method))


CHANNEL, BLOCK = Granularity.PER_CHANNEL, Granularity.PER_BLOCK


def test_per_tensor():
    params = weight_qparams(np.array([[-2.0, 1.0]], np.float32), recipe())
    assert params.scale.shape == ()
    assert params.scale == np.float32(2 / 127)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_per_channel_is_per_tensor_of_each_slice(axis):
    array = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    params = weight_qparams(array, recipe(granularity=CHANNEL, axis=axis))
    alone = [weight_qparams(part, recipe()).scale for part in np.moveaxis(array, axis, 0)]
    assert np.array_equal(params.scale, alone)
    assert abs(params.fake_quantize(array) - array).max() <= params.scale.max() / 2 + 1e-7


@pytest.mark.parametrize("method", ["minmax", "mse"])
@pytest.mark.parametrize(
    ("axis", "size", "scales"), [(0, 4, (3, 6)), (1, 4, (10, 2)), (-1, 6, (10, 1)), (0, 16, (1, 6))]
)
def test_per_block_is_per_tensor_of_each_block(method, axis, size, scales):
    array = np.random.default_rng(0).laplace(size=(10, 6)).astype(np.float32)
    params = weight_qparams(array, recipe(DType.INT4, BLOCK, method, axis=axis, block_size=size))
    assert params.scale.shape == params.zero_point.shape == scales
    rows = np.moveaxis(array, axis, -1)
    found = np.moveaxis(params.scale, axis, -1)
    for index in np.ndindex(found.shape):
        block = rows[index[0], index[1] * size : (index[1] + 1) * size]
        assert found[index] == weight_qparams(block, recipe(DType.INT4, method=method)).scale
    assert params.quantize(array).shape == array.shape


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_other_float_types_give_what_their_values_give(dtype, method):
    array = np.random.default_rng(0).normal(size=(4, 9)).astype(dtype)
    same = array.astype(np.float32)
    wanted = recipe(granularity=CHANNEL, axis=0, method=method)
    assert weight_qparams(array, wanted).equals(weight_qparams(same, wanted))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("method", ["minmax", "mse", "entropy"])
def test_a_dead_channel_takes_the_scale_of_the_tensor(symmetric, method):
    array = np.random.default_rng(0).normal(size=(4, 9)).astype(np.float32)
    array[2] = 0
    params = weight_qparams(array, recipe(granularity=CHANNEL, axis=0, symmetric=symmetric, method=method))
    assert params.scale[2] >= params.scale.max() > 0
    assert params.scale[2] < 2 * params.scale.max()
    assert not params.fake_quantize(array)[2].any()


def test_constant_channels_are_exact_to_half_a_step():
    array = np.repeat(np.array([[-3.0], [0.25], [1e-20]], np.float32), 5, axis=1)
    for symmetric in (True, False):
        params = weight_qparams(array, recipe(granularity=CHANNEL, axis=0, symmetric=symmetric))
        np.testing.assert_allclose(params.fake_quantize(array), array, rtol=1e-6)


def test_a_tensor_of_zeros_has_scale_one():
    for granularity, axis in ((Granularity.PER_TENSOR, None), (CHANNEL, 0)):
        params = weight_qparams(np.zeros((2, 3), np.float32), recipe(granularity=granularity, axis=axis))
        assert (params.scale == 1).all()


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)])
@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_empty_tensors(shape, method):
    array = np.empty(shape, np.float32)
    assert weight_qparams(array, recipe(method=method)).scale == 1
    channels = weight_qparams(array, recipe(granularity=CHANNEL, axis=0, method=method))
    blocks = weight_qparams(array, recipe(DType.INT4, BLOCK, method, axis=0, block_size=2))
    assert channels.scale.shape == shape[:1]
    assert blocks.scale.shape == (-(-shape[0] // 2), *shape[1:])
    assert channels.quantize(array).shape == blocks.quantize(array).shape == shape


def test_a_scalar():
    assert weight_qparams(np.float32(254.0), recipe()).scale == 2


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.floats(-8, 8, width=32)),
    st.sampled_from([DType.INT8, DType.INT4, DType.UINT4, DType.FLOAT8E4M3FN]),
    st.booleans(),
)
def test_the_search_never_loses_to_the_full_range(array, dtype, symmetric):
    def error(method):
        params = weight_qparams(array, recipe(dtype, CHANNEL, method, symmetric, axis=0))
        return np.square(params.fake_quantize(array) - array, dtype=np.float64).sum(axis=1)

    assert (error("mse") <= error("minmax") * (1 + 1e-6) + 1e-12).all()


def test_the_search_pays_at_four_bits():
    array = np.random.default_rng(0).normal(size=(16, 4096)).astype(np.float32)

    def error(method):
        params = weight_qparams(array, recipe(DType.INT4, CHANNEL, method, axis=0))
        return np.square(params.fake_quantize(array) - array).mean()

    assert error("mse") < 0.6 * error("minmax")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(bad):
    with pytest.raises(ModelError, match="a weight holds NaN or infinity"):
        weight_qparams(np.array([1.0, bad], np.float32), recipe())
    with pytest.raises(ModelError, match="a weight holds NaN or infinity"):
        weight_qparams(np.array([1e300]), recipe())


@pytest.mark.parametrize("axis", [2, -3])
def test_an_axis_outside_the_rank(axis):
    with pytest.raises(ConfigError, match=f"quantized axis {axis} of a weight of shape"):
        weight_qparams(np.ones((2, 3), np.float32), recipe(granularity=CHANNEL, axis=axis))


def test_calibrators_of_activations_mean_the_full_range():
    array = np.random.default_rng(0).laplace(size=(4, 100)).astype(np.float32)
    full = weight_qparams(array, recipe(DType.INT4))
    for method in ("entropy", "percentile", "acme:own"):
        assert weight_qparams(array, recipe(DType.INT4, method=method)).equals(full)
    assert not weight_qparams(array, recipe(DType.INT4, method="MSE")).equals(full)
