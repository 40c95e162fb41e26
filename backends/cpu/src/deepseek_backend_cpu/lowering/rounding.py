"""Where a sum in float32 is not the int32 sum that the reference defines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_cpu.lowering.kernel import accumulator_scale
from deepseek_backend_cpu.lowering.operands import bias_codes, int8_weight, known_params, weight_problem
from deepseek_core import Role, Unit
from deepseek_core.ir import channel_axis

__all__ = ["float_differs"]

_UNIT_ROUNDOFF = 2.0**-24
_HALF_CODE = 0.5


def float_differs(unit: Unit) -> str | None:
    """Why the float kernel of an integer unit may be more than a rounding tie away from it; None when it is not.

    The int32 sum may wrap, which a float sum does not; and a float sum of n products is off by about √n · 2⁻²⁴ of
    their absolute sum (Higham and Mary, SISC 2019), which must stay under half a code of the output.
    """
    weights, data = unit.operands(Role.WEIGHT), unit.operands(Role.DATA)
    if not weights or weight_problem(weights[0], channel_axis(unit.node)) is not None:
        return None
    magnitude, count = _absolute_sum(unit)
    bias = [np.abs(bias_codes(operand, accumulator_scale(unit))) for operand in unit.operands(Role.BIAS)]
    largest = magnitude + (bias[0] if bias else 0.0)
    if (largest >= 2.0**31).any():
        return "its int32 sum may wrap"
    output = unit.outputs[0].qparams
    if output is not None and len(data) == 1:
        error = np.sqrt(count) * _UNIT_ROUNDOFF * largest * accumulator_scale(unit) / output.scale
        if (error >= _HALF_CODE).any():
            return "its sum in float32 may be off by more than a rounding tie"
    return None


def _absolute_sum(unit: Unit) -> tuple[NDArray[np.float64], int]:
    """Largest possible sum of absolute products for each output channel, and how many products it has.

    Matrices of a batch count together, which is on the safe side.
    """
    codes, qparams = int8_weight(unit.operands(Role.WEIGHT)[0])
    axis = channel_axis(unit.node) % max(codes.ndim, 1)
    centred = np.abs(codes.astype(np.float64) - float(qparams.zero_point.reshape(-1)[0]))
    data = known_params(unit.operands(Role.DATA)[0])
    low, high = data.scheme.dtype.range
    reach = max(high - float(data.zero_point), float(data.zero_point) - low)
    if codes.ndim < 2:  # the vector of a MatMul
        return centred.sum(keepdims=True) * reach, codes.size
    others = tuple(i for i in range(codes.ndim) if i != axis)
    return centred.sum(axis=others) * reach, codes.size // max(codes.shape[axis], 1)
