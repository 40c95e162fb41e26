"""Functions of one int8 value: a table of 256 results, each the code that the IR defines."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_backend_npu.lowering.numbers import number, qparams_for
from deepseek_backend_npu.tosa import DType, Op
from deepseek_core import Role, Unit

__all__ = ["FUNCTIONS", "LOWERINGS", "function_of"]

Reals = NDArray[np.float32]
_CODES = np.arange(-128, 128).astype(np.int8)


def function_of(unit: Unit) -> Callable[[Reals], NDArray[Any]]:
    """The unit's function on float32 values."""
    node, attributes = unit.node, unit.node.attributes

    def attribute(name: str, default: float) -> np.float32:
        return np.float32(attributes.get_float(name, default))

    match unit.op:
        case "Clip":
            low, high = number(node, 1), number(node, 2)
            return lambda x: np.clip(x, -np.inf if low is None else low, np.inf if high is None else high)
        case "LeakyRelu":
            alpha = attribute("alpha", 0.01)
            return lambda x: np.where(x < 0, alpha * x, x)
        case "Elu":
            alpha = attribute("alpha", 1.0)
            return lambda x: np.where(x < 0, alpha * np.expm1(x), x)
        case "HardSigmoid":
            alpha, beta = attribute("alpha", 0.2), attribute("beta", 0.5)
            return lambda x: np.clip(alpha * x + beta, 0, 1)
        case _:
            return FUNCTIONS[unit.op]


def _sigmoid(x: Reals) -> NDArray[Any]:
    return np.asarray(1 / (1 + np.exp(-x.astype(np.float64))))


def _hard_swish(x: Reals) -> NDArray[Any]:
    return np.asarray(x * np.clip(x / np.float32(6) + np.float32(0.5), 0, 1))


def _softplus(x: Reals) -> NDArray[Any]:
    return np.asarray(np.logaddexp(x.astype(np.float64), 0))


def _erf(x: Reals) -> NDArray[Any]:
    return np.array([math.erf(value) for value in x.tolist()])


FUNCTIONS: dict[str, Callable[[Reals], NDArray[Any]]] = {
    "Abs": np.abs,
    "Exp": np.exp,
    "Erf": _erf,
    "HardSwish": _hard_swish,
    "Neg": np.negative,
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": _sigmoid,
    "Softplus": _softplus,
    "Tanh": lambda x: np.tanh(x.astype(np.float64)),
}
"""Op → function without attributes, on float32 values."""


def _table(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    with np.errstate(all="ignore"):
        results = function_of(unit)(qparams_for(x).dequantize(_CODES))
    table = qparams_for(y).quantize(results.astype(np.float32))
    codes = emitter.codes(x)
    order = emitter.order(x.value)
    constant = emitter.graph.constant(table, DType.INT8)
    emitter.define(y.value, emitter.graph.add(Op.TABLE, [codes, constant], codes.shape, DType.INT8), order or ())


LOWERINGS = dict.fromkeys((*FUNCTIONS, "Clip", "Elu", "HardSigmoid", "LeakyRelu"), _table)
