"""Weights whose codes an algorithm chose are used as they are, and checked against the recipe."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from deepseek_core.calibration import Calibration, TensorStats
from deepseek_core.errors import ModelError
from deepseek_core.ir.ops import Role
from deepseek_core.ir.qparams import QParams
from deepseek_core.ir.verify import verify
from deepseek_core.pipeline import float_model
from deepseek_core.quantize import QuantizedWeight, apply_recipe, derive_recipe, weight_params
from deepseek_core.recipe import CalibratorSpec, Recipe, TensorRecipe
from deepseek_core.scheme import DType, Granularity, QuantScheme

KEY = ("conv_y", 1)
WEIGHT = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32)
BIAS = np.array([0.5, -1, 2, 0], np.float32)


@pytest.fixture
def prepared(build):
    return float_model(build([("Conv", ["x", "w", "b"], ["y"])], {"x": [1, 3, 4, 4]}, ["y"], w=WEIGHT, b=BIAS))


@pytest.fixture
def recipe(prepared, table):
    return derive_recipe(prepared, [table], CalibratorSpec("minmax"))


@pytest.fixture
def calibration():
    stats = {name: TensorStats() for name in ("x", "y")}
    for tensor in stats.values():
        tensor.update(np.linspace(-1, 1, 64, dtype=np.float32))
    return Calibration(stats)


def conv(model):
    (unit,) = (unit for unit in model.units() if unit.op == "Conv")
    return unit


def test_given_codes_and_scales_are_used_as_they_are(prepared, recipe, calibration):
    start = weight_params(prepared, recipe, calibration)[KEY]
    params = QParams(start.scheme, start.scale * np.float32(1.5), start.zero_point)
    codes = np.floor(WEIGHT / params.scale.reshape(4, 1, 1, 1)).astype(np.int8)
    result = apply_recipe(prepared, recipe, calibration, weights={KEY: QuantizedWeight(codes, params)})
    verify(result)
    (weight,), (bias,), (data,) = (conv(result).operands(role) for role in (Role.WEIGHT, Role.BIAS, Role.DATA))
    np.testing.assert_array_equal(weight.value.const_value.numpy(), codes)
    np.testing.assert_array_equal(weight.qparams.scale, params.scale)
    np.testing.assert_array_equal(bias.qparams.scale, data.qparams.scale * params.scale)
    np.testing.assert_allclose(bias.qparams.dequantize(bias.value.const_value.numpy()), BIAS, atol=1e-3)


def test_rounding_to_nearest_at_the_starting_scales_is_the_default(prepared, recipe, calibration):
    params = weight_params(prepared, recipe, calibration)[KEY]
    given = {KEY: QuantizedWeight(params.quantize(WEIGHT), params)}
    given_result = apply_recipe(prepared, recipe, calibration, weights=given)
    assert given_result.digest() == apply_recipe(prepared, recipe, calibration).digest()


def test_starting_scales_leave_room_for_the_bias(build, table, calibration):
    dead = WEIGHT.copy()
    dead[1] = 1e-12
    prepared = float_model(build([("Conv", ["x", "w", "b"], ["y"])], {"x": [1, 3, 4, 4]}, ["y"], w=dead, b=BIAS))
    recipe = derive_recipe(prepared, [table], CalibratorSpec("minmax"))
    params = weight_params(prepared, recipe, calibration)[KEY]
    assert params.scale[1] > 1e-12
    small = QParams(params.scheme, np.full(4, 1e-12, np.float32), params.zero_point)
    codes = np.zeros(dead.shape, np.int8)
    with pytest.raises(ModelError, match="so small that its bias saturates int32"):
        apply_recipe(prepared, recipe, calibration, weights={KEY: QuantizedWeight(codes, small)})


def test_a_weight_that_is_not_in_the_recipe_is_refused(prepared, recipe, calibration):
    given = {("conv_y", 0): QuantizedWeight(np.zeros(1, np.int8), weight_params(prepared, recipe, calibration)[KEY])}
    with pytest.raises(ModelError, match="input 0 of node 'conv_y', which the recipe does not quantize"):
        apply_recipe(prepared, recipe, calibration, weights=given)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((4, 3), np.int8), r"has codes int8\[4, 3\]"),
        (np.zeros((4, 3, 1, 1), np.uint8), r"has codes uint8\[4, 3, 1, 1\]"),
        (np.zeros((4, 3, 1, 1), np.float32), r"has codes float32"),
    ],
)
def test_codes_of_another_form_are_refused(prepared, recipe, calibration, codes, message):
    params = weight_params(prepared, recipe, calibration)[KEY]
    with pytest.raises(ModelError, match=message):
        apply_recipe(prepared, recipe, calibration, weights={KEY: QuantizedWeight(codes, params)})


def test_another_scheme_or_other_scales_are_refused(prepared, recipe, calibration):
    params = weight_params(prepared, recipe, calibration)[KEY]
    codes = params.quantize(WEIGHT)
    other = QParams(QuantScheme(DType.INT8, symmetric=True), np.float32(1).reshape(()), np.int8(0).reshape(()))
    few = QParams(params.scheme, params.scale[:2], params.zero_point[:2])
    for wrong, message in ((other, "is int8 per_tensor"), (few, "has 2 scales for axis 0")):
        with pytest.raises(ModelError, match=message):
            apply_recipe(prepared, recipe, calibration, weights={KEY: QuantizedWeight(codes, wrong)})


@pytest.mark.parametrize("code", [-8, -7])
def test_codes_outside_a_narrow_range_are_refused(prepared, calibration, code):
    scheme = QuantScheme(DType.INT4, Granularity.PER_CHANNEL, symmetric=True, narrow_range=True, axis=0)
    recipe = Recipe(weights={KEY: TensorRecipe(scheme)})
    params = weight_params(prepared, recipe, calibration)[KEY]
    codes = np.zeros(WEIGHT.shape, ml_dtypes.int4)
    codes[0, 0] = code
    given = {KEY: QuantizedWeight(codes, params)}
    if code == -8:
        with pytest.raises(ModelError, match="codes outside -7 to 7"):
            apply_recipe(prepared, recipe, calibration, weights=given)
    else:
        (weight,) = conv(apply_recipe(prepared, recipe, calibration, weights=given)).operands(Role.WEIGHT)
        np.testing.assert_array_equal(weight.value.const_value.numpy().astype(int), codes.astype(int))


def test_float8_weights_are_taken_and_not_a_number_is_refused(prepared, calibration):
    recipe = Recipe(weights={KEY: TensorRecipe(QuantScheme(DType.FLOAT8E4M3FN, symmetric=True))})
    params = weight_params(prepared, recipe, calibration)[KEY]
    weight = QuantizedWeight(params.quantize(WEIGHT), params)
    (found,) = conv(apply_recipe(prepared, recipe, calibration, weights={KEY: weight})).operands(Role.WEIGHT)
    assert found.value.const_value.numpy().tobytes() == weight.codes.tobytes()
    bad = weight.codes.copy()
    bad[0] = np.nan
    with pytest.raises(ModelError, match="codes outside"):
        apply_recipe(prepared, recipe, calibration, weights={KEY: replace(weight, codes=bad)})
