"""Matrix instructions of RDNA: V_WMMA on waves of 32 lanes (RDNA 3 ISA 7.9; RDNA 4 ISA 7.12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.faults import KernelFault
from deepseek_backend_rocm.emulator.isa.matrix import bf16_values
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.vectors import number_of
from deepseek_backend_rocm.emulator.operands import Operand
from deepseek_backend_rocm.emulator.waves import Waves

__all__: list[str] = []

_FLOATS: dict[str, tuple[Any, Callable[[Array], Array]]] = {
    "f16": (np.float16, lambda x: x.astype(np.float64)),
    "bf16": (np.uint16, lambda x: bf16_values(x).astype(np.float64)),
}


def _fragments(waves: Waves, operand: Operand, kind: Any) -> Array:
    """A or B as [W, 16, K].

    RDNA 3: lane l has all of row l % 16, twice in a wave. RDNA 4: lanes from 16 on have the second half of K.
    """
    start = number_of(operand)
    packed = np.stack(waves.v[start : start + operand.count], axis=-1).view(kind)
    halves: Array = packed.reshape(waves.count, 2, 16, packed.shape[-1])
    if waves.architecture.generation >= 12:
        return halves.transpose(0, 2, 1, 3).reshape(waves.count, 16, -1)
    same = (halves[:, 0] == halves[:, 1]) | (halves[:, 0] != halves[:, 0])
    if not same[waves.active].all():
        raise KernelFault("multiplies a matrix whose two copies in the wave differ", fix="report a bug of the compiler")
    first: Array = halves[:, 0]
    return first


def _registers(waves: Waves, product: Array) -> Array:
    """[W, 16, 16] as [8, W, 32]: RDNA 3 has even and odd rows in the halves of a wave, RDNA 4 upper and lower ones."""
    if waves.architecture.generation >= 12:
        return product.reshape(waves.count, 2, 8, 16).transpose(2, 0, 1, 3).reshape(8, waves.count, 32)
    return product.reshape(waves.count, 8, 2, 16).transpose(1, 0, 2, 3).reshape(8, waves.count, 32)


def _addend(operand: Operand, kind: Any) -> Callable[[Waves], Array]:
    if operand.kind == "constant":
        value = np.array([operand.float_bits(32) & 0xFFFFFFFF], np.uint32).view(kind)
        return lambda _: value
    start, count = number_of(operand), operand.count
    return lambda waves: np.stack(waves.v[start : start + count]).view(kind)


def _put(waves: Waves, start: int, bits: Array) -> None:
    for place, row in enumerate(bits):
        np.copyto(waves.v[start + place], row, where=waves.active[:, None])


@register("v_wmma_i32_16x16x16_iu8")
def _integers(inst: Instruction, architecture: Architecture) -> Step:
    """Each source is signed where `neg_lo` says so; sums wrap, or saturate. EXEC does not count."""
    target, first, second, added = inst.operands
    signs = inst.modifiers.numbers("neg_lo", (0, 0, 0))
    kinds: list[Any] = [np.int8 if sign else np.uint8 for sign in signs[:2]]
    clamp, to, addend = inst.modifiers.flag("clamp"), number_of(target), _addend(added, np.int32)

    def run(waves: Waves) -> None:
        a, b = (
            _fragments(waves, operand, kind).astype(np.float32)
            for operand, kind in zip((first, second), kinds, strict=True)
        )
        sums = _registers(waves, np.matmul(a, b.swapaxes(-1, -2))).astype(np.int64) + addend(waves)
        info = np.iinfo(np.int32)
        sums = np.clip(sums, info.min, info.max) if clamp else sums
        _put(waves, to, sums.astype(np.int32).view(np.uint32))

    return step(run, [target], [first, second, added])


@register("v_wmma_f32_16x16x16_f16", "v_wmma_f32_16x16x16_bf16")
def _floats(inst: Instruction, architecture: Architecture) -> Step:
    """Sums are rounded once: hardware rounds between, in an order that is not published. EXEC does not count."""
    target, first, second, added = inst.operands
    kind, widen = _FLOATS[inst.name.rpartition("_")[2]]
    to, addend = number_of(target), _addend(added, np.float32)

    def run(waves: Waves) -> None:
        a, b = (widen(_fragments(waves, operand, kind)) for operand in (first, second))
        sums = _registers(waves, np.matmul(a, b.swapaxes(-1, -2))) + addend(waves)
        _put(waves, to, sums.astype(np.float32).view(np.uint32))

    return step(run, [target], [first, second, added])
