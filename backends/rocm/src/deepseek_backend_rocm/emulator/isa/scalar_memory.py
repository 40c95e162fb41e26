"""Scalar loads: SMEM (CDNA 3 ISA chapter 7; RDNA 3 ISA chapter 8)."""

from __future__ import annotations

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.isa.registry import SGPR, Step, register, step
from deepseek_backend_rocm.emulator.isa.scalars import read_u32, read_u64
from deepseek_backend_rocm.emulator.operands import NULL
from deepseek_backend_rocm.emulator.scoreboard import SCALAR
from deepseek_backend_rocm.emulator.waves import Waves

__all__: list[str] = []

_SIZES = {"dword": 1, "dwordx2": 2, "dwordx3": 3, "dwordx4": 4, "dwordx8": 8, "dwordx16": 16}


@register(*(f"s_load_{size}" for size in _SIZES))
def _load(inst: Instruction, architecture: Architecture) -> Step:
    target, base, offset = inst.operands
    words = _SIZES[inst.name.rpartition("_")[2]]
    address, added = read_u64(base), read_u32(offset)
    fixed = inst.modifiers.number("offset")
    signed = np.int32 if offset.kind == "constant" else np.uint32
    inst.modifiers.flag("glc", "dlc", "scope", "th")
    index = target.index
    written = range(SGPR + index, SGPR + index + words) if index != NULL else range(0)

    def run(waves: Waves) -> None:
        moved = added(waves).view(signed).astype(np.int64) + fixed
        # The two lowest bits of an address do not count.
        place = (address(waves) + moved.view(np.uint64)) & ~np.uint64(3)
        place = np.broadcast_to(place, waves.count)
        data = waves.memory.gather(place if waves.every else place[waves.active], 4 * words)
        for word in range(words if written else 0):
            values = data[:, word]
            if not waves.every:
                values, some = np.zeros(waves.count, np.uint32), values
                values[waves.active] = some
            waves.write_s(index + word, values)
        waves.board.issue(SCALAR, written, waves.active, waves.every)

    return step(run, [target], [base, offset])


@register("s_dcache_inv", "s_dcache_wb", "s_gl1_inv", "s_icache_inv", "s_prefetch_inst", "s_prefetch_data")
def _cache(inst: Instruction, architecture: Architecture) -> Step:
    return step(lambda _: None)
