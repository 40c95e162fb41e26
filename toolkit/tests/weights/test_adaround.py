"""AdaRound as it was published, on the same quadratic loss: ours must find codes at least as good."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from deepseek.quantization.weights import Method, solve
from deepseek.quantization.weights.objective import Objective

from deepseek_core import DType, Granularity, QuantScheme

ZETA, GAMMA = 1.1, -0.1


def adaround(objective: Objective, scale: np.ndarray, low: float, high: float, steps: int = 3000) -> np.ndarray:
    """Nagel et al. (2020), equations 21 to 25, with Adam on the exact gradient; β falls from 20 to 2."""
    weight, half = objective.target, 1e-3
    floor = np.floor(weight / scale)
    rest = np.clip((weight / scale - floor - GAMMA) / (ZETA - GAMMA), half, 1 - half)
    variable = np.log(rest / (1 - rest))
    size = np.square(weight * np.sqrt(np.einsum("gkk->gk", objective.h))[:, None]).sum()
    mean, square = np.zeros_like(variable), np.zeros_like(variable)
    for step in range(1, steps + 1):
        sigmoid = 1 / (1 + np.exp(-variable))
        stretched = sigmoid * (ZETA - GAMMA) + GAMMA
        up = np.clip(stretched, 0, 1)
        inside = (stretched > 0) & (stretched < 1)
        codes = np.clip(floor + up, low, high)
        slope = 2 * objective.gradient(codes * scale) * scale / size * ((floor + up >= low) & (floor + up <= high))
        if step > steps // 5:
            beta = 20 - 18 * (step / steps)
            centred = 2 * up - 1
            slope -= 1e-3 * beta * np.abs(centred) ** (beta - 1) * np.sign(centred) * 2
        slope = slope * inside * sigmoid * (1 - sigmoid) * (ZETA - GAMMA)
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        variable -= 0.05 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-10)
    return np.asarray(np.clip(floor + (variable > 0), low, high) * scale)


@pytest.mark.parametrize(("bits", "seed"), [(4, 0), (4, 1), (8, 2)])
def test_codes_are_at_least_as_good(layer: Any, bits: int, seed: int) -> None:
    dtype = DType.INT4 if bits == 4 else DType.INT8
    scheme = QuantScheme(dtype, Granularity.PER_CHANNEL, symmetric=True, axis=0)
    measured = layer(scheme, outputs=8, inputs=24, count=1000, seed=seed)
    objective = Objective.of(measured.total(), measured.site.weight, 0.02, free_bias=False)
    scale = measured.start.scale.astype(np.float64)[None, :, None]
    theirs = adaround(objective, scale, scheme.qmin, scheme.qmax)
    method = Method(ranges=False, refits=0, compensation=0, bias=False, shrink=0.02)
    chosen = solve(measured, method).decision.weight
    ours = chosen.params.dequantize(chosen.codes).astype(np.float64)[None]
    nearest = np.clip(np.rint(measured.site.weight / scale), scheme.qmin, scheme.qmax) * scale
    losses = [objective.loss(w).sum() for w in (ours, theirs, nearest)]
    assert losses[1] < 0.7 * losses[2], "the reference itself must work"
    assert losses[0] <= 1.02 * losses[1]
