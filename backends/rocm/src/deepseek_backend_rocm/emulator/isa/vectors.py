"""Reading and writing vector operands, with what the encodings do on the way: SDWA, DPP, halves, sign and magnitude.

Sources: CDNA 3 ISA 6.3 "Output modifiers", 13.4 "SDWA", 13.5 "DPP"; RDNA 3 ISA 7.4 to 7.7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.faults import CodeError
from deepseek_backend_rocm.emulator.isa.dpp import Permutation, permutation
from deepseek_backend_rocm.emulator.isa.registry import AGPR
from deepseek_backend_rocm.emulator.isa.scalars import Read, constant
from deepseek_backend_rocm.emulator.operands import NULL, Operand
from deepseek_backend_rocm.emulator.waves import Waves

__all__ = [
    "number_of",
    "read",
    "read_bits",
    "read_f64",
    "read_lanes",
    "read_u64",
    "with_sign",
    "write",
    "write_f32",
    "write_half",
    "write_u64",
]

Write = Callable[[Waves, Array], None]
_KINDS: dict[str, Any] = {"u32": np.uint32, "i32": np.int32, "f32": np.float32}
_SELECT = {
    "BYTE_0": (0, 8),
    "BYTE_1": (8, 8),
    "BYTE_2": (16, 8),
    "BYTE_3": (24, 8),
    "WORD_0": (0, 16),
    "WORD_1": (16, 16),
}


def number_of(operand: Operand, offset: int = 0) -> int:
    """Place of a vector register among `Waves.v`."""
    return operand.index + offset + (AGPR if operand.kind == "a" else 0)


def read_bits(inst: Instruction, place: int, width: int = 32) -> Read:
    """Reads the bits of a source operand, [W, L], [W, 1] or [1, 1].

    Args:
        inst: the instruction.
        place: of the operand, the destination being 0.
        width: of the instruction's floats, for constants.
    """
    operand = inst.operands[place]
    plain = _register(operand, width)
    if inst.encoding == "sdwa":
        return _part(plain, inst.modifiers.word(f"src{place - 1}_sel", "DWORD"), operand.extend)
    if place == 1 and "dpp" in inst.encoding:
        moved = permutation(inst)
        return lambda waves: moved.read(waves, plain(waves))
    return plain


def _register(operand: Operand, width: int = 32) -> Read:
    if operand.kind in ("v", "a"):
        index = number_of(operand)
        if operand.half is not None:
            shift = np.uint32(16 * operand.half)
            return lambda waves: waves.v[index] >> shift & np.uint32(0xFFFF)
        return lambda waves: waves.v[index]
    if operand.kind == "s":
        index = operand.index
        if index == NULL:
            return lambda _: np.zeros((1, 1), np.uint32)
        return lambda waves: waves.s[index][:, None]
    if operand.text in ("scc", "src_scc"):
        return lambda waves: waves.scc.astype(np.uint32)[:, None]
    if operand.kind != "constant":
        raise CodeError(f"operand '{operand.text}' is not emulated", fix="report it, with the kernel")
    value = constant(operand.float_bits(width))[None]
    return lambda _: value


def _part(plain: Read, select: str, extend: bool) -> Read:
    """A byte or half of each value."""
    if select == "DWORD":
        return plain
    shift, size = _SELECT[select]
    if extend:
        left, right = np.uint32(32 - size - shift), np.int32(32 - size)
        return lambda waves: ((plain(waves) << left).view(np.int32) >> right).view(np.uint32)
    low, mask = np.uint32(shift), np.uint32((1 << size) - 1)
    return lambda waves: plain(waves) >> low & mask


def read(inst: Instruction, place: int, kind: str) -> Read:
    """Reads a source operand as `u32`, `i32`, `f32`, or `u16`, `i16`, `f16` (of those 16 bits' own type).

    Floats have their sign and magnitude modifiers applied; 16 bits are the half that `op_sel` chooses.
    """
    operand = inst.operands[place]
    if kind == "f32":
        return _read_f32(inst, place)
    if kind in ("u32", "i32"):
        bits = read_bits(inst, place)
        if operand.negate or operand.absolute:
            raise CodeError(f"'{inst.text}' changes the sign of an integer", fix="report it, with the kernel")
        return bits if kind == "u32" else lambda waves: bits(waves).view(np.int32)
    return _read_half(inst, place, kind)


def _read_f32(inst: Instruction, place: int) -> Read:
    operand = inst.operands[place]
    absolute, negate, index = operand.absolute, operand.negate, number_of(operand)
    plain = operand.kind in ("v", "a") and inst.encoding not in ("sdwa",) and "dpp" not in inst.encoding
    if plain and not absolute and not negate:
        return lambda waves: waves.vf[index]
    return with_sign(read_bits(inst, place), np.float32, absolute, negate)


def with_sign(bits: Read, kind: Any, absolute: bool, negate: bool) -> Read:
    """Reads floats, with their modifiers."""
    if not absolute and not negate:
        return lambda waves: bits(waves).view(kind)

    def run(waves: Waves) -> Array:
        value = bits(waves).view(kind)
        value = np.abs(value) if absolute else value
        result: Array = -value if negate else value
        return result

    return run


def _read_half(inst: Instruction, place: int, kind: str) -> Read:
    operand = inst.operands[place]
    bits = read_bits(inst, place, 16)
    selected = inst.modifiers.numbers("op_sel")
    high = place - 1 < len(selected) - 1 and selected[place - 1] == 1
    shift = np.uint32(16 if high and operand.kind != "constant" else 0)
    typed: Any = {"u16": np.uint16, "i16": np.int16, "f16": np.float16}[kind]

    def half(waves: Waves) -> Array:
        return (bits(waves) >> shift).astype(np.uint16)

    if kind == "f16":
        return with_sign(half, typed, operand.absolute, operand.negate)
    return lambda waves: half(waves).view(typed)


def read_u64(inst: Instruction, place: int, width: int = 64) -> Read:
    """Reads 64 bits of a source operand, [W, L], [W, 1] or [1, 1]."""
    operand = inst.operands[place]
    if operand.kind in ("v", "a"):
        low, high = number_of(operand), number_of(operand, 1)

        def run(waves: Waves) -> Array:
            pair = np.empty((*waves.v[low].shape, 2), np.uint32)
            pair[..., 0], pair[..., 1] = waves.v[low], waves.v[high]
            return pair.view(np.uint64)[..., 0]

        return run
    if operand.kind == "s" and operand.index != NULL:
        index = operand.index // 2
        return lambda waves: waves.s64[index][:, None]
    if operand.kind == "constant":
        bits = operand.float_bits(width)
        if width == 64 and operand.text.startswith("0x") and "f64" in inst.name:
            bits <<= 32  # a literal gives a double's upper half
        value = constant(bits, np.uint64)[None]
        return lambda _: value
    raise CodeError(f"operand '{operand.text}' is not emulated", fix="report it, with the kernel")


def read_f64(inst: Instruction, place: int) -> Read:
    """Reads doubles, with their modifiers."""
    operand = inst.operands[place]
    return with_sign(read_u64(inst, place), np.float64, operand.absolute, operand.negate)


def read_lanes(operand: Operand) -> Callable[[Waves], Array]:
    """Reads a mask of lanes, bool [W, L]."""
    index = operand.index
    if operand.kind == "s" and index != NULL:
        return lambda waves: waves.lanes_of(index)
    if operand.kind == "constant" and isinstance(operand.value, int):
        value = operand.value
        return lambda waves: np.array([[value >> lane & 1 for lane in range(waves.lanes)]], np.bool_)
    raise CodeError(f"operand '{operand.text}' is no mask of lanes", fix="report it, with the kernel")


def write(inst: Instruction, place: int = 0) -> Write:
    """Writes 32 bits per lane to a destination operand."""
    index = number_of(_vector(inst.operands[place]))
    if inst.encoding == "sdwa":
        return _write_part(
            index, inst.modifiers.word("dst_sel", "DWORD"), inst.modifiers.word("dst_unused", "UNUSED_PAD")
        )
    if "dpp" in inst.encoding:
        moved = permutation(inst)
        return lambda waves, bits: _write_where(waves, index, bits, moved)
    return lambda waves, bits: waves.write_v(index, bits)


def write_f32(inst: Instruction) -> Write:
    """Writes floats, after the output modifiers."""
    modifiers = inst.modifiers
    factor = {"": 1.0, "2": 2.0, "4": 4.0}[modifiers.word("mul")] * (0.5 if modifiers.word("div") == "2" else 1.0)
    clamp = modifiers.flag("clamp")
    index = number_of(_vector(inst.operands[0]))
    if factor == 1.0 and not clamp and inst.encoding != "sdwa" and "dpp" not in inst.encoding:
        return lambda waves, values: waves.write_vf(index, values)
    put, scale = write(inst), np.float32(factor)

    def run(waves: Waves, values: Array) -> None:
        values = values * scale if factor != 1.0 else values
        # Not a number clamps to 0.
        values = np.fmin(np.fmax(values, np.float32(0)), np.float32(1)) if clamp else values
        put(waves, np.ascontiguousarray(values).view(np.uint32))

    return run


def write_half(inst: Instruction, architecture: Architecture) -> Write:
    """Writes 16 bits per lane, of any 16-bit type; the other half is cleared or kept, as the architecture has it."""
    operand = _vector(inst.operands[0])
    modifiers, index = inst.modifiers, number_of(operand)
    if inst.encoding == "sdwa":
        put = write(inst)
        return lambda waves, values: put(waves, values.view(np.uint16).astype(np.uint32))
    selected = modifiers.numbers("op_sel")
    high = operand.half == 1 or (len(selected) > 1 and selected[-1] == 1)
    clears = architecture.zeroes_high_half and not selected
    put, clamp = write(inst), modifiers.flag("clamp")

    def run(waves: Waves, values: Array) -> None:
        if clamp:
            values = np.fmin(np.fmax(values, np.float16(0)), np.float16(1))
        bits = np.ascontiguousarray(values).view(np.uint16).astype(np.uint32)
        if high:
            bits = bits << np.uint32(16) | (waves.v[index] & np.uint32(0xFFFF))
        elif not clears:
            bits = bits | (waves.v[index] & np.uint32(0xFFFF0000))
        put(waves, bits)

    return run


def write_u64(inst: Instruction, place: int = 0) -> Write:
    """Writes 64 bits per lane."""
    operand = _vector(inst.operands[place])
    low, high = number_of(operand), number_of(operand, 1)

    def run(waves: Waves, bits: Array) -> None:
        halves = np.ascontiguousarray(bits).view(np.uint32).reshape(*bits.shape, 2)
        waves.write_v(low, halves[..., 0])
        waves.write_v(high, halves[..., 1])

    return run


def _write_part(index: int, select: str, unused: str) -> Write:
    if select == "DWORD":
        return lambda waves, bits: waves.write_v(index, bits)
    shift, size = _SELECT[select]
    mask, left = np.uint32((1 << size) - 1 << shift), np.uint32(shift)

    def run(waves: Waves, bits: Array) -> None:
        bits = bits << left & mask
        if unused == "UNUSED_PRESERVE":
            bits = bits | (waves.v[index] & ~mask)
        elif unused == "UNUSED_SEXT" and shift + size < 32:
            bits = ((bits << np.uint32(32 - shift - size)).view(np.int32) >> np.int32(32 - shift - size)).view(
                np.uint32
            )
        waves.write_v(index, bits)

    return run


def _write_where(waves: Waves, index: int, bits: Array, moved: Permutation) -> None:
    where = moved.writes(waves)
    np.copyto(waves.v[index], bits, where=waves.mask & where)


def _vector(operand: Operand) -> Operand:
    if operand.kind not in ("v", "a"):
        raise CodeError(f"'{operand.text}' is no vector register", fix="compile the model again")
    return operand
