"""Units that sum products: on codes where both sides are codes, on real numbers otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_backend_arm.lowering.codes import bounds, scale_and_zero
from deepseek_backend_arm.lowering.emitter import EIGHT_BITS, Emitter, qparams_for
from deepseek_backend_arm.lowering.real_functions import activated
from deepseek_backend_arm.lowering.real_pairs import paired
from deepseek_backend_arm.lowering.sums import Codes
from deepseek_backend_arm.lowering.tensor import Tensor
from deepseek_core import DType, Granularity, Operand, QParams, Role, Unit
from deepseek_core.ir import channel_axis
from deepseek_core.lowering import clip_bounds, constant_of

__all__ = ["Bias", "Make", "bias_of", "finish", "finish_real", "held_weights", "is_codes", "sides_of", "sums_codes"]

_CLAMPS = ("Relu", "Clip")
_HELD = (*EIGHT_BITS, DType.INT4, DType.UINT4)

Make = Callable[[Codes | None, NDArray[np.float32], "Bias", tuple[float, float]], Tensor]
"""Emits a product: what the result's codes mean, its scale, its bias, and the bounds of a real result."""


@dataclass(frozen=True, slots=True, eq=False)
class Bias:
    """What is added to sums.

    Attributes:
        joined: [M] or of one element, in units of the sums.
        real: likewise, added to real numbers; None for nothing.
        late: a tensor that is added to the result, since it is no row of numbers or computed at run time.
    """

    joined: NDArray[np.int64]
    real: NDArray[np.float32] | None = None
    late: Operand | None = None


def sides_of(unit: Unit) -> tuple[Operand, Operand]:
    """What is multiplied."""
    first, second = unit.inputs[0], unit.inputs[1]
    assert first is not None
    assert second is not None
    return first, second


def sums_codes(unit: Unit) -> bool:
    """Whether the unit's sums are of codes: data of 8 bits per tensor, and weights that only need a scale."""
    first, second = sides_of(unit)
    if not is_codes(first):
        return False
    if second.role is Role.WEIGHT and (second.value.const_value is None or unit.op != "MatMul" or _is_matrix(second)):
        return second.value.const_value is not None and _weights_fit(second, unit.node)
    return unit.op == "MatMul" and is_codes(second)


def is_codes(operand: Operand) -> bool:
    """Whether an operand is codes of 8 bits, with one scale."""
    qparams = operand.qparams
    return qparams is not None and operand.dtype in EIGHT_BITS and qparams.scheme.granularity is Granularity.PER_TENSOR


def _is_matrix(operand: Operand) -> bool:
    return len(operand.shape or ()) == 2


def _weights_fit(operand: Operand, node: ir.Node) -> bool:
    qparams = operand.qparams
    if qparams is None or qparams.scheme.dtype not in _HELD or (qparams_for_weights(qparams).zero_point != 0).any():
        return False
    if qparams.scheme.granularity is Granularity.PER_TENSOR:
        return True
    rank = len(operand.shape or ())
    axis = qparams.scheme.axis if qparams.scheme.axis is not None else 0
    per_channel = qparams.scheme.granularity is Granularity.PER_CHANNEL
    return per_channel and rank > 0 and axis % rank == channel_axis(node) % rank


def qparams_for_weights(qparams: QParams) -> QParams:
    """Codes of unsigned types less the middle of their range."""
    middle = 0 if qparams.scheme.dtype.is_signed else 2 ** (qparams.scheme.dtype.bits - 1)
    zero = qparams.zero_point.astype(np.int16) - middle
    return QParams(qparams.scheme, qparams.scale, zero.astype(np.int8)) if middle else qparams


def held_weights(operand: Operand) -> NDArray[np.int8]:
    """Constant codes as int8."""
    codes = constant_of(operand.value).astype(np.int16)
    assert operand.qparams is not None
    dtype = operand.qparams.scheme.dtype
    return np.asarray((codes if dtype.is_signed else codes - 2 ** (dtype.bits - 1)).astype(np.int8))


def scales_of(unit: Unit, alpha: float = 1.0) -> NDArray[np.float32]:
    """float32(s_x · s_w) of each channel, or of all."""
    first, second = (qparams_for(operand).scale.astype(np.float32).reshape(-1) for operand in sides_of(unit))
    product = (first * second).astype(np.float32)
    return product if alpha == 1.0 else (product * np.float32(alpha)).astype(np.float32)


