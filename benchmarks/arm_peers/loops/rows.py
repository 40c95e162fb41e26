"""Calls of what networks of tokens are made of; tensors lie as their shapes say, of four axes at most."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from arm_peers.loops.call import call, count, shape

__all__ = ["CALLS"]

AXES = 4


def _four(sizes: Sequence[int]) -> tuple[int, ...]:
    if len(sizes) > AXES:
        raise RuntimeError(f"plain loops have no tensor of {len(sizes)} axes")
    return (1,) * (AXES - len(sizes)) + tuple(sizes)


def _steps(sizes: Sequence[int], like: Sequence[int] = ()) -> tuple[int, ...]:
    """Elements from one place to the next along each axis; zero where a size of one is repeated."""
    steps = [prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    return tuple(
        0 if size == 1 and wide != 1 else step for step, size, wide in zip(steps, sizes, like or sizes, strict=True)
    )


def _pair(node: ir.Node, x: list[str], y: str) -> str:
    result = _four(shape(node.outputs[0]))
    steps = [_steps(_four(shape(value)), result) for value in node.inputs]
    return call(node.op_type.lower() + "_pairs", *x, y, *result, *steps[0], *steps[1])


def _matmul(node: ir.Node, x: list[str], y: str) -> str:
    left, right = (shape(value) for value in node.inputs)
    (*batch, m, k), (*others, _, n) = left, right
    if not others:
        return call("matmul", x[0], x[1], "NULL", y, 1, prod(batch) * m, k, n, 0, n, 1)
    if others != batch:
        raise RuntimeError("plain loops have no MatMul that repeats one side")
    return call("matmul", x[0], x[1], "NULL", y, prod(batch), m, k, n, k * n, n, 1)


def _transpose(node: ir.Node, x: list[str], y: str) -> str:
    sizes = shape(node.inputs[0])
    order = node.attributes.get_ints("perm", tuple(reversed(range(len(sizes)))))
    steps = _steps(sizes)
    moved = (0,) * (AXES - len(sizes)) + tuple(steps[axis] for axis in order)
    return call("move", x[0], y, *_four(shape(node.outputs[0])), *moved)


def _expand(node: ir.Node, x: list[str], y: str) -> str:
    result = _four(shape(node.outputs[0]))
    return call("move", x[0], y, *result, *_steps(_four(shape(node.inputs[0])), result))


def _slice(node: ir.Node, x: list[str], y: str) -> str:
    """Of the first rows, or any others: of axis 0, one after the other."""
    starts, _, axes, steps = (_numbers(value) for value in node.inputs[1:5])
    if axes != [0] or steps != [1]:
        raise RuntimeError("plain loops slice rows only")
    sizes = _four(shape(node.outputs[0]))
    return call("move", f"{x[0]} + {starts[0] * prod(shape(node.inputs[0])[1:])}", y, *sizes, *_steps(sizes))


def _gather(node: ir.Node, x: list[str], y: str) -> str:
    if node.attributes.get_int("axis", 0) != 0:
        raise RuntimeError("plain loops gather rows only")
    return call("gather", *x, y, count(node.inputs[1]), prod(shape(node.inputs[0])[1:]))


def _softmax(node: ir.Node, x: list[str], y: str) -> str:
    *outer, width = shape(node.inputs[0])
    _last_axis(node, node.attributes.get_int("axis", -1))
    return call("softmax", x[0], y, prod(outer), width)


def _layer_norm(node: ir.Node, x: list[str], y: str) -> str:
    *outer, width = shape(node.inputs[0])
    _last_axis(node, node.attributes.get_int("axis", -1))
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    return call("layer_norm", *x, y, prod(outer), width, f"{epsilon:e}f")


def _last_axis(node: ir.Node, axis: int) -> None:
    if axis not in (-1, len(shape(node.inputs[0])) - 1):
        raise RuntimeError(f"plain loops have {node.op_type} over the last axis only")


def _reduce(node: ir.Node, x: list[str], y: str) -> str:
    sizes = shape(node.inputs[0])
    axes = _numbers(node.inputs[1])
    if len(axes) != 1:
        raise RuntimeError(f"plain loops have {node.op_type} over one axis only")
    axis = axes[0] % len(sizes)
    name = {"ReduceSum": "sum", "ReduceL2": "norm"}[node.op_type]
    return call(name, x[0], y, prod(sizes[:axis]), sizes[axis], prod(sizes[axis + 1 :]))


def _gelu(node: ir.Node, x: list[str], y: str) -> str:
    if node.attributes.get_string("approximate", "none") != "none":
        raise RuntimeError("plain loops have no approximate Gelu")
    return call("gelu", x[0], y, count(node.outputs[0]))


def _clip(node: ir.Node, x: list[str], y: str) -> str:
    low, high = (name if name == "NULL" else f"*{name}" for name in (*x[1:], "NULL", "NULL")[:2])
    bounds = ("-FLT_MAX" if low == "NULL" else low, "FLT_MAX" if high == "NULL" else high)
    return call("clip", x[0], y, count(node.outputs[0]), *bounds)


def _numbers(value: ir.Value | None) -> list[int]:
    assert value is not None
    if value.const_value is None:
        raise RuntimeError("plain loops have axes that are known only")
    return [int(number) for number in np.ravel(value.const_value.numpy())]


CALLS = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _pair),
    "MatMul": _matmul,
    "Transpose": _transpose,
    "Expand": _expand,
    "Slice": _slice,
    "Gather": _gather,
    "Softmax": _softmax,
    "LayerNormalization": _layer_norm,
    **dict.fromkeys(("ReduceSum", "ReduceL2"), _reduce),
    "Gelu": _gelu,
    "Clip": _clip,
}
