"""Numbers of the TOSA 1.0 FlatBuffers schema (`tosa.fbs`) that this backend writes.

The union member of an operator's attribute has the same number as the operator.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

__all__ = ["ATTRIBUTES", "NUMPY", "DType", "Op", "Rounding"]


class Op(IntEnum):
    """Operators."""

    AVG_POOL2D = 2
    CONV2D = 3
    DEPTHWISE_CONV2D = 5
    MATMUL = 7
    MAX_POOL2D = 8
    TRANSPOSE_CONV2D = 10
    CLAMP = 11
    ADD = 15
    ARITHMETIC_RIGHT_SHIFT = 16
    LOGICAL_LEFT_SHIFT = 22
    MAXIMUM = 26
    MINIMUM = 27
    MUL = 28
    SUB = 30
    TABLE = 31
    CLZ = 35
    REDUCE_MAX = 51
    REDUCE_SUM = 54
    CONCAT = 55
    PAD = 56
    RESHAPE = 57
    SLICE = 59
    TRANSPOSE = 61
    RESCALE = 66
    CONST = 67
    CONST_SHAPE = 75


class DType(IntEnum):
    """Element types."""

    INT8 = 3
    INT16 = 4
    INT32 = 5
    INT48 = 6
    SHAPE = 10


class Rounding(IntEnum):
    """Rounding of RESCALE: half up."""

    SINGLE = 1


NUMPY: dict[DType, np.dtype[Any]] = {
    DType.INT8: np.dtype(np.int8),
    DType.INT16: np.dtype(np.int16),
    DType.INT32: np.dtype(np.int32),
}
"""Element types that NumPy has; INT48 is written as six bytes."""

_NAN_PROPAGATE = 1
_POOL = (("kernel", "ints", None), ("stride", "ints", None), ("pad", "ints", None))
_WINDOW = (("pad", "ints", None), ("stride", "ints", None), ("dilation", "ints", None))
_CONVOLUTION = (*_WINDOW, ("local_bound", "bool", False), ("acc_type", "uint", DType.INT32))
_AXIS = (("axis", "int", None),)

ATTRIBUTES: dict[Op, tuple[tuple[str, str, object], ...]] = {
    Op.AVG_POOL2D: (*_POOL, ("acc_type", "uint", DType.INT32)),
    Op.CONV2D: _CONVOLUTION,
    Op.DEPTHWISE_CONV2D: _CONVOLUTION,
    Op.MAX_POOL2D: (*_POOL, ("nan_mode", "uint", _NAN_PROPAGATE)),
    Op.TRANSPOSE_CONV2D: (
        ("out_pad", "ints", None),
        ("stride", "ints", None),
        ("local_bound", "bool", False),
        ("acc_type", "uint", DType.INT32),
    ),
    Op.CLAMP: (("min_val", "bytes", None), ("max_val", "bytes", None), ("nan_mode", "uint", _NAN_PROPAGATE)),
    Op.ARITHMETIC_RIGHT_SHIFT: (("round", "bool", False),),
    Op.MAXIMUM: (("nan_mode", "uint", _NAN_PROPAGATE),),
    Op.MINIMUM: (("nan_mode", "uint", _NAN_PROPAGATE),),
    Op.REDUCE_MAX: (*_AXIS, ("nan_mode", "uint", _NAN_PROPAGATE)),
    Op.REDUCE_SUM: _AXIS,
    Op.CONCAT: _AXIS,
    Op.TRANSPOSE: (("perms", "ints", None),),
    Op.RESCALE: (
        ("scale32", "bool", True),
        ("rounding_mode", "uint", Rounding.SINGLE),
        ("per_channel", "bool", False),
        ("input_unsigned", "bool", False),
        ("output_unsigned", "bool", False),
    ),
}
"""Operator → its attribute's fields in the schema's order: name, kind, default (None: must be given)."""