def bias_of(unit: Unit, scale: NDArray[np.float32], channels: int, beta: float = 1.0) -> Bias:
    """How a bias is added to sums of this scale."""
    found, nothing = unit.operands(Role.BIAS), np.zeros(1, np.int64)
    if not found:
        return Bias(nothing)
    (bias,) = found
    shape = tuple(bias.shape or ())
    is_row = not shape or (all(size == 1 for size in shape[:-1]) and shape[-1] in (1, channels))
    if bias.value.const_value is None or not is_row:
        return Bias(nothing, late=bias)
    array = constant_of(bias.value).reshape(-1)
    if bias.qparams is None:
        return Bias(nothing, real=np.asarray(array * np.float32(beta), np.float32))
    if _joins(bias.qparams, scale, beta):
        return Bias(array.astype(np.int64))
    real = bias.qparams.dequantize(constant_of(bias.value)).reshape(-1)
    return Bias(nothing, real=np.asarray(real * np.float32(beta), np.float32))


def _joins(bias: QParams, scale: NDArray[np.float32], beta: float) -> bool:
    if bias.scheme.dtype is not DType.INT32 or bias.zero_point.any():
        return False
    own = bias.scale.astype(np.float64).reshape(-1) * beta
    return bool(
        np.isclose(np.resize(own, max(own.size, scale.size)), scale.astype(np.float64), rtol=1e-4, atol=0).all()
    )


def finish(
    unit: Unit, emitter: Emitter, make: Make, scale: NDArray[np.float32], bias: Bias, *, beta: float = 1.0
) -> None:
    """Define the results of a unit that sums codes: as codes where nothing is between, else by real numbers."""
    real: Tensor | None = None
    clamped = unit.activation is None or unit.activation.op_type in _CLAMPS
    direct = clamped and bias.real is None and bias.late is None
    for output in unit.outputs:
        if direct and is_codes(output):
            s_y, zero = scale_and_zero(output)
            codes = Codes(zero, *bounds(unit, output))
            factors = (scale / np.float32(s_y)).astype(np.float32)
            emitter.define(output.value, make(codes, factors, bias, (-inf, inf)))
            continue
        if real is None:
            real = _real(unit, emitter, lambda limits: make(None, scale, bias, limits), bias, beta)
        tensor = real if output.qparams is None else emitter.quantize(real, qparams_for(output))
        emitter.define(output.value, as_declared(emitter, tensor, output.value))


def as_declared(emitter: Emitter, tensor: Tensor, value: ir.Value) -> Tensor:
    """Real numbers in the type that the graph declares."""
    return emitter.cast(tensor, "float16") if value.dtype is ir.DataType.FLOAT16 else tensor


def _real(
    unit: Unit, emitter: Emitter, made: Callable[[tuple[float, float]], Tensor], bias: Bias, beta: float
) -> Tensor:
    fused = unit.activation is not None and unit.activation.op_type in _CLAMPS and bias.late is None
    return finish_real(unit, emitter, made(real_bounds(unit) if fused else (-inf, inf)), bias, beta)


def real_bounds(unit: Unit) -> tuple[float, float]:
    """Between what the fused activation clamps."""
    node = unit.activation
    if node is None or node.op_type not in _CLAMPS:
        return -inf, inf
    low, high = clip_bounds(node)
    return float(np.float32(min(low, high))), float(np.float32(high))


def finish_real(unit: Unit, emitter: Emitter, result: Tensor, bias: Bias, beta: float = 1.0) -> Tensor:
    """What is left to do on a product of real numbers: a bias that could not join it, then the activation."""
    node = unit.activation
    if bias.late is not None:
        addend = emitter.real(bias.late)
        if beta != 1.0:
            addend = paired(emitter, "Mul", addend, emitter.constant(np.array(beta, np.float32)), addend.shape)
        result = paired(emitter, "Add", result, addend, result.shape)
    elif node is not None and node.op_type in _CLAMPS:
        return result
    return result if node is None else activated(emitter, result, node)


def real_weights(operand: Operand) -> NDArray[Any]:
    """Constant real numbers."""
    array = constant_of(operand.value)
    return operand.qparams.dequantize(array) if operand.qparams is not None else array.astype(np.float32)
