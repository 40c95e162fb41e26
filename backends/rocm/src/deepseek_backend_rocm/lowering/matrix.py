"""Gemm and MatMul: with constant weights a convolution of one tap, else a product of two matrices of codes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from deepseek_backend_rocm.lowering.codes import activation_bounds, is_real, scale_and_zero
from deepseek_backend_rocm.lowering.convolution import ELEMENT, POINT, ends, product
from deepseek_backend_rocm.lowering.emitter import Emitter
from deepseek_backend_rocm.lowering.tensor import Tensor
from deepseek_backend_rocm.lowering.weights import bias_of, factors, padded_depth, rows
from deepseek_core import Role, Unit
from deepseek_core.lowering import canonical, collapse, constant_of, shape_of, stretched, strides_of

__all__ = ["LOWERINGS", "batches", "matrix_problem", "readable"]

_REALS = {"float16": "fp16", "float32": "fp32"}
"""Real numbers that products take."""
_MOST_BATCHES = 65535


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
    batch = shape_of(unit.outputs[0])[:-2]
    if prod(batch) > _MOST_BATCHES:
        return f"it multiplies {prod(batch):,} pairs of matrices; a grid has {_MOST_BATCHES:,} at most"
    if len(_batches(batch, first[:-2], second[:-2])) > 2:
        return "matrices repeat along more axes than the kernel has"
    return None


def _product(unit: Unit, emitter: Emitter) -> None:
    if unit.operands(Role.WEIGHT):
        _weighted(unit, emitter)
    else:
        _of_two(unit, emitter)


def _weighted(unit: Unit, emitter: Emitter) -> None:
    (x,), (w,), y = unit.operands(Role.DATA), unit.operands(Role.WEIGHT), unit.outputs[0]
    shape = shape_of(x)
    weights = constant_of(w.value).astype(np.int8)
    by_channel = weights if unit.node.attributes.get_int("transB", 0) else weights.T
    channels, inner = by_channel.shape
    depth = padded_depth(inner)
    bias = bias_of(unit, by_channel.sum(1, dtype=np.int64)[None])
    source = emitter.ordered(emitter.tensor(x.value), canonical(len(shape)))
    result = emitter.new("float32" if is_real(unit) else "int8", shape_of(y))
    emitter.define(y.value, result)
    values = {
        **dict.fromkeys(("h", "oh", "kh", "kw", "taps", "sh", "sw", "dh", "dw", "columns"), 1),
        "top": 0,
        "left": 0,
        "wide": prod(shape[:-1]),
        "ow": prod(shape[:-1]),
        "rows": prod(shape[:-1]),
        "c": inner,
        "n": channels,
        "x_row": inner,
        "y_row": channels,
        "depth": depth,
        **ends(unit),
    }
    nothing = np.zeros(1, np.int32)
    constants = (rows(by_channel[:, None], depth), bias, factors(unit, channels), nothing, nothing)
    product(emitter, source, result, values, constants, mode=POINT, macs=result.count * inner)


def _of_two(unit: Unit, emitter: Emitter) -> None:
    (a, b), y = unit.operands(Role.DATA), unit.outputs[0]
    left, right = readable(emitter, emitter.tensor(a.value)), readable(emitter, emitter.tensor(b.value))
    result = emitter.new(_result_type(left, unit), shape_of(y))
    batch = result.shape[:-2]
    inner, strides = batches(batch, [left, right, result])
    if inner is None:
        left, right = (emitter.ordered(side, canonical(len(side.shape))) for side in (left, right))
        inner, strides = batches(batch, [left, right, result])
    assert inner is not None
    names = ("a_outer", "a_inner", "b_outer", "b_inner", "y_outer", "y_inner")
    values: dict[str, int | float] = {
        **dict(zip(names, (stride for row in strides for stride in row), strict=True)),
        "m": result.shape[-2],
        "n": result.shape[-1],
        "k": left.shape[-1],
        "inner": inner,
        "a_row": left.strides[-2],
        "a_k": left.strides[-1],
        "b_k": right.strides[-2],
        "b_column": right.strides[-1],
        "y_row": result.shape[-1],
    }
    constants: dict[str, int | bool | str] = {"A_ROWS": values["a_k"] == 1, "B_COLUMNS": values["b_k"] == 1}
    places = {"a": left, "b": right, "y": result}
    numbers = {"batch": prod(batch), "macs": result.count * left.shape[-1]}
    emitter.define(y.value, result)
    if a.qparams is None:
        types = dict.fromkeys("aby", _REALS[result.dtype])
        low, high = activation_bounds(unit).values()
        bounds = {"low": low, "high": high}
        emitter.emit("matmul_real", places, values | bounds, constants=constants, types=types, **numbers)
        return
    constants["REAL"] = is_real(unit)
    types = {"y": ELEMENT[result.dtype]}
    emitter.emit("matmul", places, values | _codes(unit), constants=constants, types=types, **numbers)


def _result_type(left: Tensor, unit: Unit) -> str:
    """Codes, or real numbers of the type that comes in."""
    if not is_real(unit):
        return "int8"
    return left.dtype if unit.operands(Role.DATA)[0].qparams is None else "float32"


def _codes(unit: Unit) -> dict[str, int | float]:
    """Zero points and the factor of a product of codes."""
    (a, b), y = unit.operands(Role.DATA), unit.outputs[0]
    (a_scale, a_zero), (b_scale, b_zero) = map(scale_and_zero, (a, b))
    scales = np.float32(np.float32(a_scale) * np.float32(b_scale))
    if not is_real(unit):
        scales = np.float32(scales / np.float32(scale_and_zero(y)[0]))
    return {"a_zero": a_zero, "b_zero": b_zero, **ends(unit), "factor": float(scales)}


def readable(emitter: Emitter, tensor: Tensor) -> Tensor:
    """The tensor, if one axis of its matrices has no gaps and its batches need at most two strides; else in C order."""
    strides = tensor.strides
    if 1 in (strides[-1], strides[-2]) and len(collapse(tensor.shape[:-2], strides[:-2])[0]) <= 2:
        return tensor
    return emitter.ordered(tensor, canonical(len(tensor.shape)))


def batches(batch: tuple[int, ...], sides: Sequence[Tensor]) -> tuple[int | None, list[tuple[int, ...]]]:
    """The size of the inner of two batch axes, and the outer and inner stride of each side.

    The size is None where more than two axes remain.
    """
    rows = [stretched(tensor.shape[:-2], tensor.strides[:-2], len(batch)) for tensor in sides]
    sizes, *strides = collapse(batch, *rows) if batch else ((1,), *((0,) for _ in rows))
    if len(sizes) > 2:
        return None, []
    missing = (0,) * (2 - len(sizes))
    return max(sizes[-1], 1), [(*missing, *row) for row in strides]


def _batches(batch: tuple[int, ...], *sides: tuple[int, ...]) -> tuple[int, ...]:
    """Axes that remain of a batch when both sides lie in C order."""
    rows = (stretched(shape, strides_of(shape, canonical(len(shape))), len(batch)) for shape in sides)
    return collapse(batch, strides_of(batch, canonical(len(batch))), *rows)[0] if batch else ()


LOWERINGS = {"Gemm": _product, "MatMul": _product}
