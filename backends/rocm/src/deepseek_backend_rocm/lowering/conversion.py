"""Q and DQ that stand alone: where a model enters or leaves codes."""

from __future__ import annotations

from math import prod

import numpy as np

from deepseek_backend_rocm.lowering.emitter import Emitter
from deepseek_backend_rocm.lowering.tensor import Tensor
from deepseek_core import DType, Granularity, QParams, Role, Unit
from deepseek_core.errors import BackendError
from deepseek_core.ir import qparams_of
from deepseek_core.lowering import canonical, signed

__all__ = ["LOWERINGS", "conversion_problem", "dequantized", "quantized"]

_TYPES = {"int8": "i8", "int32": "i32", "float32": "fp32"}


def conversion_problem(unit: Unit) -> str | None:
    """Why a conversion that the table accepts is not built; None when it is."""
    qparams = qparams_of(unit.node)
    if qparams is None:
        return "its scale is computed at run time"
    if unit.op == "QuantizeLinear" and qparams.scheme.dtype not in (DType.INT8, DType.UINT8):
        return f"it makes {qparams.scheme.dtype} codes"
    return None


def quantized(emitter: Emitter, tensor: Tensor, qparams: QParams) -> Tensor:
    """Codes of real numbers."""
    return _converted(emitter, "quantize", tensor, qparams)


def dequantized(emitter: Emitter, tensor: Tensor, qparams: QParams) -> Tensor:
    """Real numbers of codes."""
    return _converted(emitter, "dequantize", tensor, qparams)


def _convert(unit: Unit, emitter: Emitter) -> None:
    (x,), y, qparams = unit.operands(Role.DATA), unit.outputs[0], qparams_of(unit.node)
    if qparams is None:
        raise BackendError(f"'{unit.name}' has a scale that is not constant", fix="place it on another target")
    kernel = "quantize" if unit.op == "QuantizeLinear" else "dequantize"
    emitter.define(y.value, _converted(emitter, kernel, emitter.tensor(x.value), qparams))


def _converted(emitter: Emitter, kernel: str, source: Tensor, given: QParams) -> Tensor:
    qparams = signed(given)
    channels, inner = _division(source.shape, qparams)
    if channels > 1:
        source = emitter.ordered(source, canonical(len(source.shape)))
    result = emitter.new("int8" if kernel == "quantize" else "float32", source.shape, source.order)
    places: dict[str, Tensor] = {
        "x": source,
        "scale": emitter.constant(qparams.scale.astype(np.float32).reshape(-1)),
        "zero": emitter.constant(qparams.zero_point.astype(np.int32).reshape(-1)),
        "y": result,
    }
    types = {"x": _TYPES[source.dtype]} if kernel == "quantize" else {"x": _TYPES[source.dtype], "y": "fp32"}
    values = {"count": result.count, "channels": channels, "inner": max(inner, 1)}
    emitter.emit(kernel, places, values, types=types)
    return result


def _division(shape: tuple[int, ...], qparams: QParams) -> tuple[int, int]:
    """Elements along and behind the axis of channels."""
    scheme = qparams.scheme
    if scheme.granularity is Granularity.PER_TENSOR:
        return 1, prod(shape)
    axis = (scheme.axis or 0) % len(shape)
    return shape[axis], prod(shape[axis + 1 :])


LOWERINGS = {"DequantizeLinear": _convert, "QuantizeLinear": _convert}
