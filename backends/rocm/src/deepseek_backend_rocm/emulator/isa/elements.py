"""Elements that memory instructions move between registers and memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.waves import Waves

__all__ = ["ELEMENTS", "Element", "chosen", "get_registers", "put_registers"]


@dataclass(frozen=True, slots=True)
class Element:
    """What one lane moves.

    Attributes:
        size: bytes.
        signed: whether fewer than 32 bits are extended with their sign.
        half: the half of the register that 16 bits take, the other one staying as it is; None for all of it.
    """

    size: int
    signed: bool = False
    half: int | None = None

    @property
    def registers(self) -> int:
        return max(self.size // 4, 1)


ELEMENTS = {
    "u8": Element(1),
    "i8": Element(1, True),
    "b8": Element(1),
    "u16": Element(2),
    "i16": Element(2, True),
    "b16": Element(2),
    "b32": Element(4),
    "b64": Element(8),
    "b96": Element(12),
    "b128": Element(16),
    "d16_u8": Element(1, half=0),
    "d16_hi_u8": Element(1, half=1),
    "d16_i8": Element(1, True, 0),
    "d16_hi_i8": Element(1, True, 1),
    "d16_b16": Element(2, half=0),
    "d16_hi_b16": Element(2, half=1),
    "d16_hi_b8": Element(1, half=1),
}
"""As RDNA 3 names them."""


def chosen(waves: Waves) -> Array | None:
    """Places of the lanes that execute among all W · L, or None for all of them."""
    return None if waves.full else np.flatnonzero(waves.mask)


def put_registers(waves: Waves, register: int, element: Element, data: Array, lanes: Array | None) -> None:
    """Write what `gather` gave to registers of the chosen lanes."""
    if element.size < 4:
        bits = data[:, 0]
        if element.signed:
            bits = bits.view(f"i{element.size}").astype(np.int32).view(np.uint32)
        bits = bits.astype(np.uint32)
        if element.half is not None:
            old = waves.v[register].reshape(-1)
            old = old if lanes is None else old[lanes]
            low, high = np.uint32(0xFFFF), np.uint32(16)
            bits = bits << high | old & low if element.half else bits & low | old & ~low
        data = bits[:, None]
    for part in range(element.registers):
        target = waves.v[register + part].reshape(-1)
        target[slice(None) if lanes is None else lanes] = data[:, part]


def get_registers(waves: Waves, register: int, element: Element, lanes: Array | None) -> Array:
    """What `scatter` takes, from registers of the chosen lanes."""
    rows = [waves.v[register + part].reshape(-1) for part in range(element.registers)]
    rows = rows if lanes is None else [row[lanes] for row in rows]
    if element.size >= 4:
        return np.stack(rows, axis=1)
    bits = rows[0] >> np.uint32(16) if element.half else rows[0]
    result: Array = bits.astype(f"u{element.size}")[:, None]
    return result
