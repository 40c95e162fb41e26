"""What the output unit does to every result: scale, zero point, lookup, bounds, and the write."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.emulator.feature_map import FeatureMap
from deepseek_backend_npu.emulator.isa import ClipRange, Round
from deepseek_backend_npu.emulator.scaling import rescale, wrap
from deepseek_backend_npu.emulator.shram import Tables
from deepseek_backend_npu.emulator.stream import HazardError, Registers, known

__all__ = ["activate", "scaled", "uses_table"]

Integers = NDArray[np.int64]
_RELU, _FIRST_TABLE, _TABLES = 0, 16, 8
_RANGES = {ClipRange.UINT8: (0, 255), ClipRange.INT8: (-128, 127), ClipRange.INT16: (-32768, 32767)}
_TABLE_8, _TABLE_32 = 256, 1024
_TABLE_16 = 2048
_FRACTION = 7


def scaled(registers: Registers, values: Integers) -> Integers:
    """Values by the global scale, where the operation has one."""
    precision = registers["OFM_PRECISION"]
    if not precision >> 8 & 1:
        return values
    scale, shift = registers["OFM_SCALE"], registers.upper("OFM_SCALE") & 63
    return rescale(values, scale, shift, known(Round, precision >> 14 & 3))


def uses_table(registers: Registers) -> int | None:
    """The table that the activation looks up; None without one."""
    function = registers["ACTIVATION"] & 31
    if function == _RELU:
        return None
    if _FIRST_TABLE <= function < _FIRST_TABLE + _TABLES:
        return function - _FIRST_TABLE
    raise HazardError(f"activation {function} is not emulated")


def activate(registers: Registers, values: Integers, output: FeatureMap, tables: Tables) -> NDArray[Any]:
    """Values with zero point and activation, in the output's type."""
    values = values + output.zero
    table = uses_table(registers)
    low, high = _bounds(registers, output, table is not None)
    if low is not None and high is not None:
        values = np.clip(values, low, high)
    else:
        values = wrap(values, output.dtype.itemsize * 8)
    if table is not None:
        values = _look_up(values, table, output, tables)
    return values.astype(output.dtype)


def _bounds(registers: Registers, output: FeatureMap, looks_up: bool) -> tuple[int | None, int | None]:
    clip = known(ClipRange, registers["ACTIVATION"] >> 12 & 7)
    if clip is ClipRange.OUTPUT and output.dtype.itemsize > 2:
        return None, None
    info = np.iinfo(output.dtype) if clip is ClipRange.OUTPUT else None
    low, high = (int(info.min), int(info.max)) if info is not None else _RANGES[clip]
    signed = low < 0
    ends = [registers.signed(name) if signed else registers[name] for name in ("ACTIVATION_MIN", "ACTIVATION_MAX")]
    return max(low, ends[0]), min(high, ends[1])


def _look_up(values: Integers, table: int, output: FeatureMap, tables: Tables) -> Integers:
    """8 bits: 256 results, of 8 or 32 bits. 16 bits: 512 pairs of base and slope, with 7 bits between them."""
    size = output.dtype.itemsize
    if size == 2:
        pairs = tables.load(table, _TABLE_16).view(np.int16).astype(np.int64).reshape(-1, 2)
        place = values - (np.iinfo(np.int16).min if output.dtype.kind == "i" else 0)
        base, slope = pairs[place >> _FRACTION, 0], pairs[place >> _FRACTION, 1]
        between = place & ((1 << _FRACTION) - 1)
        return np.asarray(base + ((slope * between + (1 << _FRACTION >> 1)) >> _FRACTION))
    first = 0 if output.dtype.kind == "u" and size == 1 else -128
    if size == 4:
        entries = tables.load(table, _TABLE_32).view(np.int32)
    else:
        entries = tables.load(table, _TABLE_8).view(output.dtype)
    return np.asarray(entries[values - first], np.int64)
