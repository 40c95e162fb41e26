"""Calibrators by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from deepseek_core.calibration.base import Calibrator
from deepseek_core.calibration.entropy import Entropy
from deepseek_core.calibration.fixed import Fixed
from deepseek_core.calibration.minmax import MinMax
from deepseek_core.calibration.mse import Mse
from deepseek_core.calibration.percentile import Percentile
from deepseek_core.errors import ConfigError
from deepseek_core.recipe import CalibratorSpec

__all__ = ["CORE", "calibrator"]

CORE: Mapping[str, Callable[..., Calibrator]] = {
    "entropy": Entropy,
    "fixed": Fixed,
    "minmax": MinMax,
    "mse": Mse,
    "percentile": Percentile,
}
"""The core's own calibrators."""

_ALIASES = {"kl": "entropy", "kl_divergence": "entropy", "min_max": "minmax"}


def calibrator(spec: CalibratorSpec, extra: Mapping[str, Callable[..., Calibrator]] | None = None) -> Calibrator:
    """Build the calibrator that `spec` names.

    Args:
        spec: name (upper or lower case, aliases `kl` and `kl_divergence` for `entropy`) and options.
        extra: further calibrators by full name, such as a backend's `deepseek_calibrators`.

    Raises:
        ConfigError: the name or an option is unknown, or an option's value is impossible.
    """
    known = {**(extra or {}), **CORE}
    name = spec.method if spec.method in known else spec.method.lower().replace("-", "_")
    factory = known.get(_ALIASES.get(name, name))
    if factory is None:
        raise ConfigError(f"unknown calibrator '{spec.method}'", fix=f"use one of {', '.join(sorted(known))}")
    parameters = inspect.signature(factory).parameters
    flexible = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [option for option, _ in spec.options if option not in parameters]
    if unknown and not flexible:
        raise ConfigError(
            f"calibrator '{spec.method}' has no option '{unknown[0]}'",
            fix=f"use {', '.join(parameters)}" if parameters else "leave the options out",
        )
    return factory(**dict(spec.options))
