"""What Ethos-U85 computes of one or two feature maps, and what becomes of the results."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.emulator.kernel import Kernel
from deepseek_backend_npu.emulator.pooling import averaged, taps
from deepseek_backend_npu.emulator.scaling import leading_zeros, rescale, wrap
from deepseek_backend_npu.emulator.shram import Tables
from deepseek_backend_npu.emulator.stream import HazardError, Registers, known
from deepseek_backend_npu.emulator.u85.isa import ROUNDS, Elementwise, Lookup, Pooling

__all__ = ["UNARY", "activate", "combine", "lookup", "pool", "rounding", "scaled"]

Integers = NDArray[np.int64]
UNARY = frozenset((Elementwise.ABS, Elementwise.CLZ))
_LOWEST, _HIGHEST = -(1 << 40), 1 << 40
_SIZES = {Lookup.S8_S8: 256, Lookup.S16_S16: 2048, Lookup.S16_S32: 2048}
_FRACTION = 7


def rounding(registers: Registers, name: str) -> int:
    """Number of a scale register's rounding; double rounding on the way is in no program that the lowering causes."""
    word = registers.upper(name)
    if word >> 6 & 31:
        raise HazardError(f"{name} with double rounding is not emulated")
    number = word >> 13
    if number not in ROUNDS:
        raise HazardError(f"rounding {number} is not emulated")
    return number


def scaled(registers: Registers, values: Integers, name: str = "OFM_SCALE") -> Integers:
    """Values by a scale register, which has a scale of 31 bits, a shift and a rounding."""
    mode = ROUNDS[rounding(registers, name)]
    scale, shift = registers[name] & 0x7FFF_FFFF, registers.upper(name) & 63
    return values if (scale, shift) == (1, 0) else rescale(values, scale, shift, mode)


def combine(registers: Registers, mode: Elementwise, a: Integers, b: Integers) -> Integers:
    """Results before the output's zero point, of inputs without theirs; `b` is `a` for a unary operation."""
    a = scaled(registers, a, "IFM_SCALE")
    if mode in UNARY:
        return scaled(registers, np.abs(a) if mode is Elementwise.ABS else leading_zeros(a))
    b = scaled(registers, b, "IFM2_SCALE")
    a, b = np.broadcast_arrays(a, b)
    match mode:
        case Elementwise.MUL:
            return scaled(registers, a * b)
        case Elementwise.ADD:
            return scaled(registers, a + b)
        case Elementwise.SUB:
            return scaled(registers, a - b)
        case Elementwise.MIN:
            return scaled(registers, np.minimum(a, b))
        case Elementwise.MAX:
            return scaled(registers, np.maximum(a, b))
        case Elementwise.SHR:
            half = (np.int64(1) << b >> 1) if rounding(registers, "OFM_SCALE") == 1 else 0
            return np.asarray((a + half) >> b)
        case _:
            return wrap(a << (b & 63), 32)


def pool(registers: Registers, mode: Pooling, x: Integers, kernel: Kernel, shape: tuple[int, int, int]) -> Integers:
    """What lies under each window, [height, width, depth], before any scale.

    Args:
        x: input as the window sees it, without pads and zero point.
        kernel: the window.
        shape: of the output.
    """
    match mode:
        case Pooling.REDUCE_SUM:
            total = wrap(x.sum(axis=2, keepdims=True), 32)
        case Pooling.MAX:
            total = np.maximum.reduce(taps(x, kernel, shape, _LOWEST))
        case Pooling.MIN:
            total = np.minimum.reduce(taps(x, kernel, shape, _HIGHEST))
        case _:
            total = sum(taps(x, kernel, shape, 0), np.zeros(shape, np.int64))
    if mode is Pooling.AVERAGE:
        total = averaged(total, kernel, (x.shape[0], x.shape[1]), ROUNDS[rounding(registers, "OFM_SCALE")])
    return np.asarray(total)


def lookup(registers: Registers) -> tuple[Lookup, int, int]:
    """Kind of the table that the activation looks up, its address in the table RAM and its size."""
    word = registers["ACTIVATION"]
    kind = known(Lookup, word & 31)
    size = _SIZES.get(kind, 0)
    return kind, (word >> 5 & 7) * size, size


def activate(registers: Registers, values: Integers, dtype: np.dtype[Any], tables: Tables) -> NDArray[Any]:
    """Values with zero point, bounds and table, in the output's type."""
    values = values + registers.signed("OFM_ZERO_POINT")
    kind, address, size = lookup(registers)
    if registers["ACTIVATION"] >> 12 & 1:
        values = wrap(values, dtype.itemsize * 8)
    else:
        signed = dtype.kind == "i"
        low, high = (registers.signed(n) if signed else registers[n] for n in ("ACTIVATION_MIN", "ACTIVATION_MAX"))
        values = np.clip(values, low, high)
    if kind is Lookup.NONE:
        return values.astype(dtype)
    table = tables.at(address, size)
    if kind is Lookup.S8_S8:
        return np.asarray(table.view(np.int8)[values + 128], dtype)
    pairs = table.view(np.int16).astype(np.int64).reshape(-1, 2)
    place = values + (1 << 15)
    base, slope = pairs[place >> _FRACTION, 0], pairs[place >> _FRACTION, 1]
    total = (base << _FRACTION) + slope * (place & (1 << _FRACTION) - 1)
    if kind is Lookup.S16_S16:
        total = (total + (1 << _FRACTION >> 1)) >> _FRACTION
    return np.asarray(total, dtype)
