"""Softmax and LayerNormalization."""

from __future__ import annotations

from math import prod

import numpy as np

from deepseek_backend_arm.lowering.codes import scale_and_zero
from deepseek_backend_arm.lowering.emitter import Emitter
from deepseek_backend_arm.plan.abi import Value
from deepseek_core import Role, Unit
from deepseek_core.lowering import canonical, constant_of, shape_of

__all__ = ["LOWERINGS"]


def _softmax(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    shape = shape_of(x)
    axis = unit.node.attributes.get_int("axis", -1) % len(shape)
    order = (*(i for i in range(len(shape)) if i != axis), axis)
    source = emitter.ordered(emitter.codes(x), order)
    result = emitter.new("int8", shape, order)
    x_scale, (scale, zero) = np.float32(scale_and_zero(x)[0]), scale_and_zero(y)
    powers = np.exp(-np.arange(256, dtype=np.float32) * x_scale).astype(np.float32)
    values: dict[str, Value] = {"outer": source.count // max(shape[axis], 1), "count": shape[axis], "zero": zero}
    table = emitter.constants.add(powers)
    emitter.emit("softmax", {"x": source, "table": table, "y": result}, {**values, "y_scale": scale})
    emitter.define(y.value, result)


def _layer_norm(unit: Unit, emitter: Emitter) -> None:
    (x,), y, node = unit.operands(Role.DATA), unit.outputs[0], unit.node
    shape = shape_of(x)
    axis = node.attributes.get_int("axis", -1) % len(shape)
    count = prod(shape[axis:])
    rows = [
        np.zeros(count) if value is None else np.broadcast_to(constant_of(value), shape[axis:]).reshape(-1)
        for value in (node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None)
    ]
    gain, shift = (emitter.constants.add(row.astype(np.float32)) for row in rows)
    result = emitter.new("int8", shape)
    (x_scale, x_zero), (scale, zero) = scale_and_zero(x), scale_and_zero(y)
    values: dict[str, Value] = {"outer": prod(shape[:axis]), "count": count, "x_zero": x_zero, "zero": zero}
    values |= {"x_scale": x_scale, "y_scale": scale, "epsilon": float(node.attributes.get_float("epsilon", 1e-5))}
    source = emitter.ordered(emitter.codes(x), canonical(len(shape)))
    emitter.emit("layernorm", {"x": source, "gain": gain, "shift": shift, "y": result}, values)
    emitter.define(y.value, result)


LOWERINGS = {"LayerNormalization": _layer_norm, "Softmax": _softmax}
