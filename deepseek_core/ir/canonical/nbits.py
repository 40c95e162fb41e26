"""`com.microsoft::MatMulNBits`: a product with a weight that is packed in blocks of 4- or 8-bit codes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.ir.canonical.lowering import Codes, Lowering
from deepseek_core.ir.query import at, constant

__all__ = ["matmul_nbits"]

_DTYPES: dict[int, type] = {4: ml_dtypes.uint4, 8: np.uint8}


def matmul_nbits(node: ir.Node, opset: int) -> Lowering | None:
    """A · DQ(W), with W in [K, N] and a scale for each `block_size` rows of a column.

    The operator stores W as [N, blocks, bytes]: each column's codes in blocks along K, the low half of a byte first.
    Not expressible: groups in another order (`g_idx`), a bias, real zero points, parameters that are no constants.
    """
    bits, block, k, n = (node.attributes.get_int(name) or 0 for name in ("bits", "block_size", "K", "N"))
    data, scales = at(node, 0), constant(at(node, 2))
    plain = at(node, 4) is None and at(node, 5) is None
    if opset < 21 or not plain or bits not in _DTYPES or min(block, k, n) < 1 or data is None or scales is None:
        return None
    blocks = -(-k // block)
    weight, zero = _unpacked(at(node, 1), bits, n, k), _unpacked(at(node, 3), bits, n, blocks)
    if at(node, 3) is None and scales.size == n * blocks:
        zero = np.full((n, blocks), 1 << (bits - 1), np.uint8)
    if weight is None or zero is None or scales.size != n * blocks:
        return None
    stored = _DTYPES[bits]
    scale = np.ascontiguousarray(scales.reshape(n, blocks).T)
    return Lowering("MatMul", (data, Codes(weight.T.astype(stored), (scale,), zero.T.astype(stored), 0, block)), None)


def _unpacked(value: ir.Value | None, bits: int, rows: int, count: int) -> NDArray[Any] | None:
    """The first `count` codes of each row, whatever way the file shapes its bytes; None when they are not there."""
    packed = constant(value)
    if packed is None or packed.dtype != np.uint8 or packed.size % rows or packed.size * 8 // bits < rows * count:
        return None
    flat = packed.reshape(rows, -1)
    if bits == 4:
        flat = np.stack([flat & 15, flat >> 4], axis=-1).reshape(rows, -1)
    return flat[:, :count]
