"""Instructions of the local data share (CDNA 3 ISA chapters 11 and 12.13; RDNA 3 ISA chapter 12; CDNA 4 ISA 11)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.isa.elements import ELEMENTS, Element, chosen, get_registers, put_registers
from deepseek_backend_rocm.emulator.isa.registry import Step, register, step
from deepseek_backend_rocm.emulator.isa.vectors import number_of, read
from deepseek_backend_rocm.emulator.scoreboard import LOCAL
from deepseek_backend_rocm.emulator.waves import Waves

__all__: list[str] = []

_LOADS = ("u8", "i8", "u16", "i16", "b32", "b64", "b96", "b128")
_HALVES = {
    "u8_d16": "d16_u8",
    "u8_d16_hi": "d16_hi_u8",
    "i8_d16": "d16_i8",
    "i8_d16_hi": "d16_hi_i8",
    "u16_d16": "d16_b16",
    "u16_d16_hi": "d16_hi_b16",
    "b8_d16_hi": "d16_hi_b8",
    "b16_d16_hi": "d16_hi_b16",
}


def _element(name: str) -> Element:
    return ELEMENTS[_HALVES.get(name, name)]


def _addresses(waves: Waves, base: int, offset: int, lanes: Array | None) -> tuple[Array, Array]:
    """Wave and address of each chosen lane."""
    flat = waves.v[base].reshape(-1)
    if lanes is None:
        return np.repeat(np.arange(waves.count), waves.lanes), flat.astype(np.int64) + offset
    return lanes // waves.lanes, flat[lanes].astype(np.int64) + offset


def _load(waves: Waves, target: int, base: int, offset: int, element: Element) -> None:
    lanes = chosen(waves)
    if lanes is not None and not lanes.size:
        return
    which, addresses = _addresses(waves, base, offset, lanes)
    put_registers(waves, target, element, waves.local.gather(which, addresses, element.size), lanes)


def _store(waves: Waves, data: int, base: int, offset: int, element: Element) -> None:
    lanes = chosen(waves)
    if lanes is not None and not lanes.size:
        return
    which, addresses = _addresses(waves, base, offset, lanes)
    waves.local.scatter(which, addresses, get_registers(waves, data, element, lanes), element.size)


def _issue(waves: Waves, written: tuple[int, ...]) -> None:
    """An operation that LDS does starts, without touching its memory: it moves values between lanes."""
    waves.board.issue(LOCAL, written, waves.active, waves.every)


def _access(waves: Waves, written: tuple[int, ...]) -> None:
    """An operation on the memory of LDS starts."""
    _issue(waves, written)
    waves.board.local_access()


@register(*(f"ds_read_{name}" for name in (*_LOADS, *(n for n in _HALVES if n[0] != "b"))))
def _read(inst: Instruction, architecture: Architecture) -> Step:
    target, base = inst.operands
    element, offset = _element(inst.name[len("ds_read_") :]), inst.modifiers.number("offset")
    to, at = number_of(target), number_of(base)
    written = tuple(range(to, to + element.registers))

    def run(waves: Waves) -> None:
        _load(waves, to, at, offset, element)
        _access(waves, written)

    return step(run, [target], [base, target] if element.half is not None else [base], delivers=LOCAL)


@register(*(f"ds_write_{name}" for name in ("b8", "b16", "b32", "b64", "b96", "b128", "b8_d16_hi", "b16_d16_hi")))
def _write(inst: Instruction, architecture: Architecture) -> Step:
    base, data = inst.operands
    element, offset = _element(inst.name[len("ds_write_") :]), inst.modifiers.number("offset")
    at, source = number_of(base), number_of(data)

    def run(waves: Waves) -> None:
        _store(waves, source, at, offset, element)
        _access(waves, ())

    return step(run, (), [base, data])


def _two_offsets(inst: Instruction, element: Element) -> tuple[int, int]:
    unit = element.size * (64 if "st64" in inst.name else 1)
    return inst.modifiers.number("offset0") * unit, inst.modifiers.number("offset1") * unit


@register(*(f"ds_read2{stride}_{name}" for stride in ("", "st64") for name in ("b32", "b64")))
def _read_two(inst: Instruction, architecture: Architecture) -> Step:
    target, base = inst.operands
    element = ELEMENTS[inst.name[-3:]]
    offsets, to, at = _two_offsets(inst, element), number_of(target), number_of(base)
    written = tuple(range(to, to + 2 * element.registers))
    overlap = at in written

    def run(waves: Waves) -> None:
        first = waves.v[at].copy() if overlap else None
        _load(waves, to, at, offsets[0], element)
        if first is not None:  # the address is read before anything is written
            kept = waves.v[at].copy()
            waves.v[at][:] = first
            _load(waves, to + element.registers, at, offsets[1], element)
            if at < to + element.registers:
                waves.v[at][:] = kept
        else:
            _load(waves, to + element.registers, at, offsets[1], element)
        _access(waves, written)

    return step(run, [target], [base], delivers=LOCAL)


@register(*(f"ds_write2{stride}_{name}" for stride in ("", "st64") for name in ("b32", "b64")))
def _write_two(inst: Instruction, architecture: Architecture) -> Step:
    base, *data = inst.operands
    element = ELEMENTS[inst.name[-3:]]
    offsets, at = _two_offsets(inst, element), number_of(base)
    sources = [number_of(operand) for operand in data]

    def run(waves: Waves) -> None:
        for source, offset in zip(sources, offsets, strict=True):
            _store(waves, source, at, offset, element)
        _access(waves, ())

    return step(run, (), inst.operands)


_Lanes = Callable[[Waves, Array, Array], Array]


def _moving(inst: Instruction, move: _Lanes) -> Step:
    target, places, data = inst.operands
    offset, to = inst.modifiers.number("offset"), number_of(target)
    x, y = read(inst, 1, "u32"), read(inst, 2, "u32")

    def run(waves: Waves) -> None:
        lane = ((x(waves) + np.uint32(offset)) >> np.uint32(2)) % np.uint32(waves.lanes)
        waves.write_v(to, move(waves, np.broadcast_to(lane, waves.mask.shape).astype(np.int64), y(waves)))
        _issue(waves, (to,))

    return step(run, [target], [places, data])


@register("ds_bpermute_b32")
def _pull(inst: Instruction, architecture: Architecture) -> Step:
    """Each lane names where its value comes from; lanes that do not execute give 0."""

    def move(waves: Waves, lane: Array, data: Array) -> Array:
        return np.take_along_axis(np.where(waves.mask, data, np.uint32(0)), lane, axis=1)

    return _moving(inst, move)


@register("ds_permute_b32")
def _push(inst: Instruction, architecture: Architecture) -> Step:
    """Each lane names where its value goes; of several the highest lane's stays, and nothing gives 0."""

    def move(waves: Waves, lane: Array, data: Array) -> Array:
        result = np.zeros(waves.mask.shape, np.uint32)
        wave, source = np.nonzero(waves.mask)
        result[wave, lane[wave, source]] = np.broadcast_to(data, waves.mask.shape)[wave, source]
        return result

    return _moving(inst, move)


