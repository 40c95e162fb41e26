"""Scalar comparisons: SOPC and the comparisons of SOPK (CDNA 3 ISA 5.5 and 12.4; RDNA 3 ISA 16.4)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.scalars import Read, constant, read_f32, read_i32, read_u32, read_u64
from deepseek_backend_rocm.emulator.operands import Operand
from deepseek_backend_rocm.emulator.waves import Waves

__all__ = ["RELATIONS"]

RELATIONS: dict[str, Callable[..., Array]] = {
    "eq": np.equal,
    "lg": np.not_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
}
_OF_FLOATS: dict[str, Callable[..., Array]] = RELATIONS | {
    "lg": lambda x, y: (x < y) | (x > y),
    "o": lambda x, y: ~(np.isnan(x) | np.isnan(y)),
    "u": lambda x, y: np.isnan(x) | np.isnan(y),
    "nge": lambda x, y: ~(x >= y),
    "nlg": lambda x, y: ~((x < y) | (x > y)),
    "ngt": lambda x, y: ~(x > y),
    "nle": lambda x, y: ~(x <= y),
    "neq": np.not_equal,
    "nlt": lambda x, y: ~(x < y),
}
_READERS: dict[str, Callable[[Operand], Read]] = {
    "i32": read_i32,
    "u32": read_u32,
    "u64": read_u64,
}


@register(*(f"s_cmp_{relation}_f32" for relation in _OF_FLOATS))
def _compare_floats(inst: Instruction, architecture: Architecture) -> Step:
    function = _OF_FLOATS[inst.name.split("_")[2]]
    x, y = (read_f32(operand) for operand in inst.operands)
    return step(lambda waves: waves.write_scc(function(x(waves), y(waves))), (), inst.operands)


@register(*(f"s_cmp_{relation}_{kind}" for relation in RELATIONS for kind in _READERS))
def _compare(inst: Instruction, architecture: Architecture) -> Step:
    _, _, relation, kind = inst.name.split("_")
    function, reader = RELATIONS[relation], _READERS[kind]
    x, y = (reader(operand) for operand in inst.operands)
    return step(lambda waves: waves.write_scc(function(x(waves), y(waves))), (), inst.operands)


@register(*(f"s_cmpk_{relation}_{kind}" for relation in RELATIONS for kind in ("i32", "u32")))
def _compare_short(inst: Instruction, architecture: Architecture) -> Step:
    _, _, relation, kind = inst.name.split("_")
    operand, short = inst.operands
    function, x = RELATIONS[relation], _READERS[kind](operand)
    signed = np.array([short.value], np.int64).astype(np.int16).astype(np.int32)
    y = signed if kind == "i32" else constant(int(short.value) & 0xFFFF)
    return step(lambda waves: waves.write_scc(function(x(waves), y)), (), [operand])


@register("s_bitcmp0_b32", "s_bitcmp1_b32", "s_bitcmp0_b64", "s_bitcmp1_b64")
def _compare_bit(inst: Instruction, architecture: Architecture) -> Step:
    value, place = inst.operands
    wide = inst.name.endswith("64")
    x, y, wanted = read_u64(value) if wide else read_u32(value), read_u32(place), int(inst.name[8])

    def run(waves: Waves) -> None:
        count = y(waves) & np.uint32(63 if wide else 31)
        waves.write_scc((x(waves).astype(np.uint64) >> count.astype(np.uint64)) & np.uint64(1) == wanted)

    return step(run, (), inst.operands)
