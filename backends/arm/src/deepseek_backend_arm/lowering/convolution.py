"""Conv: rows for the matrix kernel, or the depthwise kernel where each group has one channel."""

from __future__ import annotations

import numpy as np

from deepseek_backend_arm.lowering.codes import bounds, scale_and_zero
from deepseek_backend_arm.lowering.emitter import Emitter, constant_of, shape_of
from deepseek_backend_arm.lowering.tensor import Tensor, channels_last
from deepseek_backend_arm.lowering.weights import bias_of, factors, matrix, rows_of
from deepseek_backend_arm.lowering.windows import Window, window_of
from deepseek_backend_arm.plan.abi import Value
from deepseek_backend_arm.plan.program import Memory
from deepseek_core import Role, Unit

__all__ = ["LOWERINGS", "NO_ADDEND", "ROWS", "conv_window", "gemm_scratch"]

ROWS = 30
"""Positions that are gathered before they are multiplied (`DS_ROWS`)."""
_MOST_TAPS = 256
NO_ADDEND: dict[str, Value] = {
    **dict.fromkeys(("addend_zero", "sum_zero"), 0),
    "sum_low": -128,
    "sum_high": 127,
    **dict.fromkeys(("own_scale", "addend_scale", "sum_scale"), 1.0),
}


def conv_window(unit: Unit) -> Window:
    """The window of a Conv unit."""
    (x,), (w,), y = unit.operands(Role.DATA), unit.operands(Role.WEIGHT), unit.outputs[0]
    return window_of(unit.node, shape_of(x)[2:], shape_of(y)[2:], shape_of(w)[2:])


def gemm_scratch(depth: int) -> int:
    """Bytes in which one thread gathers rows."""
    return (ROWS + 8) * 8 + ROWS * depth + 64


def _conv(unit: Unit, emitter: Emitter) -> None:
    (x,), (w,), y = unit.operands(Role.DATA), unit.operands(Role.WEIGHT), unit.outputs[0]
    order, shape = channels_last(len(shape_of(x))), shape_of(x)
    weights = constant_of(w.value).astype(np.int8)
    groups = unit.node.attributes.get_int("group", 1)
    low, high = bounds(unit)
    window = conv_window(unit)
    values: dict[str, Value] = {
        **window.values(),
        "n": shape[0],
        "c": shape[1],
        "x_zero": scale_and_zero(x)[1],
        "zero": scale_and_zero(y)[1],
        "low": low,
        "high": high,
    }
    source = emitter.ordered(emitter.tensor(x.value), order)
    result = emitter.new("int8", shape_of(y), order)
    bias = bias_of(unit, weights.reshape(weights.shape[0], -1).sum(1, dtype=np.int64))
    emitter.define(y.value, result)
    if groups == shape[1] == weights.shape[0] and window.kernel[0] * window.kernel[1] <= _MOST_TAPS:
        places: dict[str, Tensor | Memory] = {"x": source, "y": result, "bias": emitter.constants.add(bias)}
        places["scale"] = emitter.constants.add(factors(unit, groups))
        taps = np.ascontiguousarray(weights.reshape(groups, -1).T)
        places["weights"] = emitter.constants.add(taps)
        values["wide"] = int((weights == -128).any())
        emitter.emit("depthwise", places, values, scratch=window.size[1] * groups + 64)
        return
    packed = matrix(emitter, unit, rows_of(unit), bias)
    emitter.emit(
        "conv",
        {
            "x": source,
            "y": result,
            "weights": packed.weights,
            "bias": packed.bias,
            "scale": packed.scale,
            "tight": packed.tight,
            "addend": None,
        },
        {
            **values,
            **NO_ADDEND,
            "oc": weights.shape[0],
            "groups": groups,
            "depth": packed.depth,
            "wide": int(packed.wide),
            "pointwise": int(window.is_point),
        },
        scratch=gemm_scratch(packed.depth),
    )


LOWERINGS = {"Conv": _conv}
