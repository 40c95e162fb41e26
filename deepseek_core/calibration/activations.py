"""Quantization parameters of activations, from their statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deepseek_core.calibration.base import Calibrator
from deepseek_core.calibration.methods import calibrator
from deepseek_core.calibration.stats import TensorStats
from deepseek_core.errors import CalibrationError, ConfigError
from deepseek_core.ir.qparams import QParams
from deepseek_core.recipe import TensorRecipe
from deepseek_core.scheme import Granularity

__all__ = ["Calibrators", "activation_qparams", "activation_range"]

Calibrators = Mapping[str, Callable[..., Calibrator]]
"""Calibrators beside the core's, by name."""


def activation_qparams(
    stats: TensorStats, recipe: TensorRecipe, extra: Calibrators | None = None, *, name: str = ""
) -> QParams:
    """Scale and zero point, both of shape (), for a tensor with these statistics; see `activation_range`.

    A tensor that is 0 throughout gets scale 1, which keeps it exact.
    """
    return QParams.from_range(recipe.scheme, *activation_range(stats, recipe, extra, name=name))


def activation_range(
    stats: TensorStats, recipe: TensorRecipe, extra: Calibrators | None = None, *, name: str = ""
) -> tuple[float, float]:
    """(low, high) in real units for a tensor with these statistics.

    Args:
        stats: what calibration saw of the tensor.
        recipe: its scheme (per tensor) and calibrator.
        extra: calibrators beside the core's, by name.
        name: of the tensor; for messages.

    Raises:
        CalibrationError: the tensor had no values.
        ConfigError: the scheme is not per tensor, or the calibrator is unknown.
    """
    what = f"tensor '{name}'" if name else "a tensor"
    if recipe.scheme.granularity is not Granularity.PER_TENSOR:
        raise ConfigError(f"{what} is to be quantized {recipe.scheme}", fix="quantize activations per tensor")
    if stats.count == 0:
        raise CalibrationError(
            f"{what} had no values during calibration", fix="give samples that reach it, or leave it in float"
        )
    return calibrator(recipe.calibrator, extra).range(stats, recipe.scheme)
