"""Why a unit is not built: what a capability table has no words for."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from deepseek_backend_arm.lowering.by_tvm import tvm_problem
from deepseek_backend_arm.lowering.control import CONTROL, control_problem
from deepseek_backend_arm.lowering.conversion import conversion_problem
from deepseek_backend_arm.lowering.convolution import conv_problem
from deepseek_backend_arm.lowering.emitter import EIGHT_BITS
from deepseek_backend_arm.lowering.moves import LOWERINGS as MOVES
from deepseek_backend_arm.lowering.moves import move_problem
from deepseek_backend_arm.lowering.pooling import pool_problem
from deepseek_backend_arm.lowering.real import REALS
from deepseek_backend_arm.lowering.recurrent import recurrent_problem
from deepseek_backend_arm.lowering.resize import resize_problem
from deepseek_backend_arm.plan.abi import PAIRS
from deepseek_backend_arm.plan.program import TYPES
from deepseek_core import DType, Granularity, Operand, Role, Unit
from deepseek_core.ir import subgraphs, units

__all__ = ["own_problem", "problem"]

_MATRICES = ("Gemm", "MatMul")
_CONVERSIONS = ("DequantizeLinear", "QuantizeLinear")
_BUILT = frozenset((*REALS, *CONTROL, *_MATRICES, *_CONVERSIONS, "Conv", "ConvTranspose"))
_WHOLE = frozenset(
    (*MOVES, *PAIRS, "Abs", "Neg", "Sign", "Cast", "CastLike", "Clip", "Max", "Min", "Sum", "Not", "Where")
)
"""Ops on whole numbers and truths too."""
_REAL = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


def problem(unit: Unit) -> str | None:
    """Why a unit that the table accepts is not built; None when it is."""
    own = own_problem(unit)
    if own is None or unit.op in CONTROL or _of_tensors(unit, anything=True) is not None:
        return own
    return tvm_problem(unit, own)


def own_problem(unit: Unit) -> str | None:
    """Why no kernel of this backend runs a unit that the table accepts; None where one does."""
    if unit.op not in _BUILT:
        return f"there is no kernel for {unit.op}"
    found = _of_tensors(unit, anything=unit.op in (*_WHOLE, *_CONVERSIONS, *CONTROL))
    if found is None and unit.op in CONTROL:
        found = control_problem(unit) or _of_bodies(unit)
    check = _CHECKS.get(unit.op)
    return found if found is not None or check is None else check(unit)


def _of_tensors(unit: Unit, *, anything: bool) -> str | None:
    """What of its tensors nothing here can hold.

    Args:
        anything: whether data may be whole numbers and truths too.
    """
    if any(_is_negative(operand) for operand in (*unit.operands(Role.DATA), *unit.outputs)):
        return "a tensor has a size below 0"
    return _of_types(unit, anything) or _of_shapes(unit)


def _is_negative(operand: Operand) -> bool:
    """Where pads cut off more than there is, shape inference counts below 0."""
    return any(isinstance(size, int) and size < 0 for size in operand.shape or ())


def _of_types(unit: Unit, anything: bool) -> str | None:
    for operand in (*(o for o in unit.inputs if o is not None), *unit.outputs):
        if operand.value is not operand.real and unit.op not in _CONVERSIONS:
            reason = _of_codes(operand)
            if reason is not None:
                return reason
        elif _is_strange(operand):
            return f"'{operand.value.name}' has element type {str(operand.value.dtype).lower()}"
    numbers = [o for o in unit.operands(Role.DATA) if o.value is o.real and o.value.dtype not in (None, *_REAL)]
    if numbers and not anything:
        return f"'{numbers[0].value.name}' is no tensor of real numbers"
    return None


def _is_strange(operand: Operand) -> bool:
    """Whether no tensor here has the element type; constants that become real numbers may have any."""
    dtype = operand.value.dtype
    becomes_real = operand.qparams is not None and operand.value.const_value is not None
    return dtype is not None and str(dtype.numpy()) not in TYPES and not becomes_real


def _of_codes(operand: Operand) -> str | None:
    """Codes are held in 8 bits; constants may have any type, since they become real numbers when compiling."""
    if operand.qparams is None:
        return f"'{operand.value.name}' has a scale that is computed at run time"
    if operand.value.const_value is not None or operand.dtype is DType.INT32:
        return None
    scheme = operand.qparams.scheme
    if operand.dtype not in EIGHT_BITS or scheme.granularity is Granularity.PER_BLOCK:
        return f"'{operand.value.name}' holds codes of {scheme}"
    return None


def _of_shapes(unit: Unit) -> str | None:
    for operand in (*(o for o in unit.inputs if o is not None), *unit.outputs):
        if operand.shape is None or None in operand.shape:
            return f"the shape of '{operand.value.name}' is not known"
        if len(operand.shape) > _MOST_AXES:
            return f"'{operand.value.name}' has {len(operand.shape)} axes"
    return None


_MOST_AXES = 8


def _of_bodies(unit: Unit) -> str | None:
    for body in subgraphs(unit.node):
        for inner in units(body, (*unit.path, unit.node.name or "", body.name or "")):
            reason = problem(inner)
            if reason is not None:
                return f"its body holds '{inner.name}' ({inner.op}): {reason}"
    return None


def _normalization_problem(unit: Unit) -> str | None:
    more = [value for value in unit.node.outputs[1:] if value.uses() or value.is_graph_output()]
    if unit.op == "BatchNormalization":
        if any(value is None or value.const_value is None for value in unit.node.inputs[1:]):
            return "its numbers are computed at run time"
        return "it trains" if more or bool(unit.node.attributes.get_int("training_mode", 0)) else None
    return "it gives the mean or deviation too" if more else None


def _reduction_problem(unit: Unit) -> str | None:
    axes = unit.node.inputs[1] if len(unit.node.inputs) > 1 else None
    return "its axes are computed at run time" if axes is not None and axes.const_value is None else None


def _mask_problem(unit: Unit) -> str | None:
    used = [value for value in unit.node.outputs[1:] if value.uses() or value.is_graph_output()]
    return "it gives its mask" if used else None


_CHECKS: dict[str, Callable[[Unit], str | None]] = {
    **dict.fromkeys(MOVES, move_problem),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), pool_problem),
    **dict.fromkeys(_CONVERSIONS, conversion_problem),
    **dict.fromkeys(("Conv", "ConvTranspose"), conv_problem),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent_problem),
    **dict.fromkeys(("BatchNormalization", "LayerNormalization"), _normalization_problem),
    **{op: _reduction_problem for op in REALS if op.startswith("Reduce")},
    "Dropout": _mask_problem,
    "Resize": resize_problem,
}
