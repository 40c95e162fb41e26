"""Functions of one real value, as the IR defines them: what tables are filled from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.lowering.numbers import number
from deepseek_core import Unit

__all__ = ["FUNCTIONS", "alpha_of", "curve", "function_of"]

Reals = NDArray[np.float32]


def function_of(unit: Unit) -> Callable[[Reals], NDArray[Any]]:
    """The unit's function on float32 values."""
    node, attributes = unit.node, unit.node.attributes

    def attribute(name: str, default: float) -> np.float32:
        return np.float32(attributes.get_float(name, default))

    match unit.op:
        case "Clip":
            low, high = number(node, 1), number(node, 2)
            return lambda x: np.clip(x, -np.inf if low is None else low, np.inf if high is None else high)
        case "HardSigmoid":
            alpha, beta = attribute("alpha", 0.2), attribute("beta", 0.5)
            return lambda x: np.clip(alpha * x + beta, 0, 1)
        case _:
            return curve(unit.op, alpha_of(unit))


def alpha_of(unit: Unit) -> float:
    """The slope or height below 0, for the ops that have one."""
    default = 0.01 if unit.op == "LeakyRelu" else 1.0
    return float(np.float32(unit.node.attributes.get_float("alpha", default)))


def curve(op: str, alpha: float) -> Callable[[Reals], NDArray[Any]]:
    """A function that at most `alpha_of` tells from others of its op."""
    match op:
        case "LeakyRelu":
            return lambda x: np.where(x < 0, np.float32(alpha) * x, x)
        case "Elu":
            return lambda x: np.where(x < 0, np.float32(alpha) * np.expm1(x), x)
        case _:
            return FUNCTIONS[op]


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
