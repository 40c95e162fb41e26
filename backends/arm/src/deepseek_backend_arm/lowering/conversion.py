"""Q and DQ that stand alone: where a model enters or leaves codes."""

from __future__ import annotations

from deepseek_backend_arm.lowering.emitter import EIGHT_BITS, Emitter
from deepseek_backend_arm.lowering.products import as_declared
from deepseek_core import DType, Granularity, Role, Unit
from deepseek_core.errors import BackendError
from deepseek_core.ir import qparams_of
from deepseek_core.lowering import signed

__all__ = ["LOWERINGS", "conversion_problem"]


def conversion_problem(unit: Unit) -> str | None:
    """Why a conversion is not built; None when it is."""
    qparams = qparams_of(unit.node)
    if qparams is None:
        return "its scale is computed at run time"
    (x,) = unit.operands(Role.DATA)
    if unit.op == "DequantizeLinear" and x.value.const_value is not None:
        return None
    kinds = EIGHT_BITS if unit.op == "QuantizeLinear" else (*EIGHT_BITS, DType.INT32)
    if qparams.scheme.dtype not in kinds or qparams.scheme.granularity is Granularity.PER_BLOCK:
        return f"its codes are {qparams.scheme}"
    return None


def _convert(unit: Unit, emitter: Emitter) -> None:
    (x,), y, qparams = unit.operands(Role.DATA), unit.outputs[0], qparams_of(unit.node)
    if qparams is None:
        raise BackendError(f"'{unit.name}' has a scale that is not constant", fix="place it on another target")
    result = emitter.quantize(emitter.real(x), signed(qparams)) if unit.op == "QuantizeLinear" else emitter.real(x)
    emitter.define(y.value, as_declared(emitter, result, y.value))


LOWERINGS = {"DequantizeLinear": _convert, "QuantizeLinear": _convert}
