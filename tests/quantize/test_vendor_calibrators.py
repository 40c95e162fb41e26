"""A backend's own calibrators, asked for by `backend:name`."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from deepseek_core import CalibratorSpec, hookimpl
from deepseek_core.errors import ConfigError
from deepseek_core.ir.frontend import load_model
from deepseek_core.pipeline import quantize
from deepseek_core.reference import plugin as reference
from deepseek_core.registry import Backend, Registry


class Fixed:
    """A range that no data could give."""

    def __init__(self, bound: float = 3.0) -> None:
        self.bound = bound

    def range(self, stats, scheme) -> tuple[float, float]:
        return -self.bound, self.bound


@pytest.fixture
def registry() -> Registry:
    hooks = {name: value for name, value in vars(reference).items() if name.startswith("deepseek_")}
    hooks["deepseek_calibrators"] = hookimpl(lambda: {"fixed": Fixed})
    return Registry([Backend(SimpleNamespace(**hooks))])


def _quantize(mlp: onnx.ModelProto, registry: Registry, spec: CalibratorSpec, samples=None):
    samples = samples or [{"x": np.ones((4, 8), np.float32)}]
    return quantize(load_model(mlp), samples, targets=("reference",), registry=registry, calibrator=spec)


def test_its_ranges_are_used(mlp: onnx.ModelProto, registry: Registry) -> None:
    model = _quantize(mlp, registry, CalibratorSpec("reference:fixed", (("bound", 7.0),)))
    scales = [o.qparams.scale for unit in model.units() for o in unit.outputs if o.qparams is not None]
    assert scales
    for scale in scales:
        assert np.isclose(scale, 14 / 255, rtol=1e-3) or np.isclose(scale, 7 / 127, rtol=1e-3)


class _Untouchable:
    def __iter__(self):
        raise AssertionError("the samples were read although the calibrator does not exist")


@pytest.mark.parametrize(
    "spec", [CalibratorSpec("fixed"), CalibratorSpec("reference:other"), CalibratorSpec("minmax", (("bound", 1.0),))]
)
def test_unknown_ones_are_refused_before_any_sample_is_read(mlp, registry: Registry, spec: CalibratorSpec) -> None:
    with pytest.raises(ConfigError):
        _quantize(mlp, registry, spec, _Untouchable())
