"""uint8 codes as int8, which kernels know alone (see `deepseek_core.lowering.signed`): moved at borders."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

__all__ = ["MOVED", "is_unsigned"]

MOVED = (np.arange(256) - 128).astype(np.int8)
"""What becomes of each byte, either way: its highest bit is flipped."""


def is_unsigned(value: ir.Value) -> bool:
    """Whether a value holds uint8 codes: they leave a QuantizeLinear, or enter nothing but DequantizeLinear."""
    if value.dtype is not ir.DataType.UINT8:
        return False
    producer, readers = value.producer(), [use.node for use in value.uses()]
    if producer is not None:
        return producer.op_type == "QuantizeLinear"
    return bool(readers) and all(n.op_type == "DequantizeLinear" and n.inputs[0] is value for n in readers)
