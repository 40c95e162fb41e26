"""Scalar arithmetic: SOP1, SOP2 and SOPK (CDNA 3 ISA chapters 5 and 12.1 to 12.3; RDNA 3 ISA 16.1 to 16.3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.scalars import (
    Read,
    read_i32,
    read_u32,
    read_u64,
    write_u32,
    write_u64,
)
from deepseek_backend_rocm.emulator.operands import EXEC, Operand
from deepseek_backend_rocm.emulator.waves import Waves

__all__: list[str] = []

Result = tuple[Array, Array | None]
"""Bits, and the condition where the instruction sets one."""
_U32, _U64 = np.uint32, np.uint64


def _nonzero(function: Callable[..., Array]) -> Callable[..., Result]:
    def run(*args: Array) -> Result:
        bits = function(*args)
        return bits, bits != 0

    return run


def _plain(function: Callable[..., Array]) -> Callable[..., Result]:
    return lambda *args: (function(*args), None)


def _add_u32(x: Array, y: Array) -> Result:
    total = x.astype(_U64) + y
    return total.astype(_U32), total >> _U64(32) != 0


def _sub_u32(x: Array, y: Array) -> Result:
    return x - y, y > x


def _signed(function: Callable[..., Array]) -> Callable[..., Result]:
    """On signed numbers; the condition is overflow."""

    def run(x: Array, y: Array) -> Result:
        wide = function(x.view(np.int32).astype(np.int64), y.view(np.int32).astype(np.int64))
        narrow = wide.astype(np.int32)
        return narrow.view(_U32), narrow != wide

    return run


def _shift_add(places: int) -> Callable[..., Result]:
    def run(x: Array, y: Array) -> Result:
        total = (x.astype(_U64) << _U64(places)) + y
        return total.astype(_U32), total >> _U64(32) != 0

    return run


def _pick(signed: bool, larger: bool) -> Callable[..., Result]:
    def run(x: Array, y: Array) -> Result:
        p, q = (x.view(np.int32), y.view(np.int32)) if signed else (x, y)
        first = p >= q if larger else p < q
        return np.where(first, x, y), first

    return run


def _extract(signed: bool, width: int) -> Callable[..., Result]:
    """A bit field: offset in bits 0 to 5, width from bit 16 on."""

    def run(x: Array, y: Array) -> Result:
        shape = np.broadcast(x, y).shape
        offset = (y & (width - 1)).astype(np.int64)
        size = np.minimum((y >> _U32(16)) & _U32(127), width).astype(np.int64)
        value = np.broadcast_to(x, shape).astype(_U64) >> offset.astype(_U64)
        mask = np.where(size >= 64, ~_U64(0), (_U64(1) << np.minimum(size, 63).astype(_U64)) - _U64(1))
        value = value & mask
        if signed:
            if width == 32:  # an arithmetic shift of the whole value feeds bits beyond its top
                value = (np.broadcast_to(x, shape).view(np.int32).astype(np.int64) >> offset).view(_U64) & mask
            sign = _U64(1) << np.maximum(size - 1, 0).astype(_U64)
            value = np.where(size > 0, (value ^ sign) - sign, _U64(0))
        bits = value.astype(_U32) if width == 32 else value
        return bits, bits != 0

    return run


def _mul_hi(signed: bool) -> Callable[..., Array]:
    def run(x: Array, y: Array) -> Array:
        if signed:
            return ((x.view(np.int32).astype(np.int64) * y.view(np.int32)) >> 32).astype(np.int32).view(_U32)
        return (x.astype(_U64) * y >> _U64(32)).astype(_U32)

    return run


def _pack(low: int, high: int) -> Callable[..., Array]:
    def run(x: Array, y: Array) -> Array:
        return (x >> _U32(16 * low) & _U32(0xFFFF)) | (y >> _U32(16 * high) << _U32(16))

    return run


_BINARY_32: dict[str, Callable[..., Result]] = {
    "s_add_u32": _add_u32,
    "s_sub_u32": _sub_u32,
    "s_add_i32": _signed(np.add),
    "s_sub_i32": _signed(np.subtract),
    "s_absdiff_i32": _nonzero(lambda x, y: np.abs(x.view(np.int32).astype(np.int64) - y.view(np.int32)).astype(_U32)),
    "s_mul_i32": _plain(np.multiply),
    "s_mul_hi_u32": _plain(_mul_hi(False)),
    "s_mul_hi_i32": _plain(_mul_hi(True)),
    "s_lshl_b32": _nonzero(lambda x, y: x << (y & _U32(31))),
    "s_lshr_b32": _nonzero(lambda x, y: x >> (y & _U32(31))),
    "s_ashr_i32": _nonzero(lambda x, y: (x.view(np.int32) >> (y & _U32(31)).view(np.int32)).view(_U32)),
    "s_and_b32": _nonzero(np.bitwise_and),
    "s_or_b32": _nonzero(np.bitwise_or),
    "s_xor_b32": _nonzero(np.bitwise_xor),
    "s_andn2_b32": _nonzero(lambda x, y: x & ~y),
    "s_orn2_b32": _nonzero(lambda x, y: x | ~y),
    "s_nand_b32": _nonzero(lambda x, y: ~(x & y)),
    "s_nor_b32": _nonzero(lambda x, y: ~(x | y)),
    "s_xnor_b32": _nonzero(lambda x, y: ~(x ^ y)),
    "s_max_i32": _pick(True, True),
    "s_min_i32": _pick(True, False),
    "s_max_u32": _pick(False, True),
    "s_min_u32": _pick(False, False),
    "s_bfe_u32": _extract(False, 32),
    "s_bfe_i32": _extract(True, 32),
    "s_bfm_b32": _plain(lambda x, y: ((_U32(1) << (x & _U32(31))) - _U32(1)) << (y & _U32(31))),
    "s_lshl1_add_u32": _shift_add(1),
    "s_lshl2_add_u32": _shift_add(2),
    "s_lshl3_add_u32": _shift_add(3),
    "s_lshl4_add_u32": _shift_add(4),
    "s_pack_ll_b32_b16": _plain(_pack(0, 0)),
    "s_pack_lh_b32_b16": _plain(_pack(0, 1)),
    "s_pack_hl_b32_b16": _plain(_pack(1, 0)),
    "s_pack_hh_b32_b16": _plain(_pack(1, 1)),
}
_BINARY_64: dict[str, Callable[..., Result]] = {
    "s_and_b64": _nonzero(np.bitwise_and),
    "s_or_b64": _nonzero(np.bitwise_or),
    "s_xor_b64": _nonzero(np.bitwise_xor),
    "s_andn2_b64": _nonzero(lambda x, y: x & ~y),
    "s_orn2_b64": _nonzero(lambda x, y: x | ~y),
    "s_nand_b64": _nonzero(lambda x, y: ~(x & y)),
    "s_nor_b64": _nonzero(lambda x, y: ~(x | y)),
    "s_xnor_b64": _nonzero(lambda x, y: ~(x ^ y)),
    "s_add_u64": _plain(np.add),
    "s_sub_u64": _plain(np.subtract),
    "s_mul_u64": _plain(np.multiply),
}
_SHIFTS_64: dict[str, Callable[..., Result]] = {
    "s_lshl_b64": _nonzero(lambda x, y: x << (y.astype(_U64) & _U64(63))),
    "s_lshr_b64": _nonzero(lambda x, y: x >> (y.astype(_U64) & _U64(63))),
    "s_ashr_i64": _nonzero(lambda x, y: (x.view(np.int64) >> (y.astype(np.int64) & 63)).view(_U64)),
    "s_bfe_u64": _extract(False, 64),
    "s_bfe_i64": _extract(True, 64),
}


def _count_leading(x: Array) -> Array:
    """Zeros before the first one; all ones for zero."""
    exponent = np.frexp(x.astype(np.float64))[1]
    return np.where(x == 0, ~_U32(0), (32 - exponent).astype(_U32))


def _count_trailing(x: Array) -> Array:
    return np.where(x == 0, ~_U32(0), np.frexp((x & (~x + _U32(1))).astype(np.float64))[1].astype(_U32) - _U32(1))


def _trailing_64(x: Array) -> Array:
    low, high = (x & _U64(0xFFFFFFFF)).astype(_U32), (x >> _U64(32)).astype(_U32)
    return np.where(low != 0, _count_trailing(low), np.where(high != 0, _count_trailing(high) + _U32(32), ~_U32(0)))


def _reverse(x: Array) -> Array:
    bits = np.unpackbits(np.ascontiguousarray(x).view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")
    return np.packbits(bits[:, ::-1], axis=1, bitorder="little").view(_U32)[:, 0]


_UNARY_32: dict[str, Callable[..., Result]] = {
    "s_mov_b32": _plain(lambda x: x),
    "s_not_b32": _nonzero(np.invert),
    "s_abs_i32": _nonzero(lambda x: np.abs(x.view(np.int32)).view(_U32)),
    "s_brev_b32": _plain(_reverse),
    "s_bcnt1_i32_b32": _nonzero(lambda x: np.bitwise_count(x).astype(_U32)),
    "s_ff1_i32_b32": _plain(_count_trailing),
    "s_flbit_i32_b32": _plain(_count_leading),
    "s_sext_i32_i8": _plain(lambda x: x.astype(np.int8).astype(np.int32).view(_U32)),
    "s_sext_i32_i16": _plain(lambda x: x.astype(np.int16).astype(np.int32).view(_U32)),
}
_UNARY_64: dict[str, Callable[..., Result]] = {
    "s_mov_b64": _plain(lambda x: x),
    "s_not_b64": _nonzero(np.invert),
}


def _build(
    inst: Instruction, function: Callable[..., Result], reads: list[Read], wide: bool, sources: tuple[Operand, ...]
) -> Step:
    target = inst.operands[0]
    write = write_u64(target) if wide else write_u32(target)

    def run(waves: Waves) -> None:
        bits, condition = function(*(read(waves) for read in reads))
        write(waves, bits)
        if condition is not None:
            waves.write_scc(condition)

    return step(run, [target], sources)


@register(*_BINARY_32, *_UNARY_32)
def _alu_32(inst: Instruction, architecture: Architecture) -> Step:
    sources = inst.operands[1:]
    function = (_BINARY_32 | _UNARY_32)[inst.name]
    return _build(inst, function, [read_u32(operand) for operand in sources], False, sources)


@register(*_BINARY_64, *_UNARY_64)
def _alu_64(inst: Instruction, architecture: Architecture) -> Step:
    sources = inst.operands[1:]
    function = (_BINARY_64 | _UNARY_64)[inst.name]
    return _build(inst, function, [read_u64(operand) for operand in sources], True, sources)


@register(*_SHIFTS_64)
def _shift_64(inst: Instruction, architecture: Architecture) -> Step:
    _, value, count = inst.operands
    return _build(inst, _SHIFTS_64[inst.name], [read_u64(value), read_u32(count)], True, (value, count))


@register("s_bcnt1_i32_b64", "s_ff1_i32_b64")
def _narrowing(inst: Instruction, architecture: Architecture) -> Step:
    count = _nonzero(lambda x: np.bitwise_count(x).astype(_U32))
    function = count if inst.name == "s_bcnt1_i32_b64" else _plain(_trailing_64)
    return _build(inst, function, [read_u64(inst.operands[1])], False, inst.operands[1:])


@register("s_bfm_b64")
def _field_mask(inst: Instruction, architecture: Architecture) -> Step:
    def function(x: Array, y: Array) -> Result:
        ones = (_U64(1) << (x.astype(_U64) & _U64(63))) - _U64(1)
        return ones << (y.astype(_U64) & _U64(63)), None

    return _build(inst, function, [read_u32(operand) for operand in inst.operands[1:]], True, inst.operands[1:])


@register("s_addc_u32", "s_subb_u32")
def _carry(inst: Instruction, architecture: Architecture) -> Step:
    target, first, second = inst.operands
    x, y, write = read_i64(first), read_i64(second), write_u32(target)
    sign = 1 if inst.name == "s_addc_u32" else -1

    def run(waves: Waves) -> None:
        total = x(waves) + sign * (y(waves) + waves.scc)
        write(waves, total.astype(_U32))
        waves.write_scc(total >> 32 != 0)

    return step(run, [target], [first, second])


def read_i64(operand: Operand) -> Read:
    """Reads 32 bits as an unsigned number, int64 [W] or [1]."""
    read = read_u32(operand)
    return lambda waves: read(waves).astype(np.int64)


@register("s_cselect_b32", "s_cselect_b64")
def _select(inst: Instruction, architecture: Architecture) -> Step:
    target, first, second = inst.operands
    wide = inst.name.endswith("64")
    reader, write = (read_u64, write_u64(target)) if wide else (read_u32, write_u32(target))
    x, y = reader(first), reader(second)
    return step(lambda waves: write(waves, np.where(waves.scc, x(waves), y(waves))), [target], [first, second])


@register("s_cmov_b32", "s_cmov_b64")
def _move_if(inst: Instruction, architecture: Architecture) -> Step:
    target, source = inst.operands
    wide = inst.name.endswith("64")
    reader, write = (read_u64, write_u64(target)) if wide else (read_u32, write_u32(target))
    x, old = reader(source), reader(target)
    return step(lambda waves: write(waves, np.where(waves.scc, x(waves), old(waves))), [target], [source, target])


def _short(operand: Operand) -> Array:
    """The 16-bit constant of a SOPK instruction, extended with its sign."""
    return np.array([operand.value], np.int64).astype(np.int16).astype(np.int32)


@register("s_movk_i32", "s_cmovk_i32", "s_addk_i32", "s_mulk_i32")
def _with_short(inst: Instruction, architecture: Architecture) -> Step:
    target, operand = inst.operands
    value, old, write, name = _short(operand), read_i32(target), write_u32(target), inst.name
    add = _signed(np.add)

    def run(waves: Waves) -> None:
        if name == "s_movk_i32":
            write(waves, value.view(_U32))
        elif name == "s_cmovk_i32":
            write(waves, np.where(waves.scc, value, old(waves)).view(_U32))
        elif name == "s_mulk_i32":
            write(waves, (old(waves) * value).view(_U32))
        else:
            bits, overflow = add(old(waves), value)
            write(waves, bits)
            waves.write_scc(np.asarray(overflow))

    return step(run, [target], [] if name == "s_movk_i32" else [target])


_SAVES: dict[str, Callable[[Array, Array], Array]] = {
    "and": lambda source, mask: source & mask,
    "or": lambda source, mask: source | mask,
    "xor": lambda source, mask: source ^ mask,
    "andn2": lambda source, mask: source & ~mask,
    "orn2": lambda source, mask: source | ~mask,
    "andn1": lambda source, mask: ~source & mask,
    "orn1": lambda source, mask: ~source | mask,
}


@register(*(f"s_{name}_saveexec_b{width}" for name in _SAVES for width in (32, 64)))
def _save_mask(inst: Instruction, architecture: Architecture) -> Step:
    target, source = inst.operands
    function, wide = _SAVES[inst.name.split("_")[1]], inst.name.endswith("64")
    mask = Operand("s", "exec", EXEC, 2 if wide else 1)
    reader, writer = (read_u64, write_u64) if wide else (read_u32, write_u32)
    read, old, write, write_mask = reader(source), reader(mask), writer(target), writer(mask)

    def run(waves: Waves) -> None:
        before = old(waves).copy()
        new = function(read(waves), before)
        write(waves, before)
        write_mask(waves, new)
        waves.write_scc(new != 0)

    return step(run, [target, mask], [source, mask])


@register("s_bitset0_b32", "s_bitset1_b32")
def _set_bit(inst: Instruction, architecture: Architecture) -> Step:
    target, source = inst.operands
    read, old, write, on = read_u32(source), read_u32(target), write_u32(target), inst.name[8] == "1"

    def run(waves: Waves) -> None:
        bit = _U32(1) << (read(waves) & _U32(31))
        write(waves, old(waves) | bit if on else old(waves) & ~bit)

    return step(run, [target], [source, target])
