"""Local data share: memory of a workgroup, with what was written, and by whom since the last barrier."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.faults import KernelFault

__all__ = ["LocalMemory"]

_POISON = 0x5A
_FIX = "report a bug of the kernel or its compiler"
_KINDS: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.uint32}
_NOBODY, _MANY = -1, 1 << 14
_SPAN = 1 << 9
"""Epochs, 32 waves each, that a mark of 16 bits counts before all marks are cleared."""


class LocalMemory:
    """The LDS of each of G workgroups.

    A byte is marked with its last writer and its last reader, and with how many barriers there had been: two waves
    that touch one byte between two barriers, one of them writing, race.

    Args:
        groups: workgroups.
        waves: of each group.
        size: bytes of a group's share.
    """

    def __init__(self, groups: int, waves: int, size: int) -> None:
        self.size = size
        self._pitch = -(-size // 16) * 16
        self._waves = waves
        total = groups * self._pitch
        self._bytes = np.full(total, _POISON, np.uint8)
        self._writer = np.full(total, _NOBODY, np.int16)
        self._reader = np.full(total, _NOBODY, np.int16)
        self._written = np.zeros(total, np.bool_)
        self._epoch = np.zeros(groups, np.int16)

    def barrier(self, groups: Array) -> None:
        """All waves of these groups have come together, bool [G]."""
        self._epoch[groups] += 1
        if (self._epoch >= _SPAN).any():
            self._epoch[:] = 0
            self._writer[:] = _NOBODY
            self._reader[:] = _NOBODY

    def gather(self, waves: Array, addresses: Array, size: int) -> Array:
        """Elements as `Memory.gather` has them, for waves int64 [k] and addresses int64 [k].

        Raises:
            KernelFault: out of bounds, never written, or written by another wave since the last barrier.
        """
        places = self._places(waves, addresses, size, "reads")
        data, unit = self._elements(self._bytes, places, size)
        known, _ = self._elements(self._written.view(np.uint8), places, size)
        if not (known == 0x01010101 & np.iinfo(known.dtype).max).all():
            wrong = (known != (0x01010101 & np.iinfo(known.dtype).max)).any(1)
            raise KernelFault(f"reads LDS that was never written, at {addresses[np.argmax(wrong)]}", fix=_FIX)
        if self._waves > 1:
            self._check_readers(waves, addresses, places, size, unit)
        return data

    def scatter(self, waves: Array, addresses: Array, data: Array, size: int) -> None:
        """Write elements in the form that `gather` gives.

        Raises:
            KernelFault: out of bounds, or touched by another wave since the last barrier.
        """
        places = self._places(waves, addresses, size, "writes")
        unit = self._unit(places, size)
        kind = _KINDS[unit]
        if self._waves > 1:
            self._check_writers(waves, addresses, places, size, unit)
        values = np.ascontiguousarray(data).view(kind)
        store, marks = self._bytes.view(kind), self._written.view(np.uint8).view(kind)
        where = places // unit
        for part in range(size // unit):
            store[where + part] = values[:, part]
            marks[where + part] = 0x01010101 & np.iinfo(kind).max

    def _places(self, waves: Array, addresses: Array, size: int, verb: str) -> Array:
        wrong = (addresses < 0) | (addresses > self.size - size)
        if wrong.any():
            address = int(addresses[np.argmax(wrong)])
            text = f"{verb} {size} bytes at {address:#x} of LDS, out of bounds: the workgroup has {self.size} bytes"
            raise KernelFault(text, fix=_FIX)
        places: Array = waves // self._waves * self._pitch + addresses
        return places

    @staticmethod
    def _unit(places: Array, size: int) -> int:
        unit = min(size, 4)
        while (places & (unit - 1)).any():
            unit //= 2
        return unit

    def _elements(self, source: Array, places: Array, size: int) -> tuple[Array, int]:
        unit = self._unit(places, size)
        parts = source.view(_KINDS[unit])[(places // unit)[:, None] + np.arange(size // unit)]
        return parts.view(_KINDS[min(size, 4)]), unit

    def _marks(self, waves: Array) -> tuple[Array, Array]:
        """What now marks a byte as touched by a wave, and the least mark of this epoch."""
        first = self._epoch[waves // self._waves] * np.int16(32)
        return first + (waves % self._waves).astype(np.int16), first

    def _check_readers(self, waves: Array, addresses: Array, places: Array, size: int, unit: int) -> None:
        mark, first = self._marks(waves)
        for part in range(0, size, unit):
            where = places + part
            for byte in range(unit):
                writer = self._writer[where + byte]
                wrong = (writer >= first) & (writer != mark)
                if wrong.any():
                    self._race(waves, addresses, wrong, "reads", "written")
                reader = self._reader[where + byte]
                other = (reader >= first) & (reader != mark)
                self._reader[where + byte] = np.where(other, first + np.int16(31), mark)

    def _check_writers(self, waves: Array, addresses: Array, places: Array, size: int, unit: int) -> None:
        mark, first = self._marks(waves)
        for byte in range(size):
            where = places + byte
            writer, reader = self._writer[where], self._reader[where]
            wrong = (writer >= first) & (writer != mark) | (reader >= first) & (reader != mark)
            if wrong.any():
                self._race(waves, addresses, wrong, "writes", "touched")
            self._writer[where] = mark

    def _race(self, waves: Array, addresses: Array, wrong: Array, verb: str, done: str) -> None:
        index = int(np.argmax(wrong))
        text = f"{verb} LDS at {int(addresses[index]):#x}, {done} by another wave since the last barrier"
        raise KernelFault(f"{text} (wave {int(waves[index]) % self._waves})", fix=_FIX)
