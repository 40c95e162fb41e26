"""Dot products of packed values (CDNA 3 ISA 12.10; RDNA 2 ISA and RDNA 3 ISA 16.8, V_DOT2 to V_DOT8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.isa.matrix import bf16_values
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.scalars import Read
from deepseek_backend_rocm.emulator.isa.vectors import number_of, read_bits
from deepseek_backend_rocm.emulator.waves import Waves

__all__: list[str] = []


def _signed(bits: int) -> Callable[[Array, int], Array]:
    """Part of a register as a signed number, int32."""

    def part(x: Array, place: int) -> Array:
        return (x << np.uint32(32 - bits * (place + 1))).view(np.int32) >> np.int32(32 - bits)

    return part


def _unsigned(bits: int) -> Callable[[Array, int], Array]:
    def part(x: Array, place: int) -> Array:
        return (x >> np.uint32(bits * place) & np.uint32((1 << bits) - 1)).view(np.int32)

    return part


def _wrapped(total: Array, clamp: bool, signed: bool) -> Array:
    """The sum in 32 bits, wrapping or saturated."""
    if clamp:
        info = np.iinfo(np.int32 if signed else np.uint32)
        total = np.clip(total, info.min, info.max)
    return total.astype(np.uint64).astype(np.uint32) if not signed else total.astype(np.int32).view(np.uint32)


_INTEGERS = {
    "v_dot4_i32_i8": (4, 8, True),
    "v_dot4c_i32_i8": (4, 8, True),
    "v_dot4_u32_u8": (4, 8, False),
    "v_dot8_i32_i4": (8, 4, True),
    "v_dot8c_i32_i4": (8, 4, True),
    "v_dot8_u32_u4": (8, 4, False),
    "v_dot2_i32_i16": (2, 16, True),
    "v_dot2c_i32_i16": (2, 16, True),
    "v_dot2_u32_u16": (2, 16, False),
}


@register(*_INTEGERS)
def _dot(inst: Instruction, architecture: Architecture) -> Step:
    count, bits, signed = _INTEGERS[inst.name]
    part = _signed(bits) if signed else _unsigned(bits)
    return _summed(inst, count, part, part, signed)


@register("v_dot4_i32_iu8", "v_dot8_i32_iu4")
def _dot_mixed(inst: Instruction, architecture: Architecture) -> Step:
    """Each source is signed where its `neg_lo` says so."""
    count, bits = (4, 8) if inst.name == "v_dot4_i32_iu8" else (8, 4)
    signs = inst.modifiers.numbers("neg_lo", (0, 0, 0))
    one, two = (_signed(bits) if sign else _unsigned(bits) for sign in signs[:2])
    return _summed(inst, count, one, two, True)


def _summed(inst: Instruction, count: int, one: Any, two: Any, signed: bool) -> Step:
    target, x, y, z = inst.operands[0], read_bits(inst, 1), read_bits(inst, 2), _addend(inst)
    to, clamp = number_of(target), inst.modifiers.flag("clamp")
    kind: Any = np.int32 if signed else np.uint32

    def run(waves: Waves) -> None:
        p, q = x(waves), y(waves)
        total = z(waves).view(kind).astype(np.int64)
        for place in range(count):
            total = total + one(p, place).astype(np.int64) * two(q, place)
        waves.write_v(to, _wrapped(total, clamp, signed))

    accumulates = len(inst.operands) == 3
    return step(run, [target], inst.operands if accumulates else inst.operands[1:])


def _addend(inst: Instruction) -> Read:
    if len(inst.operands) > 3:
        return read_bits(inst, 3)
    index = number_of(inst.operands[0])
    return lambda waves: waves.v[index]


@register("v_dot2_f32_f16", "v_dot2c_f32_f16", "v_dot2_f32_bf16")
def _dot_floats(inst: Instruction, architecture: Architecture) -> Step:
    """Both products and the addend summed, and rounded once; hardware's rounding between is not published."""
    target, x, y, z = inst.operands[0], read_bits(inst, 1, 16), read_bits(inst, 2, 16), _addend(inst)
    to, clamp = number_of(target), inst.modifiers.flag("clamp")
    brain = inst.name.endswith("bf16")

    def value(bits: Array, place: int) -> Array:
        half = (bits >> np.uint32(16 * place)).astype(np.uint16)
        return (bf16_values(half) if brain else half.view(np.float16)).astype(np.float64)

    def run(waves: Waves) -> None:
        p, q = x(waves), y(waves)
        total = value(p, 0) * value(q, 0) + value(p, 1) * value(q, 1) + z(waves).view(np.float32)
        total = np.clip(total, 0, 1) if clamp else total
        waves.write_vf(to, total.astype(np.float32))

    accumulates = len(inst.operands) == 3
    return step(run, [target], inst.operands if accumulates else inst.operands[1:])