@register("ds_swizzle_b32")
def _swizzle(inst: Instruction, architecture: Architecture) -> Step:
    """A fixed pattern: of four lanes (bit 15), or and, or, exclusive or of a lane's number within 32."""
    target, data = inst.operands
    pattern, to, x = _pattern(inst), number_of(target), read(inst, 1, "u32")

    def run(waves: Waves) -> None:
        source = pattern(np.arange(waves.lanes))
        values = np.where(waves.mask, np.broadcast_to(x(waves), waves.mask.shape), np.uint32(0))
        waves.write_v(to, values[:, source])
        _issue(waves, (to,))

    return step(run, [target], [data])


def _pattern(inst: Instruction) -> Callable[[Array], Array]:
    """Source of each lane; frequent patterns are written by name."""
    text = inst.modifiers.word("offset", "0")
    if text.startswith("swizzle("):
        kind, *values = text[len("swizzle(") : -1].split(",")
        return _named_pattern(kind, [value.strip().strip('"') for value in values])
    value = int(text)
    if value >> 15:
        order = np.array([value >> 2 * lane & 3 for lane in range(4)])
        return lambda lane: lane & ~3 | order[lane & 3]
    mask, ones, flip = value & 31, value >> 5 & 31, value >> 10 & 31
    return lambda lane: lane & ~31 | ((lane & mask | ones) ^ flip)


def _named_pattern(kind: str, texts: list[str]) -> Callable[[Array], Array]:
    """`swizzle(NAME,…)`: a mask has for each bit of a lane's number 0, 1, p (as it is) or i (inverted)."""
    if kind == "BITMASK_PERM":
        bits = {"0": "000", "1": "010", "p": "100", "i": "101"}
        mask, ones, flip = (int("".join(bits[char][part] for char in texts[0]), 2) for part in range(3))
        return lambda lane: lane & ~31 | ((lane & mask | ones) ^ flip)
    values = [int(text, 0) for text in texts]
    if kind == "QUAD_PERM":
        order = np.array(values)
        return lambda lane: lane & ~3 | order[lane & 3]
    patterns: dict[str, Callable[[Array], Array]] = {
        "SWAP": lambda lane: lane ^ values[0],
        "REVERSE": lambda lane: lane ^ (values[0] - 1),
        "BROADCAST": lambda lane: lane & ~(values[0] - 1) | values[1],
    }
    return patterns[kind]


@register("ds_read_b64_tr_b8", "ds_read_b64_tr_b16")
def _read_transposed(inst: Instruction, architecture: Architecture) -> Step:
    """64 bits a lane, then a transpose in each 16 lanes (CDNA 4 ISA 11.4, "LDS load with transpose").

    With elements of 8 bits a block of 16 lanes has 16 rows of 8 bytes: two tiles of 8 × 8, lanes 2 · i and 2 · i + 1
    having row i of 16 bytes, become 16 columns of 8. With 16 bits, 4 lanes have a row of 16 elements.
    """
    target, base = inst.operands
    offset, to, at = inst.modifiers.number("offset"), number_of(target), number_of(base)
    kind: Any = np.uint8 if inst.name.endswith("b8") else np.uint16
    element, each = ELEMENTS["b64"], 8 // np.dtype(kind).itemsize

    def run(waves: Waves) -> None:
        _load(waves, to, at, offset, element)
        words = np.stack([waves.v[to], waves.v[to + 1]], axis=-1)
        rows = words.view(kind).reshape(waves.count, waves.lanes // 16, each, 16)
        columns = np.ascontiguousarray(rows.transpose(0, 1, 3, 2)).view(np.uint32)
        columns = columns.reshape(*waves.mask.shape, 2)
        waves.write_v(to, columns[..., 0])
        waves.write_v(to + 1, columns[..., 1])
        _access(waves, (to, to + 1))

    return step(run, [target], [base])
