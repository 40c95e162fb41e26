"""Integer arithmetic of vectors: VOP1, VOP2 and VOP3 (CDNA 3 ISA 12.7 to 12.11; RDNA 3 ISA 16.7 to 16.9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.faults import CodeError
from deepseek_backend_rocm.emulator.isa.dpp import permutation
from deepseek_backend_rocm.emulator.isa.integers import (
    align_bit,
    align_byte,
    bit_field,
    bit_field_mask,
    extract_signed,
    extract_unsigned,
    leading_signs,
    leading_zeros,
    median,
    mul_hi_i32,
    mul_hi_u32,
    permute_bytes,
    reverse_bits,
    saturated_bytes,
    signed_24,
    sum_of_differences,
    trailing_zeros,
    unsigned_24,
)
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.vectors import read, read_lanes, read_u64, write, write_half, write_u64
from deepseek_backend_rocm.emulator.waves import Waves

__all__: list[str] = []

Function = Callable[..., Array]
_U = np.uint32
_31 = np.uint32(31)

_U32: dict[str, Function] = {
    "v_mov_b32": lambda x: x,
    "v_accvgpr_read_b32": lambda x: x,
    "v_accvgpr_write_b32": lambda x: x,
    "v_accvgpr_mov_b32": lambda x: x,
    "v_not_b32": np.invert,
    "v_bfrev_b32": reverse_bits,
    "v_ffbh_u32": leading_zeros,
    "v_ffbl_b32": trailing_zeros,
    "v_ffbh_i32": leading_signs,
    "v_add_u32": np.add,
    "v_sub_u32": np.subtract,
    "v_subrev_u32": lambda x, y: y - x,
    "v_and_b32": np.bitwise_and,
    "v_or_b32": np.bitwise_or,
    "v_xor_b32": np.bitwise_xor,
    "v_xnor_b32": lambda x, y: ~(x ^ y),
    "v_lshlrev_b32": lambda x, y: y << (x & _31),
    "v_lshrrev_b32": lambda x, y: y >> (x & _31),
    "v_ashrrev_i32": lambda x, y: (y.view(np.int32) >> (x & _31).view(np.int32)).view(_U),
    "v_max_u32": np.maximum,
    "v_min_u32": np.minimum,
    "v_mul_lo_u32": np.multiply,
    "v_mul_lo_i32": np.multiply,
    "v_mul_hi_u32": mul_hi_u32,
    "v_mul_hi_i32": mul_hi_i32,
    "v_mul_u32_u24": lambda x, y: unsigned_24(x) * unsigned_24(y),
    "v_mul_i32_i24": lambda x, y: (signed_24(x) * signed_24(y)).view(_U),
    "v_mul_hi_u32_u24": lambda x, y: mul_hi_u32(unsigned_24(x), unsigned_24(y)),
    "v_mad_u32_u24": lambda x, y, z: unsigned_24(x) * unsigned_24(y) + z,
    "v_mad_i32_i24": lambda x, y, z: (signed_24(x) * signed_24(y)).view(_U) + z,
    "v_or3_b32": lambda x, y, z: x | y | z,
    "v_xor3_b32": lambda x, y, z: x ^ y ^ z,
    "v_and_or_b32": lambda x, y, z: (x & y) | z,
    "v_lshl_or_b32": lambda x, y, z: (x << (y & _31)) | z,
    "v_lshl_add_u32": lambda x, y, z: (x << (y & _31)) + z,
    "v_add_lshl_u32": lambda x, y, z: (x + y) << (z & _31),
    "v_add3_u32": lambda x, y, z: x + y + z,
    "v_xad_u32": lambda x, y, z: (x ^ y) + z,
    "v_max3_u32": lambda x, y, z: np.maximum(np.maximum(x, y), z),
    "v_min3_u32": lambda x, y, z: np.minimum(np.minimum(x, y), z),
    "v_med3_u32": median,
    "v_maxmin_u32": lambda x, y, z: np.minimum(np.maximum(x, y), z),
    "v_minmax_u32": lambda x, y, z: np.maximum(np.minimum(x, y), z),
    "v_bfe_u32": extract_unsigned,
    "v_bfe_i32": extract_signed,
    "v_bfi_b32": bit_field,
    "v_bfm_b32": bit_field_mask,
    "v_perm_b32": permute_bytes,
    "v_alignbit_b32": align_bit,
    "v_alignbyte_b32": align_byte,
    "v_bcnt_u32_b32": lambda x, y: np.bitwise_count(x).astype(_U) + y,
    "v_sad_u8": sum_of_differences,
    "v_sat_pk_u8_i16": saturated_bytes,
}


def _signed(function: Function) -> Function:
    return lambda *args: function(*(x.view(np.int32) for x in args)).view(_U)


_U32 |= {
    "v_max_i32": _signed(np.maximum),
    "v_min_i32": _signed(np.minimum),
    "v_max3_i32": _signed(lambda x, y, z: np.maximum(np.maximum(x, y), z)),
    "v_min3_i32": _signed(lambda x, y, z: np.minimum(np.minimum(x, y), z)),
    "v_med3_i32": _signed(median),
    "v_maxmin_i32": _signed(lambda x, y, z: np.minimum(np.maximum(x, y), z)),
    "v_minmax_i32": _signed(lambda x, y, z: np.maximum(np.minimum(x, y), z)),
}
_SATURATING: dict[str, tuple[Function, int, int]] = {
    "v_add_u32": (np.add, 0, 2**32 - 1),
    "v_sub_u32": (np.subtract, 0, 2**32 - 1),
    "v_subrev_u32": (lambda x, y: y - x, 0, 2**32 - 1),
}


@register(*_U32)
def _u32(inst: Instruction, architecture: Architecture) -> Step:
    function = _U32[inst.name]
    if inst.name in _SATURATING and inst.modifiers.flag("clamp"):
        function = _saturating(*_SATURATING[inst.name])
    put = write(inst)
    reads = [read(inst, place, "u32") for place in range(1, len(inst.operands))]
    sources = list(inst.operands[1:])
    partial = "dpp" in inst.encoding and permutation(inst).keeps
    if partial or inst.modifiers.word("dst_unused") == "UNUSED_PRESERVE":
        sources.append(inst.operands[0])
    if len(reads) == 1:
        (one,) = reads
        return step(lambda waves: put(waves, function(one(waves))), inst.operands[:1], sources)
    if len(reads) == 2:
        one, two = reads
        return step(lambda waves: put(waves, function(one(waves), two(waves))), inst.operands[:1], sources)
    one, two, three = reads
    return step(lambda waves: put(waves, function(one(waves), two(waves), three(waves))), inst.operands[:1], sources)


def _saturating(function: Function, low: int, high: int) -> Function:
    return lambda x, y: np.clip(function(x.astype(np.int64), y.astype(np.int64)), low, high).astype(_U)


_SIGNED_SATURATING: dict[str, Function] = {"v_add_i32": np.add, "v_sub_i32": np.subtract}


@register(*_SIGNED_SATURATING)
def _i32(inst: Instruction, architecture: Architecture) -> Step:
    function = _SIGNED_SATURATING[inst.name]
    clamp, put = inst.modifiers.flag("clamp"), write(inst)
    x, y = (read(inst, place, "i32") for place in (1, 2))
    info = np.iinfo(np.int32)

    def run(waves: Waves) -> None:
        wide = function(x(waves).astype(np.int64), y(waves).astype(np.int64))
        wide = np.clip(wide, info.min, info.max) if clamp else wide
        put(waves, wide.astype(np.int32).view(_U))

    return step(run, inst.operands[:1], inst.operands[1:])


_U16: dict[str, tuple[str, Function]] = {
    "v_add_u16": ("u16", np.add),
    "v_sub_u16": ("u16", np.subtract),
    "v_subrev_u16": ("u16", lambda x, y: y - x),
    "v_add_i16": ("i16", np.add),
    "v_sub_i16": ("i16", np.subtract),
    "v_mul_lo_u16": ("u16", np.multiply),
    "v_mad_u16": ("u16", lambda x, y, z: x * y + z),
    "v_mad_i16": ("i16", lambda x, y, z: x * y + z),
    "v_mad_legacy_u16": ("u16", lambda x, y, z: x * y + z),
    "v_max_u16": ("u16", np.maximum),
    "v_min_u16": ("u16", np.minimum),
    "v_max_i16": ("i16", np.maximum),
    "v_min_i16": ("i16", np.minimum),
    "v_and_b16": ("u16", np.bitwise_and),
    "v_or_b16": ("u16", np.bitwise_or),
    "v_xor_b16": ("u16", np.bitwise_xor),
    "v_not_b16": ("u16", np.invert),
    "v_mov_b16": ("u16", lambda x: x),
    "v_lshlrev_b16": ("u16", lambda x, y: y << (x & np.uint16(15))),
    "v_lshrrev_b16": ("u16", lambda x, y: y >> (x & np.uint16(15))),
    "v_ashrrev_i16": ("i16", lambda x, y: y >> (x & np.int16(15))),
    "v_med3_i16": ("i16", median),
    "v_med3_u16": ("u16", median),
    "v_max3_i16": ("i16", lambda x, y, z: np.maximum(np.maximum(x, y), z)),
    "v_min3_i16": ("i16", lambda x, y, z: np.minimum(np.minimum(x, y), z)),
}


@register(*_U16)
def _u16(inst: Instruction, architecture: Architecture) -> Step:
    kind, function = _U16[inst.name]
    if inst.modifiers.flag("clamp"):
        raise CodeError(f"'{inst.text}' saturates, which is not emulated for 16 bits", fix="report it, with the kernel")
    put = write_half(inst, architecture)
    reads = [read(inst, place, kind) for place in range(1, len(inst.operands))]
    return step(
        lambda waves: put(waves, function(*(one(waves) for one in reads))), inst.operands[:1], inst.operands[1:]
    )


@register("v_mad_u32_u16", "v_mad_i32_i16")
def _mad_16(inst: Instruction, architecture: Architecture) -> Step:
    kind, wide = ("u16", np.uint32) if inst.name.endswith("u16") else ("i16", np.int32)
    put = write(inst)
    x, y, z = read(inst, 1, kind), read(inst, 2, kind), read(inst, 3, "u32")

    def run(waves: Waves) -> None:
        product: Array = x(waves).astype(wide) * y(waves).astype(wide)
        put(waves, product.view(_U) + z(waves))

    return step(run, inst.operands[:1], inst.operands[1:])


@register("v_cndmask_b32")
def _select(inst: Instruction, architecture: Architecture) -> Step:
    """The second source where the mask is set; signs are changed bitwise."""
    put, mask = write(inst), read_lanes(inst.operands[3])
    x, y = (read(inst, place, "f32") for place in (1, 2))
    if not any(operand.negate or operand.absolute for operand in inst.operands):
        x, y = (read(inst, place, "u32") for place in (1, 2))
    return step(
        lambda waves: put(waves, np.where(mask(waves), y(waves), x(waves)).view(_U)),
        inst.operands[:1],
        inst.operands[1:],
    )


@register("v_cndmask_b16")
def _select_half(inst: Instruction, architecture: Architecture) -> Step:
    put, mask = write_half(inst, architecture), read_lanes(inst.operands[3])
    x, y = (read(inst, place, "u16") for place in (1, 2))
    return step(
        lambda waves: put(waves, np.where(mask(waves), y(waves), x(waves))), inst.operands[:1], inst.operands[1:]
    )


@register("v_add_co_u32", "v_sub_co_u32", "v_subrev_co_u32", "v_addc_co_u32", "v_subb_co_u32", "v_subbrev_co_u32")
def _carry(inst: Instruction, architecture: Architecture) -> Step:
    target, carried = inst.operands[0], inst.operands[1]
    put = write(inst)
    x, y = (_shifted_read(inst, place) for place in (2, 3))
    if "rev" in inst.name:
        x, y = y, x
    sign = 1 if "add" in inst.name else -1
    carry = read_lanes(inst.operands[4]) if len(inst.operands) > 4 else None
    index = carried.index
    keep = carried.text != "null"

    def run(waves: Waves) -> None:
        second = y(waves).astype(np.int64)
        total = x(waves).astype(np.int64) + sign * (second + carry(waves) if carry is not None else second)
        put(waves, total.astype(_U))
        if keep:
            waves.write_lanes(index, np.broadcast_to(total >> 32 != 0, waves.mask.shape))

    return step(run, [target, carried], inst.operands[2:])


def _shifted_read(inst: Instruction, place: int) -> Callable[[Waves], Array]:
    """A source behind two destinations; SDWA and DPP number their sources from the first of them."""
    shifted = replace(inst, operands=(inst.operands[0], *inst.operands[2:]))
    return read(shifted, place - 1, "u32")


_WIDE: dict[str, Function] = {
    "v_lshlrev_b64": lambda x, y: y << (x.astype(np.uint64) & np.uint64(63)),
    "v_lshrrev_b64": lambda x, y: y >> (x.astype(np.uint64) & np.uint64(63)),
    "v_ashrrev_i64": lambda x, y: (y.view(np.int64) >> (x.astype(np.int64) & 63)).view(np.uint64),
}


@register(*_WIDE)
def _shift_64(inst: Instruction, architecture: Architecture) -> Step:
    function, put = _WIDE[inst.name], write_u64(inst)
    x, y = read(inst, 1, "u32"), read_u64(inst, 2)
    return step(lambda waves: put(waves, function(x(waves), y(waves))), inst.operands[:1], inst.operands[1:])


@register("v_mov_b64")
def _move_64(inst: Instruction, architecture: Architecture) -> Step:
    put, x = write_u64(inst), read_u64(inst, 1)
    return step(lambda waves: put(waves, x(waves)), inst.operands[:1], inst.operands[1:])


@register("v_lshl_add_u64")
def _shift_add_64(inst: Instruction, architecture: Architecture) -> Step:
    put = write_u64(inst)
    x, count, y = read_u64(inst, 1), read(inst, 2, "u32"), read_u64(inst, 3)
    return step(
        lambda waves: put(waves, (x(waves) << (count(waves) & np.uint32(7)).astype(np.uint64)) + y(waves)),
        inst.operands[:1],
        inst.operands[1:],
    )


@register("v_mad_u64_u32", "v_mad_i64_i32")
def _mad_64(inst: Instruction, architecture: Architecture) -> Step:
    target, carried = inst.operands[0], inst.operands[1]
    put, signed = write_u64(inst), inst.name == "v_mad_i64_i32"
    x, y = (_shifted_read(inst, place) for place in (2, 3))
    z, index, keep = read_u64(inst, 4), carried.index, carried.text != "null"

    def run(waves: Waves) -> None:
        if signed:
            product = (x(waves).view(np.int32).astype(np.int64) * y(waves).view(np.int32)).view(np.uint64)
        else:
            product = x(waves).astype(np.uint64) * y(waves)
        added = z(waves)
        total = product + added
        put(waves, np.broadcast_to(total, waves.mask.shape))
        if keep:
            overflow = total < added if not signed else (product ^ total) & (added ^ total) >> np.uint64(63) != 0
            waves.write_lanes(index, np.broadcast_to(overflow, waves.mask.shape))

    # Compilers leave the addend's upper half undefined where they use the result's lower one alone.
    sources = [*inst.operands[2:4], replace(inst.operands[4], count=1)]
    return step(run, [target, carried], sources)


@register("v_bitop3_b32", "v_bitop3_b16")
def _truth_table(inst: Instruction, architecture: Architecture) -> Step:
    """Any function of three bits: bit (x y z) of the table (CDNA 4 ISA, V_BITOP3)."""
    truth = inst.modifiers.number("bitop3")
    half = inst.name.endswith("16")
    kind = "u16" if half else "u32"
    put = write_half(inst, architecture) if half else write(inst)
    reads = [read(inst, place, kind) for place in (1, 2, 3)]

    def run(waves: Waves) -> None:
        x, y, z = (one(waves) for one in reads)
        result = np.zeros_like(x & y & z)
        for row in range(8):
            if truth >> row & 1:
                result |= (x if row & 4 else ~x) & (y if row & 2 else ~y) & (z if row & 1 else ~z)
        put(waves, result)

    return step(run, inst.operands[:1], inst.operands[1:])
