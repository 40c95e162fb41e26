"""Packed arithmetic: two values at a time, VOP3P (CDNA 3 ISA 6.8 and 12.10; RDNA 3 ISA 7.5 and 16.8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.faults import CodeError
from deepseek_backend_rocm.emulator.isa.floats import fma, maximum, minimum
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.scalars import Read, constant
from deepseek_backend_rocm.emulator.isa.vectors import number_of, read_bits, with_sign, write
from deepseek_backend_rocm.emulator.waves import Waves

__all__ = ["Selection"]

Function = Callable[..., Array]


class Selection:
    """Which half of each source the lower and the upper result take, and whose sign is changed."""

    def __init__(self, inst: Instruction, sources: int) -> None:
        modifiers = inst.modifiers
        zeros, ones = (0,) * sources, (1,) * sources
        self.low = modifiers.numbers("op_sel", zeros)
        self.high = modifiers.numbers("op_sel_hi", ones)
        self.negate_low = modifiers.numbers("neg_lo", zeros)
        self.negate_high = modifiers.numbers("neg_hi", zeros)


def _half(bits: Read, high: int, kind: Any, negate: int) -> Read:
    shift = np.uint32(16 * high)
    return with_sign(lambda waves: (bits(waves) >> shift).astype(np.uint16), kind, False, bool(negate))


def _clamped(inst: Instruction, kind: Any, function: Function) -> Function:
    if not inst.modifiers.flag("clamp"):
        return function
    if np.issubdtype(kind, np.floating):
        return lambda *args: np.fmin(np.fmax(function(*args), kind(0)), kind(1))
    info = np.iinfo(kind)
    return lambda *args: np.clip(function(*(x.astype(np.int64) for x in args)), info.min, info.max).astype(kind)


_I16: Any = np.int16
_U16: Any = np.uint16
_F16: Any = np.float16
_HALVES: dict[str, tuple[Any, Function]] = {
    "v_pk_add_u16": (_U16, np.add),
    "v_pk_sub_u16": (_U16, np.subtract),
    "v_pk_add_i16": (_I16, np.add),
    "v_pk_sub_i16": (_I16, np.subtract),
    "v_pk_mul_lo_u16": (_U16, np.multiply),
    "v_pk_mad_u16": (_U16, lambda x, y, z: x * y + z),
    "v_pk_mad_i16": (_I16, lambda x, y, z: x * y + z),
    "v_pk_max_i16": (_I16, np.maximum),
    "v_pk_min_i16": (_I16, np.minimum),
    "v_pk_max_u16": (_U16, np.maximum),
    "v_pk_min_u16": (_U16, np.minimum),
    "v_pk_lshlrev_b16": (_U16, lambda x, y: y << (x & _U16(15))),
    "v_pk_lshrrev_b16": (_U16, lambda x, y: y >> (x & _U16(15))),
    "v_pk_ashrrev_i16": (_I16, lambda x, y: y >> (x & _I16(15))),
    "v_pk_add_f16": (_F16, np.add),
    "v_pk_mul_f16": (_F16, np.multiply),
    "v_pk_fma_f16": (_F16, fma),
    "v_pk_max_f16": (_F16, maximum),
    "v_pk_min_f16": (_F16, minimum),
}


@register(*_HALVES)
def _halves(inst: Instruction, architecture: Architecture) -> Step:
    kind, function = _HALVES[inst.name]
    function = _clamped(inst, kind, function)
    sources = len(inst.operands) - 1
    selection, put = Selection(inst, sources), write(inst)
    bits = [read_bits(inst, place, 16) for place in range(1, sources + 1)]
    low = [_half(bits[i], selection.low[i], kind, selection.negate_low[i]) for i in range(sources)]
    high = [_half(bits[i], selection.high[i], kind, selection.negate_high[i]) for i in range(sources)]

    def run(waves: Waves) -> None:
        first, second = (
            np.ascontiguousarray(function(*(one(waves) for one in half))).view(np.uint16).astype(np.uint32)
            for half in (low, high)
        )
        put(waves, first | second << np.uint32(16))

    return step(run, inst.operands[:1], inst.operands[1:])


def _word(inst: Instruction, place: int, part: int) -> Read:
    """A 32-bit half of a 64-bit source."""
    operand = inst.operands[place]
    if operand.kind in ("v", "a"):
        index = number_of(operand, part)
        return lambda waves: waves.v[index]
    if operand.kind == "s":
        index = operand.index + part
        return lambda waves: waves.s[index][:, None]
    value = constant(operand.float_bits(32))[None]
    if operand.kind != "constant":
        raise CodeError(f"operand '{operand.text}' is not emulated", fix="report it, with the kernel")
    return lambda _: value


_F32: dict[str, Function] = {"v_pk_add_f32": np.add, "v_pk_mul_f32": np.multiply, "v_pk_fma_f32": fma}


@register(*_F32)
def _pairs(inst: Instruction, architecture: Architecture) -> Step:
    function = _clamped(inst, np.float32, _F32[inst.name])
    sources = len(inst.operands) - 1
    selection, target = Selection(inst, sources), number_of(inst.operands[0])
    low, high = (
        [with_sign(_word(inst, i + 1, chosen[i]), np.float32, False, bool(negated[i])) for i in range(sources)]
        for chosen, negated in ((selection.low, selection.negate_low), (selection.high, selection.negate_high))
    )

    def run(waves: Waves) -> None:
        first, second = (function(*(one(waves) for one in half)) for half in (low, high))
        waves.write_vf(target, first)
        waves.write_vf(target + 1, second)

    return step(run, inst.operands[:1], inst.operands[1:])


@register("v_pk_mov_b32")
def _move(inst: Instruction, architecture: Architecture) -> Step:
    """The lower result is from the first source, the upper one from the second."""
    selected, target = inst.modifiers.numbers("op_sel", (0, 0)), number_of(inst.operands[0])
    inst.modifiers.flag("op_sel_hi")
    x, y = _word(inst, 1, selected[0]), _word(inst, 2, selected[1])

    def run(waves: Waves) -> None:
        first, second = x(waves).copy(), y(waves).copy()
        waves.write_v(target, first)
        waves.write_v(target + 1, second)

    return step(run, inst.operands[:1], inst.operands[1:])


@register("v_fma_mix_f32", "v_fma_mixlo_f16", "v_fma_mixhi_f16")
def _mixed(inst: Instruction, architecture: Architecture) -> Step:
    """Each source is a float32, or a half that is widened; the sum is rounded once, to the result's type."""
    modifiers, target = inst.modifiers, number_of(inst.operands[0])
    halves, wide = modifiers.numbers("op_sel", (0, 0, 0)), modifiers.numbers("op_sel_hi", (0, 0, 0))
    reads = []
    for place in (1, 2, 3):
        operand = inst.operands[place]
        narrow = wide[place - 1] == 1
        bits = read_bits(inst, place, 16 if narrow else 32)
        if narrow:
            half = _half(bits, halves[place - 1], np.float16, 0)
            bits = _widened(half)
        reads.append(with_sign(bits, np.float32, operand.absolute, operand.negate))
    kind, clamp = inst.name.rpartition("_")[2], modifiers.flag("clamp")
    high = "mixhi" in inst.name
    x, y, z = reads

    def run(waves: Waves) -> None:
        value = fma(x(waves), y(waves), z(waves), np.float32 if kind == "f32" else np.float16)
        value = np.fmin(np.fmax(value, value.dtype.type(0)), value.dtype.type(1)) if clamp else value
        if kind == "f32":
            waves.write_vf(target, value)
            return
        half, old = np.ascontiguousarray(value).view(np.uint16).astype(np.uint32), waves.v[target]
        kept = old & np.uint32(0xFFFF) if high else old & np.uint32(0xFFFF0000)
        waves.write_v(target, kept | (half << np.uint32(16) if high else half))

    return step(run, inst.operands[:1], inst.operands[1:])


def _widened(half: Read) -> Read:
    return lambda waves: half(waves).astype(np.float32).view(np.uint32)
