"""QuantizeLinear and DequantizeLinear nodes, and the parameters they carry."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.errors import ModelError
from deepseek_core.ir.qparams import QParams, numpy_dtype
from deepseek_core.scheme import DType, Granularity, QuantScheme

__all__ = ["DQ", "Q", "dtype_of", "is_q_or_dq", "onnx_dtype", "qparams_of"]

Q, DQ = "QuantizeLinear", "DequantizeLinear"

_ONNX = {dtype: ir.DataType["FLOAT" if dtype is DType.FLOAT32 else dtype.name] for dtype in DType}
_DTYPES: dict[int, DType] = {code: dtype for dtype, code in _ONNX.items()}


def onnx_dtype(dtype: DType) -> ir.DataType:
    """The ONNX element type of the same meaning."""
    return _ONNX[dtype]


def dtype_of(value: ir.Value | None) -> DType | None:
    """Element type of a value; None when unknown or outside `DType` (int64 indices, strings)."""
    if value is None:
        return None
    code = value.dtype
    if code is None and value.const_value is not None:
        code = value.const_value.dtype
    return None if code is None else _DTYPES.get(code)


def is_q_or_dq(node: ir.Node) -> bool:
    """Whether a node is QuantizeLinear or DequantizeLinear of the default domain."""
    return node.op_type in (Q, DQ) and node.domain in ("", "ai.onnx")


def qparams_of(node: ir.Node) -> QParams | None:
    """Parameters of a Q or DQ node; None where scale or zero point are not constants or the type is not in `DType`.

    Raises:
        ModelError: the node's numbers contradict each other.
    """
    scale = _constant(node, 1)
    dtype = _code_dtype(node)
    if scale is None or dtype is None or not (dtype.is_quantized or dtype is DType.INT32):
        return None
    zero = _constant(node, 2)
    if zero is None:
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            return None
        zero = np.zeros(scale.shape, numpy_dtype(dtype))
    if _is_per_tensor(node, scale):
        scale, zero = scale.reshape(()), zero.reshape(()) if zero.size == 1 else zero
    scheme = _scheme(node, dtype, scale.ndim, symmetric=dtype.is_signed and not zero.astype(np.float32).any())
    try:
        return QParams(scheme, scale.astype(np.float32), zero)
    except ModelError as error:
        raise ModelError(f"node '{node.name}' ({node.op_type}): {error.message}", fix=error.fix) from None


def _scheme(node: ir.Node, dtype: DType, rank: int, *, symmetric: bool) -> QuantScheme:
    block, axis = node.attributes.get_int("block_size", 0), node.attributes.get_int("axis", 1)
    if block:
        return QuantScheme(dtype, Granularity.PER_BLOCK, symmetric=symmetric, axis=axis, block_size=block)
    if rank == 0:
        return QuantScheme(dtype, symmetric=symmetric)
    return QuantScheme(dtype, Granularity.PER_CHANNEL, symmetric=symmetric, axis=axis)


def _is_per_tensor(node: ir.Node, scale: NDArray[Any]) -> bool:
    """One scale is for the whole tensor, unless it says to be the one of an axis with one index."""
    if scale.size != 1 or node.attributes.get_int("block_size"):
        return False
    value, axis = node.inputs[0], node.attributes.get_int("axis", 1)
    if scale.ndim == 0 or value is None or value.shape is None or not -len(value.shape) <= axis < len(value.shape):
        return True
    return value.shape[axis] != 1


def _constant(node: ir.Node, position: int) -> NDArray[Any] | None:
    value = node.inputs[position] if position < len(node.inputs) else None
    return None if value is None or value.const_value is None else value.const_value.numpy()


def _code_dtype(node: ir.Node) -> DType | None:
    """Type of the codes: the zero point's where there is one, else what the operator implies."""
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        return dtype_of(node.inputs[2])
    if node.op_type == DQ:
        return dtype_of(node.inputs[0])
    code = node.attributes.get_int("output_dtype", 0)
    return _DTYPES.get(code) if code else DType.UINT8
