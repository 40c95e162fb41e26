"""Gemm and MatMul: with constant weights a convolution of one tap, else a product of two matrices of run time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.lowering.codes import scale_and_zero
from deepseek_backend_arm.lowering.emitter import Emitter, qparams_for
from deepseek_backend_arm.lowering.products import (
    Bias,
    as_declared,
    bias_of,
    finish,
    finish_real,
    held_weights,
    real_bounds,
    real_weights,
    scales_of,
    sides_of,
    sums_codes,
)
from deepseek_backend_arm.lowering.real_functions import activated
from deepseek_backend_arm.lowering.real_pairs import paired
from deepseek_backend_arm.lowering.sums import ROWS, Codes, CodeSums, convolve, real_scratch
from deepseek_backend_arm.lowering.tensor import Tensor
from deepseek_backend_arm.lowering.weights import pack_codes, pack_nibbles, pack_real, padded
from deepseek_backend_arm.plan.abi import Value
from deepseek_backend_arm.plan.program import Memory
from deepseek_backend_arm.settings import FAST
from deepseek_core import DType, Granularity, Operand, Unit
from deepseek_core.lowering import Axis, canonical, constant_of, shape_of, stretched

__all__ = ["LOWERINGS", "multiplied", "packed_right"]

_REAL, _HALF, _BYTES, _NIBBLES, _HALF_SUMS = range(5)
"""How a matrix is kept; `ds_kept` in the runtime."""


def _product(unit: Unit, emitter: Emitter) -> None:
    a, b = sides_of(unit)
    alpha, beta = (unit.node.attributes.get_float(name, 1.0) for name in ("alpha", "beta"))
    if not sums_codes(unit):
        _of_reals(unit, emitter, alpha, beta)
        return
    scale = scales_of(unit, alpha)
    weighted = b.value.const_value is not None and len(shape_of(b)) == 2
    rows = np.ascontiguousarray(_rows(unit, held_weights(b))) if weighted else np.zeros((0, 0), np.int8)
    columns = rows.shape[0] if weighted else shape_of(unit.outputs[0])[-1] if shape_of(unit.outputs[0]) else 1

    def make(codes: Codes | None, factors: NDArray[np.float32], bias: Bias, limits: tuple[float, float]) -> Tensor:
        left = _left(unit, emitter, emitter.codes(a))
        if not weighted:
            return _of_two(unit, emitter, left, codes, scale=float(factors[0]), limits=limits)
        joined, factor = np.broadcast_to(bias.joined, (columns,)), np.broadcast_to(factors, (columns,))
        shift = None if bias.real is None else np.broadcast_to(bias.real, (columns,)).astype(np.float32)
        sums = CodeSums(rows, joined, factor, scale_and_zero(a)[1], codes, shift, *limits)
        return _viewed(_weighted(emitter, left, sums), _shape(unit))

    finish(unit, emitter, make, scale, bias_of(unit, scale, columns, beta), beta=beta)


def _shape(unit: Unit) -> tuple[int, ...]:
    return shape_of(unit.outputs[0])


def _viewed(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same elements in C order under another shape."""
    return Tensor(tensor.dtype, shape, canonical(len(shape)), tensor.memory)


def _left(unit: Unit, emitter: Emitter, tensor: Tensor) -> Tensor:
    """The side on the left in C order; a vector as one row."""
    if unit.node.attributes.get_int("transA", 0):
        tensor = replace(tensor, shape=tensor.shape[::-1], order=tuple(1 - axis for axis in tensor.order))
    if len(tensor.shape) == 1:
        tensor = _viewed(tensor, (1, *tensor.shape))
    return emitter.ordered(tensor, canonical(len(tensor.shape)))


def _rows(unit: Unit, weights: NDArray[Any]) -> NDArray[Any]:
    """[columns of the product, depth]."""
    return weights if unit.node.attributes.get_int("transB", 0) else weights.T


def _weighted(emitter: Emitter, left: Tensor, sums: CodeSums) -> Tensor:
    """Rows are the pixels of an image of height 1, columns its channels."""
    *lead, depth = left.shape
    count = prod(lead)
    image = Tensor(left.dtype, (1, depth, count), (0, 2, 1), left.memory)
    weights = replace(sums, weights=sums.weights.reshape(*sums.weights.shape, 1))
    return convolve(emitter, image, [Axis(count, count)], 1, weights)


