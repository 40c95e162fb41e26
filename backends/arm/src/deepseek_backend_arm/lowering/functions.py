"""Functions of one value, as the IR defines them, and the tables of 256 codes that are filled from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.capabilities import TABLES
from deepseek_backend_arm.lowering.codes import CODES, clip_bounds, through
from deepseek_backend_arm.lowering.emitter import Emitter, qparams_for
from deepseek_core import Role, Unit

__all__ = ["LOWERINGS", "function_of"]

Reals = NDArray[np.float32]


def function_of(unit: Unit) -> Callable[[Reals], NDArray[Any]]:
    """The unit's function of float32 values."""
    attributes = unit.node.attributes

    def number(name: str, default: float) -> np.float32:
        return np.float32(attributes.get_float(name, default))

    match unit.op:
        case "Clip":
            low, high = (np.float32(bound) for bound in clip_bounds(unit.node))
            return lambda x: np.minimum(np.maximum(x, low), high)
        case "Elu":
            alpha = number("alpha", 1.0)
            return lambda x: np.where(x < 0, alpha * np.expm1(x), x)
        case "Gelu":
            return _gelu_tanh if attributes.get_string("approximate", "none") == "tanh" else _gelu
        case "HardSigmoid":
            alpha, beta = number("alpha", 0.2), number("beta", 0.5)
            return lambda x: np.clip(alpha * x + beta, 0, 1)
        case "LeakyRelu":
            alpha = number("alpha", 0.01)
            return lambda x: np.where(x < 0, alpha * x, x)
        case _:
            return _PLAIN[unit.op]


def _erf(x: NDArray[Any]) -> NDArray[Any]:
    return np.array([math.erf(value) for value in x.tolist()])


def _gelu(x: Reals) -> NDArray[Any]:
    wide = x.astype(np.float64)
    return np.asarray(0.5 * wide * (1 + _erf(wide / math.sqrt(2))))


def _gelu_tanh(x: Reals) -> NDArray[Any]:
    wide = x.astype(np.float64)
    return np.asarray(0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))))


_PLAIN: dict[str, Callable[[Reals], NDArray[Any]]] = {
    "Abs": np.abs,
    "Erf": _erf,
    "Exp": np.exp,
    "HardSwish": lambda x: x * np.clip(x / np.float32(6) + np.float32(0.5), 0, 1),
    "Neg": np.negative,
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x.astype(np.float64))),
    "Softplus": lambda x: np.logaddexp(x.astype(np.float64), 0),
    "Tanh": lambda x: np.tanh(x.astype(np.float64)),
}


def _table(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    with np.errstate(all="ignore"):
        results = np.asarray(function_of(unit)(qparams_for(x).dequantize(CODES)), np.float32)
    emitter.define(y.value, through(emitter, emitter.codes(x), qparams_for(y).quantize(results)))


LOWERINGS = dict.fromkeys(TABLES, _table)
