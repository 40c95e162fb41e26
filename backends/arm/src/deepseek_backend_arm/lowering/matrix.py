"""Gemm and MatMul: with constant weights a convolution of one tap, else a product of two matrices of codes."""

from __future__ import annotations

from math import prod

import numpy as np

from deepseek_backend_arm.lowering.codes import bounds, scale_and_zero
from deepseek_backend_arm.lowering.convolution import NO_ADDEND, ROWS, gemm_scratch
from deepseek_backend_arm.lowering.emitter import Emitter, shape_of
from deepseek_backend_arm.lowering.tensor import Tensor, canonical
from deepseek_backend_arm.lowering.weights import bias_of, matrix, rows_of
from deepseek_backend_arm.plan.abi import Value
from deepseek_core import Role, Unit

__all__ = ["LOWERINGS", "matrix_problem"]


def matrix_problem(unit: Unit) -> str | None:
    """Why a product that the table accepts is not built; None when it is."""
    data, weights = unit.operands(Role.DATA), unit.operands(Role.WEIGHT)
    if weights:
        if len(shape_of(weights[0])) != 2:
            return "its weights are no matrix"
        columns = shape_of(unit.outputs[0])[-1]
        if any(prod(shape_of(bias)) not in (1, columns) for bias in unit.operands(Role.BIAS)):
            return "its bias differs from row to row"
        return None
    first, second = (shape_of(operand) for operand in data)
    if min(len(first), len(second)) < 2:
        return "vectors are multiplied as matrices of one row or column only"
    if prod(second[:-2]) != 1 and first[:-2] != second[:-2]:
        return "the matrices on the left repeat for those on the right"
    return None


def _product(unit: Unit, emitter: Emitter) -> None:
    if unit.operands(Role.WEIGHT):
        _weighted(unit, emitter)
    else:
        _of_two(unit, emitter)


def _weighted(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    shape = shape_of(x)
    (rows,) = rows_of(unit)
    bias = np.broadcast_to(bias_of(unit, rows.sum(1, dtype=np.int64)), (rows.shape[0],))
    packed = matrix(emitter, unit, [rows], bias)
    low, high = bounds(unit)
    source = emitter.ordered(emitter.tensor(x.value), canonical(len(shape)))
    result = emitter.new("int8", shape_of(y))
    values: dict[str, Value] = {
        **dict.fromkeys(("n", "h", "oh", "kh", "kw", "sh", "sw", "dh", "dw", "groups", "pointwise"), 1),
        **NO_ADDEND,
        **dict.fromkeys(("w", "ow"), prod(shape[:-1])),
        **dict.fromkeys(("top", "left"), 0),
        "c": shape[-1],
        "oc": rows.shape[0],
        "depth": packed.depth,
        "wide": int(packed.wide),
        "x_zero": scale_and_zero(x)[1],
        "zero": scale_and_zero(y)[1],
        "low": low,
        "high": high,
    }
    places = {"x": source, "y": result, "weights": packed.weights, "bias": packed.bias, "scale": packed.scale}
    places["tight"] = packed.tight
    emitter.emit("conv", {**places, "addend": None}, values, scratch=gemm_scratch(packed.depth))
    emitter.define(y.value, result)


def _of_two(unit: Unit, emitter: Emitter) -> None:
    (a, b), y = unit.operands(Role.DATA), unit.outputs[0]
    first, second = shape_of(a), shape_of(b)
    left = emitter.ordered(emitter.tensor(a.value), canonical(len(first)))
    right = emitter.tensor(b.value)
    turned = (*canonical(len(second) - 2), len(second) - 1, len(second) - 2)
    if not right.lies_as(turned):
        right = emitter.ordered(right, canonical(len(second)))
    result = emitter.new("int8", shape_of(y))
    (a_scale, a_zero), (b_scale, b_zero), (scale, zero) = map(scale_and_zero, (a, b, y))
    product = np.float32(np.float32(a_scale) * np.float32(b_scale))
    low, high = bounds(unit)
    m, k, n = first[-2], first[-1], second[-1]
    batch, shared = prod(first[:-2]), prod(second[:-2]) == 1
    if shared:
        batch, m = 1, batch * m
    row, column = _matrix_strides(right, turned)
    values: dict[str, Value] = {
        **dict(zip(("batch", "m", "k", "n"), (batch, m, k, n), strict=True)),
        **dict(zip(("b_batch", "b_row", "b_column"), (k * n, row, column), strict=True)),
        **dict(zip(("a_zero", "b_zero", "zero", "low", "high"), (a_zero, b_zero, zero, low, high), strict=True)),
        "scale": float(np.float32(product / np.float32(scale))),
    }
    emitter.emit("matmul", {"a": left, "b": right, "y": result}, values, scratch=_scratch(k, n))
    emitter.define(y.value, result)


def _matrix_strides(tensor: Tensor, turned: tuple[int, ...]) -> tuple[int, int]:
    rows, columns = tensor.shape[-2:]
    canonical_order = tensor.lies_as(canonical(len(tensor.shape)))
    return (columns, 1) if canonical_order or not tensor.lies_as(turned) else (1, rows)


def _scratch(k: int, n: int) -> int:
    """As `workspace_of` in `runtime/matmul.c` divides it."""
    columns, depth = -(-n // 4) * 4, -(-k // 16) * 16
    sizes = ((ROWS + 8) * 8, columns * depth, columns * 4, columns * 4, (ROWS + 8) * 4)
    return sum(-(-size // 64) * 64 for size in sizes)


LOWERINGS = {"Gemm": _product, "MatMul": _product}