def _of_two(
    unit: Unit, emitter: Emitter, left: Tensor, codes: Codes | None, *, scale: float, limits: tuple[float, float]
) -> Tensor:
    a, b = sides_of(unit)
    left, right, batch, m, shared = _pair(emitter, left, emitter.codes(b))
    turned = (*canonical(len(right.shape) - 2), len(right.shape) - 1, len(right.shape) - 2)
    if not right.lies_as(turned):
        by_columns = right.order[-1] == len(right.shape) - 2  # rows of the copy are whole then
        right = emitter.ordered(right, turned if by_columns else canonical(len(right.shape)))
    k, n = left.shape[-1], right.shape[-1]
    row, column = _matrix_strides(right, turned)
    result = emitter.new("int8" if codes is not None else "float32", _shape(unit))
    codes, real = codes or Codes(0, -128, 127), codes is None
    values: dict[str, Value] = {
        **dict(zip(("batch", "m", "k", "n"), (batch, m, k, n), strict=True)),
        **dict(zip(("b_batch", "b_row", "b_column"), (0 if shared else k * n, row, column), strict=True)),
        **dict(zip(("zero", "low", "high"), (codes.zero, codes.low, codes.high), strict=True)),
        **dict(zip(("a_zero", "b_zero"), (scale_and_zero(a)[1], scale_and_zero(b)[1]), strict=True)),
        **dict(zip(("scale", "real", "real_low", "real_high"), (scale, int(real), *limits), strict=True)),
    }
    emitter.emit("matmul", {"a": left, "b": right, "y": result}, values, scratch=_scratch(k, n))
    return result


def _pair(emitter: Emitter, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, int, int, bool]:
    """Both sides, matrices each, the number of products, the rows of one, and whether all have the same right side."""
    if len(right.shape) == 1:
        right = _viewed(right, (*right.shape, 1))
    lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    if prod(right.shape[:-2]) == 1:
        return left, right, 1, prod(left.shape[:-1]), True
    left, right = (_repeated(emitter, side, lead) for side in (left, right))
    return left, right, prod(lead), left.shape[-2], False


def _repeated(emitter: Emitter, side: Tensor, lead: tuple[int, ...]) -> Tensor:
    """A side with as many matrices as there are products."""
    if side.shape[:-2] == lead:
        return side
    shape = (*lead, *side.shape[-2:])
    result = emitter.new(side.dtype, shape)
    emitter.move(side, result, shape, stretched(side.shape, side.strides, len(shape)), result.strides)
    return result


def _matrix_strides(tensor: Tensor, turned: tuple[int, ...]) -> tuple[int, int]:
    rows, columns = tensor.shape[-2:]
    canonical_order = tensor.lies_as(canonical(len(tensor.shape)))
    return (columns, 1) if canonical_order or not tensor.lies_as(turned) else (1, rows)


