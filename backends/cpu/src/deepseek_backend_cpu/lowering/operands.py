"""What the integer kernels need to know about a unit's operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core import DType, Granularity, Operand, QParams, QuantScheme, Role, Unit

__all__ = [
    "ACTIVATION_TYPES",
    "bias_codes",
    "bias_problem",
    "clip_codes",
    "int8_weight",
    "is_codes",
    "known_params",
    "real_constant",
    "same_codes",
    "weight_problem",
]

ACTIVATION_TYPES = (DType.UINT8, DType.INT8)
_WEIGHT_TYPES = (DType.INT8, DType.UINT8, DType.INT4, DType.UINT4)
_INT32 = np.iinfo(np.int32)
_SHIFT = {DType.UINT8: 128}


def known_params(operand: Operand) -> QParams:
    """Scale and zero point of an operand that `IntegerKernel.problem` has found to have them."""
    assert operand.qparams is not None
    return operand.qparams


def is_codes(operand: Operand) -> bool:
    """Whether a tensor is 8-bit with one scale, standing for float32 values."""
    if operand.qparams is None or operand.real.dtype not in (ir.DataType.FLOAT, None):
        return False
    scheme = operand.qparams.scheme
    return scheme.dtype in ACTIVATION_TYPES and scheme.granularity is Granularity.PER_TENSOR


def same_codes(unit: Unit) -> bool:
    """Whether every quantized output has the scale and zero point of the first data input."""
    source = unit.operands(Role.DATA)[0].qparams
    return source is not None and all(o.qparams is None or o.qparams.equals(source) for o in unit.outputs)


def weight_problem(operand: Operand, axis: int) -> str | None:
    """Why a constant is no weight of an integer kernel; None when it is one."""
    if operand.qparams is None or not operand.is_constant:
        return "its weight is not a quantized constant"
    scheme = operand.qparams.scheme
    if scheme.dtype not in _WEIGHT_TYPES:
        return f"its weight is {scheme.dtype}"
    if scheme.granularity is Granularity.PER_BLOCK:
        return "its weight is quantized by block"
    rank = len(operand.shape or ())
    if scheme.granularity is Granularity.PER_CHANNEL and (scheme.axis or 0) % max(rank, 1) != axis % max(rank, 1):
        return f"its weight is quantized along axis {scheme.axis}"
    if np.unique(operand.qparams.zero_point.astype(np.int32)).size > 1:
        return "its weight has a different zero point for each channel"
    return None


def int8_weight(operand: Operand) -> tuple[NDArray[Any], QParams]:
    """Codes and parameters of a constant as int8: uint8 is shifted by 128 with its zero point, 4 bits are widened."""
    qparams = known_params(operand)
    scheme = qparams.scheme
    shift = _SHIFT.get(scheme.dtype, 0)

    def convert(array: NDArray[Any]) -> NDArray[Any]:
        return (array.astype(np.int16) - shift).astype(np.int8)

    codes = convert(_array(operand.value))
    wide = QuantScheme(DType.INT8, scheme.granularity, axis=scheme.axis)
    return codes, QParams(wide, qparams.scale, convert(qparams.zero_point))


def real_constant(operand: Operand) -> NDArray[Any]:
    """The real values of a constant operand."""
    array = _array(operand.value)
    return array if operand.qparams is None else operand.qparams.dequantize(array)


def bias_problem(unit: Unit, scale: NDArray[np.float32]) -> str | None:
    """Why the bias cannot be added to an int32 accumulator in units of `scale`; None when it can."""
    for operand in unit.operands(Role.BIAS):
        if not operand.is_constant or (operand.qparams is None and operand.value is not operand.real):
            return "its bias is computed at run time"
        if _array(operand.value).size not in (1, scale.size) and scale.size != 1:
            return "its bias has another size than its scale"
        codes = bias_codes(operand, scale)
        if not ((codes >= _INT32.min) & (codes <= _INT32.max)).all():
            return "its bias does not fit int32"
    return None


def bias_codes(operand: Operand, scale: NDArray[np.float32]) -> NDArray[np.float64]:
    """A constant bias in whole units of `scale`; the codes themselves where they are in these units already."""
    qparams = operand.qparams
    in_units = qparams is not None and not qparams.zero_point.any() and qparams.scale.size in (1, scale.size)
    if in_units and qparams is not None and np.allclose(qparams.scale, scale, rtol=1e-6, atol=0):
        return _array(operand.value).astype(np.float64).reshape(-1)
    return np.rint(real_constant(operand).astype(np.float64).reshape(-1) / scale.astype(np.float64))


def clip_codes(activation: ir.Node, output: QParams) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Code bounds of a Relu or Clip; None for another function, or for bounds that are not constants.

    Quantization is monotone, so clipping codes at the codes of the bounds is exact: q(clip(x)) = clip(q(x)).
    """
    if activation.op_type == "Relu":
        low: NDArray[Any] | None = np.zeros((), np.float32)
        high: NDArray[Any] | None = None
    elif activation.op_type == "Clip" and not activation.attributes:
        bounds = [*activation.inputs[1:], None, None][:2]
        if any(v is not None and v.const_value is None for v in bounds):
            return None
        low, high = (None if v is None else _array(v) for v in bounds)
    else:
        return None
    smallest, largest = output.scheme.dtype.range
    storage = output.zero_point.dtype
    low_code = np.asarray(smallest).astype(storage) if low is None else output.quantize(low.reshape(()))
    high_code = np.asarray(largest).astype(storage) if high is None else output.quantize(high.reshape(()))
    return low_code, high_code


def _array(value: ir.Value) -> NDArray[Any]:
    assert value.const_value is not None
    return value.const_value.numpy()
