"""Arithmetic of floats: VOP1, VOP2 and VOP3 on float32, float16 and float64 (CDNA 3 ISA 12.7 to 12.11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.isa.floats import (
    divide_fixup,
    divide_fmas,
    divide_scale,
    fma,
    maximum,
    median,
    minimum,
    through_f64,
)
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.vectors import read, read_f64, write, write_f32, write_half, write_u64
from deepseek_backend_rocm.emulator.operands import VCC, Operand
from deepseek_backend_rocm.emulator.waves import Waves

__all__: list[str] = []

Function = Callable[..., Array]


def _fraction(x: Array) -> Array:
    """X - floor(x), below 1 even where it would round to 1."""
    below = np.nextafter(x.dtype.type(1), x.dtype.type(0))
    result: Array = np.minimum(x - np.floor(x), below)
    return result


def _mantissa(x: Array) -> Array:
    return np.where(np.isfinite(x), np.frexp(x)[0], x)


_TURN = 2 * np.pi
_COMMON: dict[str, Function] = {
    "add": np.add,
    "sub": np.subtract,
    "subrev": lambda x, y: y - x,
    "mul": np.multiply,
    "fma": fma,
    "max": maximum,
    "min": minimum,
    "max3": lambda x, y, z: maximum(maximum(x, y), z),
    "min3": lambda x, y, z: minimum(minimum(x, y), z),
    "med3": median,
    "maxmin": lambda x, y, z: minimum(maximum(x, y), z),
    "minmax": lambda x, y, z: maximum(minimum(x, y), z),
    "maximum3": lambda x, y, z: np.maximum(np.maximum(x, y), z),
    "minimum3": lambda x, y, z: np.minimum(np.minimum(x, y), z),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "rndne": np.rint,
    "fract": _fraction,
    "rcp": through_f64(lambda x: 1 / x),
    "sqrt": through_f64(np.sqrt),
    "rsq": through_f64(lambda x: 1 / np.sqrt(x)),
    "exp": through_f64(np.exp2),
    "log": through_f64(np.log2),
    "sin": through_f64(lambda x: np.sin(_TURN * x)),
    "cos": through_f64(lambda x: np.cos(_TURN * x)),
    "canonicalize": lambda x: x,
    "div_fixup": divide_fixup,
    "frexp_mant": _mantissa,
}
_F32 = {f"v_{name}_f32": function for name, function in _COMMON.items()} | {
    "v_rcp_iflag_f32": through_f64(lambda x: 1 / x),
    "v_mad_f32": lambda x, y, z: x * y + z,
    "v_mul_legacy_f32": lambda x, y: np.where((x == 0) | (y == 0), np.float32(0), x * y),
}
_F16 = {f"v_{name}_f16": function for name, function in _COMMON.items()}
_F64 = {
    f"v_{name}_f64": _COMMON[name]
    for name in ("add", "mul", "max", "min", "floor", "ceil", "trunc", "rndne", "fract", "rcp", "sqrt", "rsq")
}


@register(*_F32)
def _f32(inst: Instruction, architecture: Architecture) -> Step:
    function, put = _F32[inst.name], write_f32(inst)
    reads = [read(inst, place, "f32") for place in range(1, len(inst.operands))]
    if len(reads) == 2:
        x, y = reads
        return step(lambda waves: put(waves, function(x(waves), y(waves))), inst.operands[:1], inst.operands[1:])
    return step(
        lambda waves: put(waves, function(*(one(waves) for one in reads))), inst.operands[:1], inst.operands[1:]
    )


@register(*_F16)
def _f16(inst: Instruction, architecture: Architecture) -> Step:
    function, put = _F16[inst.name], write_half(inst, architecture)
    reads = [read(inst, place, "f16") for place in range(1, len(inst.operands))]
    return step(
        lambda waves: put(waves, function(*(one(waves) for one in reads))), inst.operands[:1], inst.operands[1:]
    )


@register(*_F64)
def _f64(inst: Instruction, architecture: Architecture) -> Step:
    function, put = _F64[inst.name], write_u64(inst)
    reads = [read_f64(inst, place) for place in range(1, len(inst.operands))]

    def run(waves: Waves) -> None:
        put(waves, np.broadcast_to(function(*(one(waves) for one in reads)), waves.mask.shape).view(np.uint64))

    return step(run, inst.operands[:1], inst.operands[1:])


@register("v_fmac_f32", "v_mac_f32", "v_fmac_f16", "v_mac_f16")
def _accumulate(inst: Instruction, architecture: Architecture) -> Step:
    """The destination is the addend."""
    kind = inst.name[-3:]
    function = fma if "fmac" in inst.name else lambda x, y, z: x * y + z
    target = inst.operands[0]
    put = write_f32(inst) if kind == "f32" else write_half(inst, architecture)
    x, y, z = read(inst, 1, kind), read(inst, 2, kind), _read_target(target, kind)
    return step(lambda waves: put(waves, function(x(waves), y(waves), z(waves))), [target], inst.operands)


def _read_target(target: Operand, kind: str) -> Callable[[Waves], Array]:
    index = target.index
    if kind == "f32":
        return lambda waves: waves.vf[index]
    return lambda waves: waves.v[index].astype(np.uint16).view(np.float16)


@register("v_fmaak_f32", "v_fmamk_f32", "v_madak_f32", "v_madmk_f32", "v_fmaak_f16", "v_fmamk_f16")
def _fma_constant(inst: Instruction, architecture: Architecture) -> Step:
    """With a literal: x · y + k, or x · k + y; operands are written in that order."""
    kind = inst.name[-3:]
    function = fma if "fma" in inst.name else lambda x, y, z: x * y + z
    put = write_f32(inst) if kind == "f32" else write_half(inst, architecture)
    x, y, z = (read(inst, place, kind) for place in (1, 2, 3))
    return step(lambda waves: put(waves, function(x(waves), y(waves), z(waves))), inst.operands[:1], inst.operands[1:])


@register("v_ldexp_f32", "v_ldexp_f16")
def _scale_exponent(inst: Instruction, architecture: Architecture) -> Step:
    kind = inst.name[-3:]
    put = write_f32(inst) if kind == "f32" else write_half(inst, architecture)
    x, y = read(inst, 1, kind), read(inst, 2, "i32" if kind == "f32" else "i16")
    return step(
        lambda waves: put(waves, np.ldexp(x(waves), np.clip(y(waves).astype(np.int32), -1000, 1000))),
        inst.operands[:1],
        inst.operands[1:],
    )


@register("v_div_scale_f32")
def _divide_scale(inst: Instruction, architecture: Architecture) -> Step:
    target, carried = inst.operands[:2]
    shifted = replace(inst, operands=(target, *inst.operands[2:]))
    put, index, keep = write_f32(shifted), carried.index, carried.text != "null"
    x, y, z = (read(shifted, place, "f32") for place in (1, 2, 3))

    def run(waves: Waves) -> None:
        value, needed = divide_scale(x(waves), y(waves), z(waves))
        put(waves, value)
        if keep:
            waves.write_lanes(index, np.broadcast_to(needed, waves.mask.shape))

    return step(run, [target, carried], inst.operands[2:])


@register("v_div_fmas_f32")
def _divide_fmas(inst: Instruction, architecture: Architecture) -> Step:
    put = write_f32(inst)
    x, y, z = (read(inst, place, "f32") for place in (1, 2, 3))
    mask = Operand("s", "vcc", VCC, 2 if architecture.wave == 64 else 1)
    return step(
        lambda waves: put(waves, divide_fmas(x(waves), y(waves), z(waves), waves.lanes_of(VCC))),
        inst.operands[:1],
        [*inst.operands[1:], mask],
    )


@register("v_frexp_exp_i32_f32")
def _exponent(inst: Instruction, architecture: Architecture) -> Step:
    put, x = write(inst), read(inst, 1, "f32")

    def run(waves: Waves) -> None:
        value = x(waves)
        put(waves, np.where(np.isfinite(value), np.frexp(value)[1], 0).astype(np.int32).view(np.uint32))

    return step(run, inst.operands[:1], inst.operands[1:])
