"""Conversions between types (CDNA 3 ISA 12.7 and 12.11; RDNA 3 ISA 16.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.vectors import read, read_f64, write, write_f32, write_half, write_u64
from deepseek_backend_rocm.emulator.waves import Waves

__all__ = ["bf16_bits", "to_integer"]


def to_integer(kind: Any, rounding: Callable[[Array], Array] = np.trunc) -> Callable[[Array], Array]:
    """Conversion of floats that saturates; what is no number gives 0."""
    info = np.iinfo(kind)

    def convert(x: Array) -> Array:
        wide = rounding(x.astype(np.float64))
        result: Array = np.clip(
            np.nan_to_num(wide, nan=0.0, posinf=info.max, neginf=info.min), info.min, info.max
        ).astype(kind)
        return result

    return convert


def toward_zero(x: Array) -> Array:
    """float32 to float16, rounded toward zero."""
    nearest = x.astype(np.float16)
    beyond = np.abs(nearest.astype(np.float32)) > np.abs(x)
    return np.where(beyond & np.isfinite(x), np.nextafter(nearest, np.float16(0)), nearest)


def bf16_bits(x: Array) -> Array:
    """float32 to bfloat16, to nearest even, as uint16 bits; what is no number stays so."""
    bits = x.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    return (np.where(np.isnan(x), bits | np.uint32(0x400000), rounded) >> np.uint32(16)).astype(np.uint16)


_OF_F32: dict[str, Callable[[Array], Array]] = {
    "v_cvt_i32_f32": to_integer(np.int32),
    "v_cvt_u32_f32": to_integer(np.uint32),
    "v_cvt_rpi_i32_f32": to_integer(np.int32, lambda x: np.floor(x + 0.5)),
    "v_cvt_flr_i32_f32": to_integer(np.int32, np.floor),
}


@register(*_OF_F32)
def _from_f32(inst: Instruction, architecture: Architecture) -> Step:
    put, x, function = write(inst), read(inst, 1, "f32"), _OF_F32[inst.name]
    return step(lambda waves: put(waves, function(x(waves)).view(np.uint32)), inst.operands[:1], inst.operands[1:])


_TO_F32: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "v_cvt_f32_i32": ("i32", lambda x: x.astype(np.float32)),
    "v_cvt_f32_u32": ("u32", lambda x: x.astype(np.float32)),
    "v_cvt_f32_f16": ("f16", lambda x: x.astype(np.float32)),
    "v_cvt_f32_bf16": ("u16", lambda x: (x.astype(np.uint32) << np.uint32(16)).view(np.float32)),
    "v_cvt_f32_ubyte0": ("u32", lambda x: (x & np.uint32(255)).astype(np.float32)),
    "v_cvt_f32_ubyte1": ("u32", lambda x: (x >> np.uint32(8) & np.uint32(255)).astype(np.float32)),
    "v_cvt_f32_ubyte2": ("u32", lambda x: (x >> np.uint32(16) & np.uint32(255)).astype(np.float32)),
    "v_cvt_f32_ubyte3": ("u32", lambda x: (x >> np.uint32(24)).astype(np.float32)),
    "v_cvt_off_f32_i4": (
        "u32",
        lambda x: (((x & np.uint32(15)) ^ np.uint32(8)).astype(np.float32) - 8) / np.float32(16),
    ),
}


@register(*_TO_F32)
def _to_f32(inst: Instruction, architecture: Architecture) -> Step:
    kind, function = _TO_F32[inst.name]
    put, x = write_f32(inst), read(inst, 1, kind)
    return step(lambda waves: put(waves, function(x(waves))), inst.operands[:1], inst.operands[1:])


_TO_HALF: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "v_cvt_f16_f32": ("f32", lambda x: x.astype(np.float16)),
    "v_cvt_f16_i16": ("i16", lambda x: x.astype(np.float16)),
    "v_cvt_f16_u16": ("u16", lambda x: x.astype(np.float16)),
    "v_cvt_i16_f16": ("f16", to_integer(np.int16)),
    "v_cvt_u16_f16": ("f16", to_integer(np.uint16)),
    "v_cvt_bf16_f32": ("f32", bf16_bits),
}


@register(*_TO_HALF)
def _to_half(inst: Instruction, architecture: Architecture) -> Step:
    kind, function = _TO_HALF[inst.name]
    put, x = write_half(inst, architecture), read(inst, 1, kind)
    return step(lambda waves: put(waves, function(x(waves))), inst.operands[:1], inst.operands[1:])


@register("v_cvt_i32_i16", "v_cvt_u32_u16")
def _widen(inst: Instruction, architecture: Architecture) -> Step:
    signed = inst.name == "v_cvt_i32_i16"
    put, x = write(inst), read(inst, 1, "i16" if signed else "u16")
    wide = np.int32 if signed else np.uint32
    return step(lambda waves: put(waves, x(waves).astype(wide).view(np.uint32)), inst.operands[:1], inst.operands[1:])


_DOUBLES_IN: dict[str, Callable[[Array], Array]] = {
    "v_cvt_f32_f64": lambda x: x.astype(np.float32),
    "v_cvt_i32_f64": to_integer(np.int32),
    "v_cvt_u32_f64": to_integer(np.uint32),
}
_DOUBLES_OUT = {"v_cvt_f64_f32": "f32", "v_cvt_f64_i32": "i32", "v_cvt_f64_u32": "u32"}


@register(*_DOUBLES_IN)
def _from_f64(inst: Instruction, architecture: Architecture) -> Step:
    put, x, function = write(inst), read_f64(inst, 1), _DOUBLES_IN[inst.name]
    return step(lambda waves: put(waves, function(x(waves)).view(np.uint32)), inst.operands[:1], inst.operands[1:])


@register(*_DOUBLES_OUT)
def _to_f64(inst: Instruction, architecture: Architecture) -> Step:
    put, x = write_u64(inst), read(inst, 1, _DOUBLES_OUT[inst.name])

    def run(waves: Waves) -> None:
        put(waves, np.broadcast_to(x(waves).astype(np.float64), waves.mask.shape).view(np.uint64))

    return step(run, inst.operands[:1], inst.operands[1:])


def _pair(low: Array, high: Array) -> Array:
    """Two 16-bit values in 32 bits."""
    bits = (np.ascontiguousarray(part).view(np.uint16).astype(np.uint32) for part in (low, high))
    first, second = bits
    return first | second << np.uint32(16)


def _clip_to(kind: Any) -> Callable[[Array], Array]:
    info = np.iinfo(kind)
    return lambda x: np.clip(x, info.min, info.max).astype(kind)


_PAIRS: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "v_cvt_pkrtz_f16_f32": ("f32", toward_zero),
    "v_cvt_pk_rtz_f16_f32": ("f32", toward_zero),
    "v_cvt_pk_f16_f32": ("f32", lambda x: x.astype(np.float16)),
    "v_cvt_pk_bf16_f32": ("f32", bf16_bits),
    "v_cvt_pk_i16_i32": ("i32", _clip_to(np.int16)),
    "v_cvt_pk_u16_u32": ("u32", _clip_to(np.uint16)),
    "v_cvt_pk_i16_f32": ("f32", to_integer(np.int16)),
    "v_cvt_pk_u16_f32": ("f32", to_integer(np.uint16)),
    "v_pack_b32_f16": ("f16", lambda x: x),
}


@register(*_PAIRS)
def _to_pair(inst: Instruction, architecture: Architecture) -> Step:
    kind, function = _PAIRS[inst.name]
    put, x, y = write(inst), read(inst, 1, kind), read(inst, 2, kind)
    return step(
        lambda waves: put(waves, _pair(function(x(waves)), function(y(waves)))), inst.operands[:1], inst.operands[1:]
    )


@register("v_cvt_pk_u8_f32")
def _byte_into(inst: Instruction, architecture: Architecture) -> Step:
    """A float as a byte of the third operand; the second says which."""
    put, function = write(inst), to_integer(np.uint8, np.rint)
    x, y, z = read(inst, 1, "f32"), read(inst, 2, "u32"), read(inst, 3, "u32")

    def run(waves: Waves) -> None:
        shift = (y(waves) & np.uint32(3)) * np.uint32(8)
        put(waves, (z(waves) & ~(np.uint32(255) << shift)) | function(x(waves)).astype(np.uint32) << shift)

    return step(run, inst.operands[:1], inst.operands[1:])
