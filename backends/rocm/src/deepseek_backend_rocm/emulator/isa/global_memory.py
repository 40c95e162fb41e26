"""Instructions of device memory: GLOBAL and FLAT (CDNA 3 ISA chapter 10; RDNA 3 ISA chapter 11)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.faults import CodeError
from deepseek_backend_rocm.emulator.isa.elements import ELEMENTS, Element, chosen, get_registers, put_registers
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.vectors import number_of
from deepseek_backend_rocm.emulator.operands import Operand
from deepseek_backend_rocm.emulator.scoreboard import LOAD, LOCAL, STORE
from deepseek_backend_rocm.emulator.waves import Waves

__all__ = ["LOADS", "STORES"]

LOADS = {
    "ubyte": "u8",
    "sbyte": "i8",
    "ushort": "u16",
    "sshort": "i16",
    "dword": "b32",
    "dwordx2": "b64",
    "dwordx3": "b96",
    "dwordx4": "b128",
    "ubyte_d16": "d16_u8",
    "ubyte_d16_hi": "d16_hi_u8",
    "sbyte_d16": "d16_i8",
    "sbyte_d16_hi": "d16_hi_i8",
    "short_d16": "d16_b16",
    "short_d16_hi": "d16_hi_b16",
}
STORES = {
    "byte": "b8",
    "short": "b16",
    "dword": "b32",
    "dwordx2": "b64",
    "dwordx3": "b96",
    "dwordx4": "b128",
    "byte_d16_hi": "d16_hi_b8",
    "short_d16_hi": "d16_hi_b16",
}
"""Name in an instruction → element."""
CACHING = ("glc", "slc", "dlc", "sc0", "sc1", "nt", "scope", "th")
"""Modifiers about caches, of which there are none here."""
_Addresses = Callable[[Waves, Array | None], Array]


def _address(inst: Instruction, vector: Operand, base: Operand | None) -> _Addresses:
    """Addresses of the chosen lanes, uint64 [k]."""
    offset = np.int64(inst.modifiers.number("offset")).astype(np.uint64)
    inst.modifiers.flag(*CACHING)
    if base is None or base.text == "off":
        low, high = number_of(vector), number_of(vector, 1)
        if vector.count != 2:
            raise CodeError(f"'{inst.text}' has an address that is not emulated", fix="report it, with the kernel")

        def from_pair(waves: Waves, lanes: Array | None) -> Array:
            parts = waves.v[low].reshape(-1), waves.v[high].reshape(-1)
            first, second = parts if lanes is None else (part[lanes] for part in parts)
            pair = np.empty((first.size, 2), np.uint32)
            pair[:, 0], pair[:, 1] = first, second
            return pair.view(np.uint64)[:, 0] + offset

        return from_pair
    pair, added = base.index // 2, number_of(vector)

    def from_base(waves: Waves, lanes: Array | None) -> Array:
        start: Array = waves.s64[pair] + offset
        moved: Array = waves.v[added].reshape(-1)
        if lanes is None:
            start = np.repeat(start, waves.lanes)
        else:
            start, moved = start[lanes // waves.lanes], moved[lanes]
        addresses: Array = start + moved
        return addresses

    return from_base


def load_step(inst: Instruction, element: Element, addresses: _Addresses, reads: list[Operand], flat: bool) -> Step:
    """A step that loads elements into the first operand."""
    target = inst.operands[0]
    to = number_of(target)
    written = range(to, to + element.registers)

    def run(waves: Waves) -> None:
        lanes = chosen(waves)
        if lanes is None or lanes.size:
            put_registers(waves, to, element, waves.memory.gather(addresses(waves, lanes), element.size), lanes)
        waves.board.issue(LOAD, written, waves.active, waves.every)
        if flat:
            waves.board.issue(LOCAL, (), waves.active, waves.every)

    return step(run, [target], [*reads, target] if element.half is not None else reads, delivers=LOAD)


def store_step(element: Element, data: Operand, addresses: _Addresses, reads: list[Operand], flat: bool) -> Step:
    """A step that stores elements."""
    source = number_of(data)

    def run(waves: Waves) -> None:
        lanes = chosen(waves)
        if lanes is None or lanes.size:
            values = get_registers(waves, source, element, lanes)
            waves.memory.scatter(addresses(waves, lanes), values, element.size)
        waves.board.issue(STORE, (), waves.active, waves.every)
        if flat:
            waves.board.issue(LOCAL, (), waves.active, waves.every)

    return step(run, (), reads)


@register(*(f"{kind}_load_{name}" for kind in ("global", "flat") for name in LOADS))
def _load(inst: Instruction, architecture: Architecture) -> Step:
    space, _, name = inst.name.partition("_load_")
    _, vector, *base = inst.operands
    addresses = _address(inst, vector, base[0] if base else None)
    return load_step(inst, ELEMENTS[LOADS[name]], addresses, [vector, *base], space == "flat")


@register(*(f"{kind}_store_{name}" for kind in ("global", "flat") for name in STORES))
def _store(inst: Instruction, architecture: Architecture) -> Step:
    space, _, name = inst.name.partition("_store_")
    vector, data, *base = inst.operands
    addresses = _address(inst, vector, base[0] if base else None)
    return store_step(ELEMENTS[STORES[name]], data, addresses, list(inst.operands), space == "flat")


_ATOMICS: dict[str, tuple[Any, Callable[..., Any]]] = {
    "add": (np.uint32, np.add),
    "add_u32": (np.uint32, np.add),
    "add_f32": (np.float32, np.add),
    "smax": (np.int32, np.maximum),
    "smin": (np.int32, np.minimum),
    "umax": (np.uint32, np.maximum),
    "umin": (np.uint32, np.minimum),
    "and": (np.uint32, np.bitwise_and),
    "or": (np.uint32, np.bitwise_or),
    "xor": (np.uint32, np.bitwise_xor),
    "swap": (np.uint32, lambda _, new: new),
}


@register(*(f"global_atomic_{name}" for name in _ATOMICS))
def _atomic(inst: Instruction, architecture: Architecture) -> Step:
    """Lane after lane, in order: hardware may take another order, which floats show."""
    kind, function = _ATOMICS[inst.name[len("global_atomic_") :]]
    returns = inst.modifiers.flag("sc0", "glc") or inst.modifiers.word("th").startswith("TH_ATOMIC_RETURN")
    targets = list(inst.operands[: int(returns)])
    vector, data, base = inst.operands[int(returns) :]
    addresses, source = _address(inst, vector, base), number_of(data)
    element = ELEMENTS["b32"]

    def run(waves: Waves) -> None:
        lanes = chosen(waves)
        if lanes is None or lanes.size:
            places = addresses(waves, lanes)
            new = get_registers(waves, source, element, lanes)[:, 0].view(kind)
            old = np.empty(len(new), kind)
            for lane in range(len(new)):
                old[lane] = waves.memory.gather(places[lane : lane + 1], 4)[0].view(kind)[0]
                result = np.array([[function(old[lane], new[lane])]], kind)
                waves.memory.scatter(places[lane : lane + 1], result.view(np.uint32), 4)
            if returns:
                put_registers(waves, number_of(targets[0]), element, old.view(np.uint32)[:, None], lanes)
        written = [number_of(target) for target in targets]
        waves.board.issue(LOAD if returns else STORE, written, waves.active, waves.every)

    return step(run, targets, [vector, data, base])
