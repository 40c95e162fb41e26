"""From statistics to scale and zero point."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek_core.calibration import TensorStats, activation_qparams
from deepseek_core.errors import CalibrationError, ConfigError
from deepseek_core.recipe import CalibratorSpec, TensorRecipe
from deepseek_core.scheme import DType, Granularity, QuantScheme

MINMAX = CalibratorSpec("minmax")


def test_asymmetric_uint8(stats_of):
    params = activation_qparams(
        stats_of(np.array([-1.0, 0.5, 3.0], np.float32)), TensorRecipe(QuantScheme(DType.UINT8), MINMAX)
    )
    assert params.scale == np.float32(4 / 255)
    assert (params.zero_point, params.zero_point.dtype) == (64, np.uint8)
    assert params.scale.shape == params.zero_point.shape == ()


def test_symmetric_int8(stats_of):
    params = activation_qparams(
        stats_of(np.array([-1.0, 3.0], np.float32)), TensorRecipe(QuantScheme(DType.INT8, symmetric=True), MINMAX)
    )
    assert (params.scale, params.zero_point) == (np.float32(3 / 127), 0)


def test_the_calibrator_of_the_recipe_is_used(stats_of):
    stats = stats_of(np.append(np.random.default_rng(0).normal(size=1_000_000), 80).astype(np.float32))
    scheme = QuantScheme(DType.INT8, symmetric=True)
    scales = {m: activation_qparams(stats, TensorRecipe(scheme, CalibratorSpec(m))).scale for m in ("minmax", "kl")}
    assert scales["kl"] < scales["minmax"] / 10


def test_a_vendor_calibrator(stats_of):
    class Fixed:
        def range(self, stats, scheme):
            return -2.0, 2.0

    recipe = TensorRecipe(QuantScheme(DType.INT8, symmetric=True), CalibratorSpec("acme.fixed"))
    params = activation_qparams(stats_of(np.ones(3, np.float32)), recipe, {"acme.fixed": Fixed})
    assert params.scale == np.float32(2 / 127)


def test_a_tensor_without_values_is_named():
    with pytest.raises(CalibrationError, match="tensor 'branch' had no values during calibration"):
        activation_qparams(TensorStats(), TensorRecipe(QuantScheme(DType.UINT8)), name="branch")


def test_per_channel_activations_are_refused(stats_of):
    scheme = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True, axis=1)
    with pytest.raises(ConfigError, match=r"int8 per_channel axis=1.*quantize activations per tensor"):
        activation_qparams(stats_of(np.ones(3, np.float32)), TensorRecipe(scheme))
