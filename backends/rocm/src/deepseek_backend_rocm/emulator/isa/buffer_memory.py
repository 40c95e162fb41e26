"""Buffer instructions: memory behind a resource with a size (CDNA 3 ISA chapter 9; RDNA 3 ISA chapter 10)."""

from __future__ import annotations

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.faults import CodeError, KernelFault
from deepseek_backend_rocm.emulator.isa.elements import ELEMENTS, chosen, get_registers, put_registers
from deepseek_backend_rocm.emulator.isa.global_memory import CACHING, LOADS, STORES
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.scalars import read_u32
from deepseek_backend_rocm.emulator.isa.vectors import number_of
from deepseek_backend_rocm.emulator.scoreboard import LOAD, STORE
from deepseek_backend_rocm.emulator.waves import Waves

__all__: list[str] = []


class _Range:
    """Addresses of a raw buffer's elements, and which of them are inside.

    Offsets are the instruction's, the vector register's and the scalar's; what reaches beyond the resource's size reads
    0, and is not written.
    """

    def __init__(self, inst: Instruction, size: int) -> None:
        _, vector, resource, scalar = inst.operands
        modifiers = inst.modifiers
        if modifiers.flag("idxen") or "lds" in modifiers:
            raise CodeError(f"'{inst.text}' addresses in a way that is not emulated", fix="report it, with the kernel")
        modifiers.flag(*CACHING)
        self._vector = number_of(vector) if modifiers.flag("offen") else None
        self._offset, self._scalar = modifiers.number("offset"), read_u32(scalar)
        self._resource, self._size = resource.index, size
        self._text = inst.text

    def find(self, waves: Waves, lanes: Array | None) -> tuple[Array, Array]:
        """Addresses uint64 [k] and whether they are inside, bool [k]."""
        wave = np.repeat(np.arange(waves.count), waves.lanes) if lanes is None else lanes // waves.lanes
        words = [waves.s[self._resource + word] for word in range(3)]
        if (words[1] >> np.uint32(16) & np.uint32(0x3FFF))[waves.active].any():
            raise KernelFault("uses a buffer with a stride, which is not emulated", fix="report it, with the kernel")
        base = words[0].astype(np.uint64) | (words[1] & np.uint32(0xFFFF)).astype(np.uint64) << np.uint64(32)
        moved = np.broadcast_to(self._scalar(waves).astype(np.uint64) + np.uint64(self._offset), waves.count)[wave]
        if self._vector is not None:
            lane = waves.v[self._vector].reshape(-1)
            moved = moved + (lane if lanes is None else lane[lanes])
        most = words[2].astype(np.uint64)[wave]
        inside = moved + np.uint64(self._size) <= most
        if ((moved < most) & ~inside).any():
            raise KernelFault("accesses an element that a buffer's end cuts", fix="report a bug of the kernel")
        return base[wave] + moved, inside


@register(*(f"buffer_load_{name}" for name in LOADS))
def _load(inst: Instruction, architecture: Architecture) -> Step:
    element = ELEMENTS[LOADS[inst.name[len("buffer_load_") :]]]
    where, to = _Range(inst, element.size), number_of(inst.operands[0])
    written = range(to, to + element.registers)

    def run(waves: Waves) -> None:
        lanes = chosen(waves)
        if lanes is None or lanes.size:
            addresses, inside = where.find(waves, lanes)
            if inside.all():
                data = waves.memory.gather(addresses, element.size)
            else:
                kind = f"u{min(element.size, 4)}"
                data = np.zeros((inside.size, max(element.size // 4, 1)), kind)
                if inside.any():
                    data[inside] = waves.memory.gather(addresses[inside], element.size)
            put_registers(waves, to, element, data, lanes)
        waves.board.issue(LOAD, written, waves.active, waves.every)

    reads = inst.operands if element.half is not None else inst.operands[1:]
    return step(run, inst.operands[:1], reads, delivers=LOAD)


@register(*(f"buffer_store_{name}" for name in STORES))
def _store(inst: Instruction, architecture: Architecture) -> Step:
    element = ELEMENTS[STORES[inst.name[len("buffer_store_") :]]]
    where, source = _Range(inst, element.size), number_of(inst.operands[0])

    def run(waves: Waves) -> None:
        lanes = chosen(waves)
        if lanes is None or lanes.size:
            addresses, inside = where.find(waves, lanes)
            data = get_registers(waves, source, element, lanes)
            if inside.any():
                waves.memory.scatter(addresses[inside], data[inside], element.size)
        waves.board.issue(STORE, (), waves.active, waves.every)

    return step(run, (), inst.operands)
