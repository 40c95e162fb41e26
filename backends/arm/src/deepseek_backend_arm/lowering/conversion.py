"""Q and DQ that stand alone: where a model enters or leaves codes."""

from __future__ import annotations

from math import prod

import numpy as np

from deepseek_backend_arm.lowering.emitter import Emitter, shape_of
from deepseek_backend_arm.lowering.tensor import Tensor, canonical
from deepseek_backend_arm.plan.abi import Value
from deepseek_core import Granularity, QParams, Role, Unit
from deepseek_core.errors import BackendError
from deepseek_core.ir import qparams_of

__all__ = ["LOWERINGS", "conversion_problem"]

_CODES = {"int8": 1, "int32": 3}
"""Types of codes, as `ds_type` numbers them."""


def conversion_problem(unit: Unit) -> str | None:
    """Why a conversion that the table accepts is not built; None when it is."""
    qparams = qparams_of(unit.node)
    if qparams is None:
        return "its scale is computed at run time"
    if unit.op == "QuantizeLinear" and str(qparams.scheme.dtype) != "int8":
        return f"it makes {qparams.scheme.dtype} codes"
    return None


def _convert(unit: Unit, emitter: Emitter) -> None:
    (x,), y, qparams = unit.operands(Role.DATA), unit.outputs[0], qparams_of(unit.node)
    if qparams is None:
        raise BackendError(f"'{unit.name}' has a scale that is not constant", fix="place it on another target")
    source = emitter.tensor(x.value)
    shape = shape_of(x)
    outer, channels, inner = _division(shape, qparams)
    if channels > 1:
        source = emitter.ordered(source, canonical(len(shape)))
    quantizes = unit.op == "QuantizeLinear"
    result = emitter.new("int8" if quantizes else "float32", shape, source.order)
    places: dict[str, Tensor] = {
        "x": source,
        "scale": emitter.constant(qparams.scale.astype(np.float32).reshape(-1)),
        "zero": emitter.constant(qparams.zero_point.astype(np.int32).reshape(-1)),
        "y": result,
    }
    values: dict[str, Value] = {"outer": outer, "channels": channels, "inner": inner}
    if not quantizes:
        values["type"] = _CODES[source.dtype]
    emitter.emit("quantize" if quantizes else "dequantize", places, values)
    emitter.define(y.value, result)


def _division(shape: tuple[int, ...], qparams: QParams) -> tuple[int, int, int]:
    """Elements before, along and behind the axis of channels."""
    scheme = qparams.scheme
    if scheme.granularity is Granularity.PER_TENSOR:
        return 1, 1, prod(shape)
    axis = (scheme.axis or 0) % len(shape)
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


LOWERINGS = {"DequantizeLinear": _convert, "QuantizeLinear": _convert}
