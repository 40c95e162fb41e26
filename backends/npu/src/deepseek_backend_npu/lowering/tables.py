"""Functions of one value: of int8 a table of 256 results, each the code that the IR defines; of int16 see `wide`."""

from __future__ import annotations

import numpy as np

from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_backend_npu.lowering.functions import FUNCTIONS, function_of
from deepseek_backend_npu.lowering.numbers import number, qparams_for
from deepseek_backend_npu.lowering.wide import bounded, hard_sigmoid, hard_swish, interpolated
from deepseek_backend_npu.tosa import DType, Op, Tensor
from deepseek_core import Role, Unit

__all__ = ["LOWERINGS"]

_CODES = np.arange(-128, 128).astype(np.int8)


def _function(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    codes = emitter.codes(x)
    result = (_wide if codes.dtype is DType.INT16 else _table)(unit, emitter, codes)
    emitter.define(y.value, result, emitter.order(x.value) or ())


def _table(unit: Unit, emitter: Emitter, codes: Tensor) -> Tensor:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    with np.errstate(all="ignore"):
        results = function_of(unit)(qparams_for(x).dequantize(_CODES))
    table = emitter.graph.constant(qparams_for(y).quantize(results.astype(np.float32)), DType.INT8)
    return emitter.graph.add(Op.TABLE, [codes, table], codes.shape, DType.INT8)


def _wide(unit: Unit, emitter: Emitter, codes: Tensor) -> Tensor:
    match unit.op:
        case "Relu":
            return bounded(unit, emitter, codes, 0.0, np.inf)
        case "Clip":
            low, high = number(unit.node, 1), number(unit.node, 2)
            return bounded(unit, emitter, codes, -np.inf if low is None else low, np.inf if high is None else high)
        case "HardSigmoid":
            return hard_sigmoid(unit, emitter, codes)
        case "HardSwish":
            return hard_swish(unit, emitter, codes)
        case _:
            return interpolated(unit, emitter, codes)


LOWERINGS = dict.fromkeys((*FUNCTIONS, "Clip", "Elu", "HardSigmoid", "LeakyRelu"), _function)