def _scratch(k: int, n: int) -> int:
    """As `workspace_of` in `runtime/matmul.c` divides it."""
    columns, depth = -(-n // 4) * 4, -(-k // 16) * 16
    sizes = ((ROWS + 8) * 8, columns * depth, columns * 4, columns * 4, (ROWS + 8) * 4)
    return sum(-(-size // 64) * 64 for size in sizes)


@dataclass(frozen=True, slots=True, eq=False)
class _Right:
    """A constant right side: [depth, columns], as it is kept."""

    memory: Memory
    kept: int
    scale: Memory
    zero: Memory
    block: int
    depth: int
    columns: int


def _of_reals(unit: Unit, emitter: Emitter, alpha: float, beta: float) -> None:
    a, b = sides_of(unit)
    shape = _shape(unit)
    columns = shape[-1] if shape and len(shape_of(b)) > 1 else 1
    bias = bias_of(unit, np.ones(1, np.float32), columns, beta)
    scaled = alpha != 1.0
    limits = (-inf, inf) if bias.late is not None or scaled else real_bounds(unit)
    row = None if scaled or bias.real is None else np.broadcast_to(bias.real, (columns,)).astype(np.float32)
    left, right = _left(unit, emitter, emitter.real(a)), _right_of(unit, emitter, b)
    result = _viewed(multiplied(emitter, left, right, row, limits), shape)
    if scaled:
        result = paired(emitter, "Mul", result, emitter.constant(np.array(alpha, np.float32)), shape)
        if bias.real is not None:
            result = paired(emitter, "Add", result, emitter.constant(bias.real), shape)
        if bias.late is None and unit.activation is not None:
            result = activated(emitter, result, unit.activation)
    result = finish_real(unit, emitter, result, bias, beta) if not scaled or bias.late is not None else result
    for output in unit.outputs:
        tensor = result if output.qparams is None else emitter.quantize(result, qparams_for(output))
        emitter.define(output.value, as_declared(emitter, tensor, output.value))


def _right_of(unit: Unit, emitter: Emitter, b: Operand) -> Tensor | _Right:
    """A constant matrix packed, any other tensor as it is."""
    if b.value.const_value is not None and len(shape_of(b)) == 2:
        return _kept(emitter, unit, b)
    right = emitter.real(b)
    if unit.node.attributes.get_int("transB", 0):
        right = replace(right, shape=right.shape[::-1], order=tuple(1 - axis for axis in right.order))
    return right


def _kept(emitter: Emitter, unit: Unit, b: Operand) -> _Right:
    """Codes of weights whose data is real stay codes, and become real numbers panel by panel."""
    constants, qparams = emitter.constants, b.qparams
    turned = bool(unit.node.attributes.get_int("transB", 0))
    if qparams is None or qparams.scheme.dtype not in (DType.INT8, DType.UINT8, DType.INT4, DType.UINT4):
        is_half = qparams is None and constant_of(b.value).dtype == np.float16
        return packed_right(emitter, _rows(unit, real_weights(b)).T, is_half=is_half)
    codes = held_weights(b)
    middle = 0 if qparams.scheme.dtype.is_signed else 2 ** (qparams.scheme.dtype.bits - 1)
    scale, zero = qparams.scale.astype(np.float32), qparams.zero_point.astype(np.float32) - middle
    block = codes.shape[1 if turned else 0]
    axis = (qparams.scheme.axis or 0) % 2
    if qparams.scheme.granularity is Granularity.PER_BLOCK:
        if axis != (1 if turned else 0):
            return packed_right(emitter, _rows(unit, real_weights(b)).T)
        block = qparams.scheme.block_size or block
    elif qparams.scheme.granularity is Granularity.PER_CHANNEL:
        if axis != (0 if turned else 1):
            return packed_right(emitter, _rows(unit, real_weights(b)).T)
        scale, zero = (numbers.reshape((-1, 1) if turned else (1, -1)) for numbers in (scale, zero))
    else:
        scale, zero = (np.full((1, 1), numbers.reshape(-1)[0]) for numbers in (scale, zero))
    if turned:
        codes, scale, zero = codes.T, scale.T, zero.T
    wide = [padded(np.broadcast_to(n, (n.shape[0], codes.shape[1])).astype(np.float32), 8, 1) for n in (scale, zero)]
    small = qparams.scheme.dtype.bits == 4
    packed = constants.add(pack_nibbles(codes) if small else pack_codes(codes))
    zeros = constants.add(wide[1]) if wide[1].any() else None
    return _Right(packed, _NIBBLES if small else _BYTES, constants.add(wide[0]), zeros, block, *codes.shape)


def packed_right(emitter: Emitter, matrix: NDArray[np.float32], *, is_half: bool = False) -> _Right:
    """A constant right side of real numbers, [depth, columns]; kept in float16 where that is what it was."""
    packed = pack_real(matrix).astype(np.float16) if is_half else pack_real(matrix)
    half = _HALF_SUMS if emitter.settings.half == FAST else _HALF
    return _Right(emitter.constants.add(packed), half if is_half else _REAL, None, None, 1, *matrix.shape)


def multiplied(
    emitter: Emitter,
    left: Tensor,
    right: Tensor | _Right,
    bias: NDArray[np.float32] | None = None,
    limits: tuple[float, float] = (-inf, inf),
) -> Tensor:
    """[…, m, k] in C order times […, k, n]."""
    if isinstance(right, Tensor):
        left, right, batch, m, shared = _pair(emitter, left, right)
        right = emitter.ordered(right, canonical(len(right.shape)))
        k, n = right.shape[-2:]
        shape, block, kept = (*left.shape[:-1], n), 1, _REAL
        steps = (m * k, 0 if shared else k * n, n, 8)
        places: dict[str, Tensor | Memory] = {"b": right, "scale": None, "zero": None}
    else:
        batch, m, k, n = 1, prod(left.shape[:-1]), right.depth, right.columns
        shape, block, kept = (*left.shape[:-1], n), right.block, right.kept
        steps = (0, 0, 8, 8 * k)
        places = {"b": right.memory, "scale": right.scale, "zero": right.zero}
    result = emitter.new("float32", shape)
    places |= {"a": left, "y": result, "bias": None if bias is None else emitter.constants.add(bias)}
    values: dict[str, Value] = {
        **dict(zip(("batch", "m", "k", "n"), (batch, m, k, n), strict=True)),
        **dict(zip(("a_batch", "b_batch", "b_row", "b_panel"), steps, strict=True)),
        **dict(zip(("kept", "block", "low", "high"), (kept, block, *limits), strict=True)),
    }
    emitter.emit("rmatmul", places, values, scratch=real_scratch(k))
    return result


LOWERINGS = {"Gemm": _product, "MatMul": _product}
