"""Codes of uint8 as codes of int8, for devices whose kernels know one type."""

from __future__ import annotations

import numpy as np

from deepseek_core.ir.qparams import QParams
from deepseek_core.scheme import DType, QuantScheme

__all__ = ["signed"]


def signed(qparams: QParams) -> QParams:
    """The same real numbers for codes of int8: those of uint8 less 128, and their zero points too; others as they are.

    Quantization to the moved zero point gives the moved codes: rounding and saturation do not change with a whole
    number added.
    """
    scheme = qparams.scheme
    if scheme.dtype is not DType.UINT8:
        return qparams
    held = QuantScheme(DType.INT8, scheme.granularity, False, False, scheme.axis, scheme.block_size)
    return QParams(held, qparams.scale, (qparams.zero_point.astype(np.int16) - 128).astype(np.int8))
