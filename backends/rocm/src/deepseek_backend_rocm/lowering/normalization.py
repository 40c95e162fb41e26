"""Softmax and LayerNormalization."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_rocm.lowering.codes import scale_and_zero
from deepseek_backend_rocm.lowering.emitter import Emitter
from deepseek_core import Role, Unit
from deepseek_core.lowering import canonical, constant_of, shape_of

__all__ = ["LOWERINGS", "gains", "normalization_problem"]


def normalization_problem(unit: Unit) -> str | None:
    """Why a normalization that the table accepts is not built; None when it is."""
    if len({output.real for output in unit.outputs}) > 1:
        return "it gives the mean or deviation too"
    gains = unit.node.inputs[1:] if unit.op == "LayerNormalization" else ()
    if any(value is not None and value.const_value is None for value in gains):
        return "its scale or bias is computed at run time"
    return None


def _softmax(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    shape = shape_of(x)
    axis = unit.node.attributes.get_int("axis", -1) % len(shape)
    order = (*(i for i in range(len(shape)) if i != axis), axis)
    source = emitter.ordered(emitter.tensor(x.value), order)
    result = emitter.new("int8", shape, order)
    x_scale, (scale, zero) = np.float32(scale_and_zero(x)[0]), scale_and_zero(y)
    powers = np.exp(-np.arange(256, dtype=np.float32) * x_scale).astype(np.float32)
    values = {"rows": source.count // max(shape[axis], 1), "count": shape[axis], "zero": zero}
    table = emitter.constants.add(powers)
    emitter.emit("softmax", {"x": source, "table": table, "y": result}, {**values, "y_scale": scale})
    emitter.define(y.value, result)


def _layer_norm(unit: Unit, emitter: Emitter) -> None:
    (x,), y, node = unit.operands(Role.DATA), unit.outputs[0], unit.node
    shape = shape_of(x)
    axis = node.attributes.get_int("axis", -1) % len(shape)
    count = prod(shape[axis:])
    gain, shift = (emitter.constants.add(row) for row in gains(unit, shape[axis:]))
    result = emitter.new("int8", shape)
    (x_scale, x_zero), (scale, zero) = scale_and_zero(x), scale_and_zero(y)
    values = {"rows": prod(shape[:axis]), "count": count, "x_zero": x_zero, "zero": zero}
    reals = {"x_scale": x_scale, "y_scale": scale, "epsilon": float(node.attributes.get_float("epsilon", 1e-5))}
    source = emitter.ordered(emitter.tensor(x.value), canonical(len(shape)))
    emitter.emit("layer_norm", {"x": source, "gain": gain, "shift": shift, "y": result}, values | reals)
    emitter.define(y.value, result)


def gains(unit: Unit, shape: tuple[int, ...]) -> list[NDArray[np.float32]]:
    """Gain and shift of a layer normalization, one for each element of a row; a missing shift is 0."""
    node = unit.node
    values = (node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None)
    arrays = (np.zeros(()) if value is None else constant_of(value) for value in values)
    return [np.broadcast_to(array.astype(np.float32), shape).reshape(-1) for array in arrays]


LOWERINGS = {"LayerNormalization": _layer_norm, "Softmax": _softmax}
