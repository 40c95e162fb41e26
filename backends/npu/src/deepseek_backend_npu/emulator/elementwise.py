"""Elementwise operations on one or two feature maps, or on one and a scalar."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.emulator.isa import Elementwise, Round, ScaleMode
from deepseek_backend_npu.emulator.output import scaled
from deepseek_backend_npu.emulator.scaling import leading_zeros, rescale, wrap
from deepseek_backend_npu.emulator.stream import Registers, known

__all__ = ["UNARY", "combine"]

Integers = NDArray[np.int64]
UNARY = frozenset((Elementwise.LRELU, Elementwise.ABS, Elementwise.CLZ))
_FIXED_SHIFT = {1: 19, 2: 14}
_REVERSED = 1 << 6


def combine(registers: Registers, mode: Elementwise, a: Integers, b: Integers | None, itemsize: int) -> Integers:
    """Results before the output's zero point.

    Args:
        a, b: inputs without their zero points; b is None for a unary operation, and broadcasts.
        itemsize: bytes of an input element.
    """
    if b is None:
        return _unary(registers, mode, a)
    if registers["IFM2_BROADCAST"] & _REVERSED:
        a, b = b, a
    if mode in (Elementwise.ADD, Elementwise.SUB):
        a, b = _common_scale(registers, a, b, itemsize)
    match mode:
        case Elementwise.MUL:
            return scaled(registers, a * b)
        case Elementwise.ADD:
            return scaled(registers, a + b)
        case Elementwise.SUB:
            return scaled(registers, a - b)
        case Elementwise.MIN:
            return np.minimum(a, b)
        case Elementwise.MAX:
            return np.maximum(a, b)
        case Elementwise.SHR:
            return _shift_right(registers, a, b)
        case _:
            return wrap(np.broadcast_arrays(a, b)[0] << (b & 63), 32)


def _unary(registers: Registers, mode: Elementwise, a: Integers) -> Integers:
    if mode is Elementwise.ABS:
        return scaled(registers, np.abs(a))
    if mode is Elementwise.LRELU:
        return np.where(a < 0, scaled(registers, a), a)
    return leading_zeros(a)


def _common_scale(registers: Registers, a: Integers, b: Integers, itemsize: int) -> tuple[Integers, Integers]:
    """Operands of a sum at one scale: both by 16 bits, or one by 32 bits and the other by a fixed shift."""
    precision = registers["IFM_PRECISION"]
    mode, rounding = known(ScaleMode, precision >> 8 & 3), known(Round, precision >> 14 & 3)
    scale, shift = registers["OPA_SCALE"], registers.upper("OPA_SCALE") & 63
    if mode is ScaleMode.BOTH_16:
        return a * (scale & 0xFFFF), b * (registers["OPB_SCALE"] & 0xFFFF)
    fixed = _FIXED_SHIFT.get(itemsize, 0)
    if mode is ScaleMode.A_32:
        return rescale(a, scale, shift, rounding), b << fixed
    return a << fixed, rescale(b, scale, shift, rounding)


def _shift_right(registers: Registers, a: Integers, b: Integers) -> Integers:
    a, b = np.broadcast_arrays(a, b)
    if known(Round, registers["OFM_PRECISION"] >> 14 & 3) is Round.NATURAL:
        return (a + (np.int64(1) << b >> 1)) >> b
    return a >> b
