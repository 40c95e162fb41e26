"""uint8 codes as int8: 128 less, and their zero point too, so that they stand for the same real numbers.

Kernels know int8 alone. Codes are moved where they enter and leave a part; inside, quantization to the moved zero point
gives moved codes, because rounding and saturation do not change with a whole number added.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from deepseek_core import DType, QParams

__all__ = ["MOVED", "centred", "is_unsigned"]

MOVED = (np.arange(256) - 128).astype(np.int8)
"""What becomes of each byte, either way: its highest bit is flipped."""


def centred(qparams: QParams) -> QParams:
    """The same real numbers for int8 codes; as they are unless codes are uint8."""
    if qparams.scheme.dtype is not DType.UINT8:
        return qparams
    zero = (qparams.zero_point.astype(np.int16) - 128).astype(np.int8)
    return QParams(replace(qparams.scheme, dtype=DType.INT8), qparams.scale, zero)


def is_unsigned(value: ir.Value) -> bool:
    """Whether a value holds uint8 codes: they leave a QuantizeLinear, or enter nothing but DequantizeLinear."""
    if value.dtype is not ir.DataType.UINT8:
        return False
    producer, readers = value.producer(), [use.node for use in value.uses()]
    if producer is not None:
        return producer.op_type == "QuantizeLinear"
    return bool(readers) and all(n.op_type == "DequantizeLinear" and n.inputs[0] is value for n in readers)
