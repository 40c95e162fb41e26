"""Gemm and MatMul, on codes and on real numbers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deepseek_core.reference.accumulate import Sums, accumulate, finish, is_codes, product_scale
from deepseek_core.reference.values import Array, Dequantized, Value, real

__all__ = ["gemm", "matmul"]


def matmul(node: ir.Node, a: Value, b: Value) -> Value:
    """MatMul-13. a [..., M, K] · b [..., K, N] with NumPy's broadcasting; either may be a vector [K].

    On codes, with s_a per tensor or per row and s_b per tensor or per column:
        acc = Σ_k (a − z_a) · (b − z_b)  in int32
        real = float32(acc) · float32(s_a · s_b);  behind a Q: see `codes.requantize`
    """
    if is_codes(a) and is_codes(b) and _sums_one_scale(a, b):
        return finish(_accumulated(a, b), _scale(a, b), a.dtype, None)
    left, right = real(a), real(b)
    wide = _widened(left, right)
    return np.asarray(wide[0] @ wide[1]).astype(left.dtype, copy=False)


def gemm(node: ir.Node, a: Value, b: Value, c: Value = None) -> Value:
    """Gemm-13. alpha · A · B + beta · C with A = a or aᵀ [M, K], B = b or bᵀ [K, N], C broadcastable to [M, N].

    On codes, with s_a per tensor or per row and s_b per tensor or per column:
        acc = Σ_k (A − z_a) · (B − z_b) + C  in int32, when beta · s_c = alpha · s_a · s_b
        real = float32(acc) · float32(float32(s_a · s_b) · alpha);  behind a Q: see `codes.requantize`
    """
    alpha, beta = (float(node.attributes.get_float(name, 1.0)) for name in ("alpha", "beta"))
    if node.attributes.get_int("transA", 0):
        a = _transposed(a)
    if node.attributes.get_int("transB", 0):
        b = _transposed(b)
    if is_codes(a) and is_codes(b) and _sums_one_scale(a, b):
        return finish(_accumulated(a, b), _scale(a, b) * np.float32(alpha), a.dtype, c, beta)
    left, right, dtype = real(a), real(b), real(a).dtype
    wide = _widened(left, right)
    product = wide[0] @ wide[1]
    scaled = product if alpha == 1.0 else product * product.dtype.type(alpha)
    if c is not None:
        addend = real(c).astype(scaled.dtype)
        scaled = scaled + (addend if beta == 1.0 else addend * scaled.dtype.type(beta))
    return np.asarray(scaled).astype(dtype, copy=False)


def _accumulated(a: Dequantized, b: Dequantized) -> Array:
    return accumulate(a, b, Sums(np.matmul, a.codes.shape[-1]))


def _sums_one_scale(a: Dequantized, b: Dequantized) -> bool:
    """Whether the scales leave the summed axis alone."""
    return _is_constant_along(a.scale, -1) and _is_constant_along(b.scale, -2 if b.codes.ndim > 1 else -1)


def _is_constant_along(scale: Array, axis: int) -> bool:
    return scale.ndim == 0 or scale.shape[axis] == 1


def _scale(a: Dequantized, b: Dequantized) -> Array:
    """float32(s_a · s_b), broadcastable to the product; a vector's axis is not in the product."""
    left, right = a.scale, b.scale
    if b.codes.ndim == 1:
        left, right = (left[..., 0] if left.ndim else left), right.reshape(())
    if a.codes.ndim == 1:
        left, right = a.scale.reshape(()), (right[..., 0, :] if right.ndim > 1 else right)
    return product_scale(left, right)


def _transposed(value: Value) -> Value:
    return value.rearranged(lambda x: x.T) if isinstance(value, Dequantized) else real(value).T


def _widened(a: Array, b: Array) -> tuple[Array, Array]:
    """16-bit floats in float32, which every device accumulates them in; other types as they are."""
    if a.dtype.kind in "iuc" or a.dtype.itemsize > 2:
        return a, b
    return a.astype(np.float32), b.astype(np.float32)
