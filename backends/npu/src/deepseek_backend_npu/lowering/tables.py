"""Functions of one value: of int8 a table of 256 results, each the code that the IR defines; of int16 see `wide`."""

from __future__ import annotations

import numpy as np

from deepseek_backend_npu.capabilities import FUNCTIONS
from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_backend_npu.lowering.numbers import qparams_for
from deepseek_backend_npu.lowering.wide import bounded, hard_sigmoid, hard_swish, interpolated
from deepseek_backend_npu.tosa import DType, Op, Tensor
from deepseek_core import Role, Unit
from deepseek_core.lowering import UnaryFunction, code_table

__all__ = ["LOWERINGS"]


def _function(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    codes = emitter.codes(x)
    result = (_wide if codes.dtype is DType.INT16 else _table)(unit, emitter, codes)
    emitter.define(y.value, result, emitter.order(x.value) or ())


def _table(unit: Unit, emitter: Emitter, codes: Tensor) -> Tensor:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    table = code_table(qparams_for(x), qparams_for(y), UnaryFunction.of(unit.node))
    lowest_first = emitter.graph.constant(np.roll(table, 128), DType.INT8)
    return emitter.graph.add(Op.TABLE, [codes, lowest_first], codes.shape, DType.INT8)


def _wide(unit: Unit, emitter: Emitter, codes: Tensor) -> Tensor:
    match unit.op:
        case "Clip" | "Relu":
            return bounded(unit, emitter, codes)
        case "HardSigmoid":
            return hard_sigmoid(unit, emitter, codes)
        case "HardSwish":
            return hard_swish(unit, emitter, codes)
        case _:
            return interpolated(unit, emitter, codes)


LOWERINGS = dict.fromkeys((*FUNCTIONS, "Exp"), _function)
