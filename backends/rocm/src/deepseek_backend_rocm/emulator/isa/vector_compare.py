"""Comparisons of vectors: VOPC (CDNA 3 ISA 12.9; RDNA 3 ISA 16.10)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.scalars import Read
from deepseek_backend_rocm.emulator.isa.vectors import read, read_f64, read_u64
from deepseek_backend_rocm.emulator.operands import EXEC, Operand
from deepseek_backend_rocm.emulator.waves import Waves

__all__: list[str] = []

Function = Callable[[Array, Array], Array]


def _not(function: Function) -> Function:
    """For floats this is not the opposite relation: it is true where one is no number."""
    return lambda x, y: ~function(x, y)


_RELATIONS: dict[str, Function] = {
    "lt": np.less,
    "eq": np.equal,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_OF_INTEGERS: dict[str, Function] = _RELATIONS | {"ne": np.not_equal}
_OF_FLOATS: dict[str, Function] = _RELATIONS | {
    "lg": lambda x, y: (x < y) | (x > y),
    "o": lambda x, y: ~(np.isnan(x) | np.isnan(y)),
    "u": lambda x, y: np.isnan(x) | np.isnan(y),
    "nge": _not(np.greater_equal),
    "nlg": lambda x, y: ~((x < y) | (x > y)),
    "ngt": _not(np.greater),
    "nle": _not(np.less_equal),
    "neq": np.not_equal,
    "nlt": _not(np.less),
}
_INTEGERS, _FLOATS = ("i16", "u16", "i32", "u32", "i64", "u64"), ("f16", "f32", "f64")


def _reader(inst: Instruction, place: int, kind: str) -> Read:
    if kind == "f64":
        return read_f64(inst, place)
    if kind in ("i64", "u64"):
        bits = read_u64(inst, place)
        return bits if kind == "u64" else lambda waves: bits(waves).view(np.int64)
    return read(inst, place, kind)


def _names(prefix: str) -> list[str]:
    integers = [f"{prefix}_{relation}_{kind}" for relation in _OF_INTEGERS for kind in _INTEGERS]
    return integers + [f"{prefix}_{relation}_{kind}" for relation in _OF_FLOATS for kind in _FLOATS]


def _compared(inst: Instruction, operands: tuple[Operand, ...]) -> Callable[[Waves], Array]:
    """The relation of two operands, which SDWA and DPP number from 0."""
    _, _, relation, kind = inst.name.split("_")
    function = (_OF_FLOATS if kind[0] == "f" else _OF_INTEGERS)[relation]
    shifted = replace(inst, operands=(operands[0], *operands))
    x, y = _reader(shifted, 1, kind), _reader(shifted, 2, kind)
    return lambda waves: np.broadcast_to(function(x(waves), y(waves)), waves.mask.shape)


@register(*_names("v_cmp"))
def _compare(inst: Instruction, architecture: Architecture) -> Step:
    target, *operands = inst.operands
    compare, index = _compared(inst, tuple(operands)), target.index
    return step(lambda waves: waves.write_lanes(index, compare(waves)), [target], operands)


@register(*_names("v_cmpx"))
def _compare_into_mask(inst: Instruction, architecture: Architecture) -> Step:
    """Writes EXEC; up to CDNA 3 the named destination, too."""
    operands = inst.operands[-2:]
    targets = list(inst.operands[:-2])
    compare = _compared(inst, operands)

    def run(waves: Waves) -> None:
        lanes = compare(waves)
        for target in targets:
            if target.index != EXEC:
                waves.write_lanes(target.index, lanes)
        waves.write_lanes(EXEC, lanes)

    return step(run, targets, operands)


_CLASSES: tuple[Callable[[Array], Array], ...] = (
    lambda x: np.isnan(x) & ~_quiet(x),
    lambda x: np.isnan(x) & _quiet(x),
    np.isneginf,
    lambda x: _normal(x) & np.signbit(x),
    lambda x: _denormal(x) & np.signbit(x),
    lambda x: (x == 0) & np.signbit(x),
    lambda x: (x == 0) & ~np.signbit(x),
    lambda x: _denormal(x) & ~np.signbit(x),
    lambda x: _normal(x) & ~np.signbit(x),
    np.isposinf,
)


def _quiet(x: Array) -> Array:
    bits = 22 if x.dtype == np.float32 else 9
    result: Array = x.view(f"u{x.dtype.itemsize}") >> bits & 1 == 1
    return result


def _normal(x: Array) -> Array:
    result: Array = np.isfinite(x) & (np.abs(x) >= np.finfo(x.dtype).tiny)
    return result


def _denormal(x: Array) -> Array:
    result: Array = (x != 0) & (np.abs(x) < np.finfo(x.dtype).tiny)
    return result


@register("v_cmp_class_f32", "v_cmp_class_f16")
def _class(inst: Instruction, architecture: Architecture) -> Step:
    target, *operands = inst.operands
    shifted = replace(inst, operands=(target, *operands))
    x, y, index = read(shifted, 1, inst.name[-3:]), read(shifted, 2, "u32"), target.index

    def run(waves: Waves) -> None:
        value, wanted = x(waves), y(waves)
        found = np.zeros(waves.mask.shape, np.bool_)
        for bit, function in enumerate(_CLASSES):
            found |= function(value) & (wanted >> np.uint32(bit) & np.uint32(1) == 1)
        waves.write_lanes(index, found)

    return step(run, [target], operands)
