"""An integer kernel: what keeps a unit from it, and the nodes that run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_backend_cpu.lowering.emitter import Emitter
from deepseek_backend_cpu.lowering.operands import clip_codes, is_codes, known_params
from deepseek_core import Operand, Role, Unit

__all__ = ["IntegerKernel", "accumulator_scale", "finish", "mixture", "plain"]


def plain(unit: Unit) -> str | None:
    """For kernels that ask nothing beyond 8-bit data."""
    return None


@dataclass(frozen=True, slots=True)
class IntegerKernel:
    """One op of the integer set.

    Attributes:
        emit: build its nodes with an `Emitter`.
        special: why a unit with 8-bit data still cannot use it; None when it can.
        float_output: it can also return float32, which is then the real value of the int32 accumulator.
    """

    emit: Callable[[Unit, Emitter], None]
    special: Callable[[Unit], str | None] = plain
    float_output: bool = False

    def problem(self, unit: Unit) -> str | None:
        """Why the kernel does not take `unit`; None when it does."""
        data = unit.operands(Role.DATA)
        if not data or not all(map(is_codes, data)):
            return "its inputs are not all 8-bit with one scale each"
        return self._output_problem(unit) or self.special(unit)

    def _output_problem(self, unit: Unit) -> str | None:
        numbers = [o for o in unit.outputs if o.qparams is not None or o.real.dtype in (ir.DataType.FLOAT, None)]
        if len({id(o.real) for o in numbers}) != len(numbers):
            return "its float output is read as well as its quantized one"
        if all(map(is_codes, numbers)):
            if unit.activation is None or (o := numbers[0].qparams) is None or clip_codes(unit.activation, o):
                return None
            return f"no integer kernel computes {unit.activation.op_type} in the same step"
        if self.float_output and not any(o.qparams is not None for o in numbers):
            return None
        return "its output is not 8-bit with one scale"


def mixture(unit: Unit) -> str | None:
    """Why the data types of `unit` do not go together; None when they do."""
    types = {o.dtype for o in (*unit.operands(Role.DATA), *unit.outputs) if o.qparams is not None}
    return "it mixes int8 and uint8 tensors" if len(types) > 1 else None


def finish(emit: Emitter, codes: ir.Value) -> None:
    """Take `codes` as the unit's result, clipped first where the unit's Relu or Clip is more than saturation."""
    (output,) = emit.unit.outputs
    bounds = None
    if emit.unit.activation is not None and output.qparams is not None:
        bounds = clip_codes(emit.unit.activation, output.qparams)
    emit.result(output, codes if bounds is None else _clipped(emit, output, codes, *bounds))


def _clipped(emit: Emitter, output: Operand, codes: ir.Value, low: NDArray[Any], high: NDArray[Any]) -> ir.Value:
    smallest, largest = known_params(output).scheme.dtype.range
    if low <= smallest and high >= largest:
        return codes
    (clipped,) = emit.add("Clip", [codes, emit.constant(low), emit.constant(high)])
    return clipped


def accumulator_scale(unit: Unit) -> NDArray[np.float32]:
    """Real value of one step of the int32 accumulator: s_x · s_w, shape (C,) or (1,)."""
    scales = [
        o.qparams.scale for o in (*unit.operands(Role.DATA), *unit.operands(Role.WEIGHT)) if o.qparams is not None
    ]
    return np.asarray(np.multiply(*scales, dtype=np.float32), np.float32).reshape(-1)
