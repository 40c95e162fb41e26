"""Numbers of quantization as the NPU takes them: integer multipliers, codes of bounds, scales of operands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.tosa import DType
from deepseek_core import DType as ElementType
from deepseek_core import Operand, QParams, Role, Unit
from deepseek_core.errors import BackendError
from deepseek_core.lowering import clip_bounds, constant_of

__all__ = [
    "bias_codes",
    "bounds",
    "clamp_bytes",
    "constant",
    "factors",
    "multiplier",
    "qparams_for",
    "scale_zero",
    "tosa_dtype",
]

_DTYPES = {ElementType.INT8: DType.INT8, ElementType.INT16: DType.INT16, ElementType.INT32: DType.INT32}
_SHIFTS = (2, 62)


def multiplier(factor: float, *, wide: bool = True) -> tuple[int, int]:
    """Multiplier and shift with factor = multiplier / 2^shift, as RESCALE takes them.

    A float32 factor is exact in the 31 bits of a wide multiplier; a narrow one (int48 input) has 15. Factors outside
    2^-62 … 2^28 are cut to that range, where every result is 0 or saturated anyway.
    """
    bits = 31 if wide else 15
    mantissa, exponent = math.frexp(factor)
    number, shift = round(mantissa * (1 << bits)), bits - exponent
    if number == 1 << bits:
        number, shift = number >> 1, shift - 1
    if shift > _SHIFTS[1]:
        return number >> min(shift - _SHIFTS[1], bits), _SHIFTS[1]
    if shift < _SHIFTS[0]:
        return (1 << bits) - 1, _SHIFTS[0]
    return number, shift


def tosa_dtype(operand: Operand) -> DType:
    """Element type of an operand's codes.

    Raises:
        BackendError: the NPU has no such type.
    """
    found = _DTYPES.get(operand.dtype) if operand.dtype is not None else None
    if found is None:
        raise BackendError(
            f"'{operand.value.name}' is {operand.dtype}, which the NPU does not have", fix="quantize the model for npu"
        )
    return found


def qparams_for(operand: Operand) -> QParams:
    """Parameters of a quantized operand.

    Raises:
        BackendError: it is not quantized.
    """
    if operand.qparams is None:
        raise BackendError(f"'{operand.real.name}' is not quantized", fix="quantize the model for npu")
    return operand.qparams


def scale_zero(operand: Operand) -> tuple[np.float32, int]:
    """Scale and zero point of a per-tensor operand."""
    qparams = qparams_for(operand)
    if qparams.scale.size != 1:
        raise BackendError(f"'{operand.value.name}' has a scale for each channel", fix="place its unit elsewhere")
    return np.float32(qparams.scale.reshape(-1)[0]), int(qparams.zero_point.reshape(-1)[0])


def factors(x: Operand, weight: Operand, y: Operand) -> NDArray[np.float32]:
    """float32(float32(s_x · s_w) / s_y) for every output channel, or once: the IR's requantization."""
    product = np.float32(scale_zero(x)[0]) * qparams_for(weight).scale.reshape(-1).astype(np.float32)
    return np.asarray(product / scale_zero(y)[0], np.float32)


def bounds(unit: Unit, y: Operand) -> tuple[int, int]:
    """Lowest and highest code that the activation behind a unit leaves: the codes of its bounds."""
    ends = (-np.inf, np.inf) if unit.activation is None else clip_bounds(unit.activation)
    low, high = (int(qparams_for(y).quantize(np.array(end, np.float32))) for end in ends)
    return low, high


def constant(unit: Unit, position: int) -> NDArray[Any] | None:
    """A constant input of the compute node; None where it is left out."""
    operand = unit.inputs[position] if position < len(unit.inputs) else None
    return None if operand is None else constant_of(operand.value)


def bias_codes(unit: Unit, channels: int) -> NDArray[np.int64]:
    """int32 biases, zeros where there are none."""
    for operand in unit.operands(Role.BIAS):
        return np.broadcast_to(constant_of(operand.value).astype(np.int64).reshape(-1), (channels,))
    return np.zeros(channels, np.int64)


def clamp_bytes(value: int, dtype: DType) -> bytes:
    """A bound in the bytes of its type."""
    return value.to_bytes(1 if dtype is DType.INT8 else 2, "little", signed=True)
