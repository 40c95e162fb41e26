"""Reading and writing scalar operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.faults import CodeError
from deepseek_backend_rocm.emulator.operands import NULL, Operand
from deepseek_backend_rocm.emulator.waves import Waves

__all__ = ["Read", "Write", "read_f32", "read_i32", "read_scc", "read_u32", "read_u64", "write_u32", "write_u64"]

Read = Callable[[Waves], Array]
Write = Callable[[Waves, Array], None]
_SCC = ("scc", "src_scc")


def constant(bits: int, kind: Any = np.uint32) -> Array:
    """One constant, [1]."""
    width = np.dtype(kind).itemsize * 8
    return np.array([bits & (1 << width) - 1], f"u{width // 8}").view(kind)


def read_scc(waves: Waves) -> Array:
    return waves.scc


def read_u32(operand: Operand) -> Read:
    """Reads 32 bits, [W] or [1]."""
    index = operand.index
    if operand.kind == "s":
        return _zero if index == NULL else lambda waves: waves.s[index]
    if operand.text in _SCC:
        return lambda waves: waves.scc.astype(np.uint32)
    value = constant(_bits(operand, 32))
    return lambda _: value


def read_i32(operand: Operand) -> Read:
    """Reads 32 bits as a signed number, [W] or [1]."""
    index = operand.index
    if operand.kind == "s" and index != NULL:
        return lambda waves: waves.si[index]
    bits = read_u32(operand)
    return lambda waves: bits(waves).view(np.int32)


def read_f32(operand: Operand) -> Read:
    """Reads a float32, with its modifiers, [W] or [1]."""
    bits = read_u32(operand)
    absolute, negate = operand.absolute, operand.negate

    def read(waves: Waves) -> Array:
        value = bits(waves).view(np.float32)
        value = np.abs(value) if absolute else value
        return -value if negate else value

    return read


def read_u64(operand: Operand) -> Read:
    """Reads 64 bits, [W] or [1]; a constant is extended with its sign."""
    if operand.kind == "s":
        if operand.index == NULL:
            return lambda _: constant(0, np.uint64)
        if operand.index % 2 or operand.count != 2:
            raise CodeError(f"'{operand.text}' is no aligned pair of registers", fix="compile the model again")
        pair = operand.index // 2
        return lambda waves: waves.s64[pair]
    if operand.text in _SCC:
        return lambda waves: waves.scc.astype(np.uint64)
    value = constant(_bits(operand, 64), np.uint64)
    return lambda _: value


def write_u32(operand: Operand) -> Write:
    """Writes 32 bits."""
    index = operand.index
    if operand.kind != "s":
        raise CodeError(f"'{operand.text}' is no scalar register", fix="compile the model again")
    if index == NULL:
        return lambda _waves, _bits: None
    return lambda waves, bits: waves.write_s(index, bits)


def write_u64(operand: Operand) -> Write:
    """Writes 64 bits."""
    index = operand.index
    if operand.kind != "s" or (operand.index != NULL and operand.index % 2):
        raise CodeError(f"'{operand.text}' is no pair of scalar registers", fix="compile the model again")
    if index == NULL:
        return lambda _waves, _bits: None
    return lambda waves, bits: waves.write_s64(index, bits)


def _zero(waves: Waves) -> Array:
    return np.zeros(1, np.uint32)


def _bits(operand: Operand, width: int) -> int:
    if operand.kind != "constant":
        raise CodeError(f"operand '{operand.text}' is not emulated", fix="report it, with the kernel")
    return operand.float_bits(width)
