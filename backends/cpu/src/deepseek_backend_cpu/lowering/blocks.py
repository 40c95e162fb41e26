"""MatMul with a weight of 4-bit blocks: MatMulNBits keeps the weight packed and multiplies in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_backend_cpu.lowering.emitter import MICROSOFT, Emitter
from deepseek_backend_cpu.lowering.operands import known_params
from deepseek_core import DType, Granularity, Operand, Role, Unit

__all__ = ["BlockKernel"]

_BLOCK_SIZES = (16, 32, 64, 128, 256)
_FLOAT32_SUMS = 1
"""`accuracy_level`: 4, ONNX Runtime's default for Q/DQ models, would quantize the activations to 8 bits on the way."""


class BlockKernel:
    """The kernel of units with float data and a constant weight [K, N] in blocks along K."""

    def problem(self, unit: Unit) -> str | None:
        """Why the kernel does not take `unit`; None when it does."""
        data, weights = unit.operands(Role.DATA), unit.operands(Role.WEIGHT)
        if len(weights) != 1 or not _is_blocked(weights[0]):
            return "its weight is not quantized in blocks of 16 to 256 4-bit codes along the summed axis"
        operands = (*data, *unit.outputs)
        if any(o.qparams is not None or o.real.dtype is not ir.DataType.FLOAT for o in operands):
            return "its data is not float32"
        return None if unit.activation is None else "no kernel of 4-bit blocks computes an activation too"

    def emit(self, unit: Unit, emit: Emitter) -> None:
        """Build the node."""
        weight = unit.operands(Role.WEIGHT)[0]
        qparams, codes = known_params(weight), _unsigned(_array(weight.value))
        block, (depth, columns) = known_params(weight).scheme.block_size or 0, codes.shape
        settings = {"K": depth, "N": columns, "bits": 4, "block_size": block, "accuracy_level": _FLOAT32_SUMS}
        inputs = [
            unit.operands(Role.DATA)[0].value,
            emit.constant(_packed_blocks(codes, block)),
            emit.constant(np.ascontiguousarray(qparams.scale.T).reshape(-1)),
            emit.constant(_packed(_unsigned(qparams.zero_point).T).reshape(-1)),
        ]
        emit.result(unit.outputs[0], *emit.add("MatMulNBits", inputs, settings, domain=MICROSOFT))


def _is_blocked(weight: Operand) -> bool:
    if weight.qparams is None or not weight.is_constant or weight.shape is None or len(weight.shape) != 2:
        return False
    scheme = weight.qparams.scheme
    in_blocks = scheme.granularity is Granularity.PER_BLOCK and scheme.block_size in _BLOCK_SIZES
    return in_blocks and scheme.dtype in (DType.INT4, DType.UINT4) and (scheme.axis or 0) % 2 == 0


def _array(value: ir.Value) -> NDArray[Any]:
    assert value.const_value is not None
    return value.const_value.numpy()


def _unsigned(codes: NDArray[Any]) -> NDArray[np.uint8]:
    """uint4 codes as bytes; int4 ones are moved by 8, like their zero points."""
    offset = 8 if codes.dtype.name == "int4" else 0
    return (codes.astype(np.int16) + offset).astype(np.uint8)


def _packed_blocks(codes: NDArray[np.uint8], block: int) -> NDArray[np.uint8]:
    """[K, N] → [N, blocks, block / 2], the last block filled up with zeros."""
    depth, columns = codes.shape
    blocks = -(-depth // block)
    padded = np.zeros((columns, blocks * block), np.uint8)
    padded[:, :depth] = codes.T
    return _packed(padded).reshape(columns, blocks, block // 2)


def _packed(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two codes to a byte along the last axis, the first in the low half."""
    even = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, codes.shape[-1] % 2)])
    return np.asarray(even[..., ::2] | (even[..., 1::2] << 4), np.uint8)
