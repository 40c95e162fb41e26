"""Matrix instructions of CDNA: V_MFMA (CDNA 3 ISA chapter 7 "Matrix Arithmetic Instructions"; CDNA 4 ISA).

Lane layouts: AMD Matrix Instruction Calculator (ROCm), and the CDNA ISA documents, "VGPR layout".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.faults import CodeError
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.vectors import number_of
from deepseek_backend_rocm.emulator.operands import Operand
from deepseek_backend_rocm.emulator.waves import Waves

__all__ = ["bf16_values"]

_NAME = re.compile(r"v_mfma_(f32|i32)_(\d+)x(\d+)x(\d+)(?:_\d+b)?_?(i8|f16|bf16|f32)(?:_1k)?$")


@dataclass(frozen=True, slots=True)
class _Shape:
    """D[b] = A[b] · B[b] + C[b] for blocks b of M × N, summed over K."""

    rows: int
    columns: int
    depth: int
    blocks: int

    def fragments(self, packed: Array) -> Array:
        """[W, 64, e] elements of each lane as [W, blocks, M or N, K].

        Lane l has row l % M of block (l / M) % blocks, and of K the part (l / M) / blocks.
        """
        waves, size = packed.shape[0], self.rows
        parts = 64 // (size * self.blocks)
        spread = packed.reshape(waves, parts, self.blocks, size, self.depth // parts)
        return spread.transpose(0, 2, 3, 1, 4).reshape(waves, self.blocks, size, self.depth)

    def registers(self, blocks: Array) -> Array:
        """[W, blocks, M, N] as [registers, W, 64].

        Four rows at a time are in four registers of as many lanes as there are columns, and go on in the next lanes.
        """
        waves = blocks.shape[0]
        if self.rows == 4:
            return blocks.transpose(2, 0, 1, 3).reshape(4, waves, 64)
        groups = 64 // self.columns
        spread = blocks.reshape(waves, self.blocks, self.rows // (4 * groups), groups, 4, self.columns)
        return spread.transpose(1, 2, 4, 0, 3, 5).reshape(-1, waves, 64)


def bf16_values(bits: Array) -> Array:
    """bfloat16 bits as float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


_KINDS: dict[str, tuple[Any, Callable[[Array], Array]]] = {
    # Products of 8 bits, at most 64 of them: float32 holds every sum exactly.
    "i8": (np.int8, lambda x: x.astype(np.float32)),
    "f16": (np.float16, lambda x: x.astype(np.float64)),
    "bf16": (np.uint16, lambda x: bf16_values(x).astype(np.float64)),
    "f32": (np.float32, lambda x: x.astype(np.float64)),
}
_NAMES = [
    *(f"v_mfma_i32_{shape}i8" for shape in ("32x32x8", "16x16x16", "32x32x4", "16x16x4", "4x4x4")),
    *(
        f"v_mfma_i32_{shape}_i8"
        for shape in ("32x32x16", "16x16x32", "32x32x4_2b", "16x16x4_4b", "4x4x4_16b", "32x32x32", "16x16x64")
    ),
    *(f"v_mfma_f32_{shape}f16" for shape in ("32x32x8", "16x16x16", "32x32x4", "16x16x4", "4x4x4")),
    *(f"v_mfma_f32_{shape}bf16_1k" for shape in ("32x32x8", "16x16x16", "32x32x4", "16x16x4", "4x4x4")),
    *(
        f"v_mfma_f32_{shape}_{kind}"
        for shape in ("32x32x8", "16x16x16", "32x32x4_2b", "16x16x4_4b", "4x4x4_16b", "32x32x16", "16x16x32")
        for kind in ("f16", "bf16")
    ),
    *(f"v_mfma_f32_{shape}f32" for shape in ("32x32x2", "16x16x4")),
    *(f"v_mfma_f32_{shape}_f32" for shape in ("32x32x2", "16x16x4")),
]


@register(*_NAMES)
def _mfma(inst: Instruction, architecture: Architecture) -> Step:
    """Integer sums wrap. Sums of floats are rounded once: hardware rounds between, in an order that is not published.

    EXEC does not count.
    """
    found = _NAME.match(inst.name)
    assert found is not None, inst.name
    for name in ("cbsz", "abid", "blgp"):
        if inst.modifiers.number(name):
            raise CodeError(f"'{inst.text}' broadcasts or permutes blocks, which is not emulated", fix="report it")
    rows, columns, depth = (int(found[part]) for part in (2, 3, 4))
    target, first, second, added = inst.operands
    shape = _Shape(rows, columns, depth, target.count * 64 // (rows * columns))
    kind, widen = _KINDS[found[5]]
    result = np.int32 if found[1] == "i32" else np.float32
    to, accumulator = number_of(target), _accumulator(added, target.count, result)

    def run(waves: Waves) -> None:
        a, b = (widen(shape.fragments(_packed(waves, operand, kind))) for operand in (first, second))
        product = np.matmul(a, b.swapaxes(-1, -2))
        spread = shape.registers(product)
        if result is np.int32:
            sums = spread.astype(np.int32) + accumulator(waves)
        else:
            sums = (spread + accumulator(waves)).astype(np.float32)
        _put(waves, to, sums.view(np.uint32))

    return step(run, [target], [first, second, added])


def _packed(waves: Waves, operand: Operand, kind: Any) -> Array:
    """Elements of a lane's registers, [W, L, e]."""
    start = number_of(operand)
    if operand.count == 1:
        result: Array = waves.v[start][..., None].view(kind)
        return result
    return np.stack(waves.v[start : start + operand.count], axis=-1).view(kind)


def _accumulator(operand: Operand, count: int, kind: Any) -> Callable[[Waves], Array]:
    """C, [registers, W, L] or a constant."""
    if operand.kind == "constant":
        value = np.array([operand.float_bits(32) & 0xFFFFFFFF], np.uint32).view(kind)
        return lambda _: value
    start = number_of(operand)
    return lambda waves: np.stack(waves.v[start : start + count]).view(kind)


def _put(waves: Waves, start: int, bits: Array) -> None:
    for register_, row in enumerate(bits):
        if waves.every:
            waves.v[start + register_][:] = row
        else:
            np.copyto(waves.v[start + register_], row, where=waves.active[:, None])
