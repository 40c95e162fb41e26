"""Local data share: memory of a workgroup, with what was written, and by whom since the last barrier."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.faults import KernelFault

__all__ = ["LocalMemory"]

_POISON = 0x5A
_KINDS: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.uint32}
_MARKS: dict[int, Any] = {1: np.int16, 2: np.int32, 4: np.int64}
_NOBODY, _MANY = -1, 63
_STRIDE = 64
"""Marks of one epoch: those of up to 63 waves, and `_MANY`."""
_EPOCHS = 500
"""That 16 bits count before all marks are cleared."""


class LocalMemory:
    """The LDS of each of G workgroups.

    A byte is marked with its last writer and its last reader, and with how many barriers there had been: two waves
    that touch one byte between two barriers race, if one of them changes it.

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
        self._written = np.zeros(total, np.uint8)
        self._writer = np.full(total if waves > 1 else 0, _NOBODY, np.int16)
        self._reader = self._writer.copy()
        self._epoch = np.zeros(groups, np.int16)

    def barrier(self, groups: Array) -> None:
        """All waves of these groups have come together, bool [G]."""
        self._epoch[groups] += 1
        if (self._epoch >= _EPOCHS).any():
            self._epoch[:] = 0
            self._writer[:] = _NOBODY
            self._reader[:] = _NOBODY

    def gather(self, waves: Array, addresses: Array, size: int) -> Array:
        """Elements as `Memory.gather` has them, for waves int64 [k] and addresses int64 [k].

        Raises:
            KernelFault: out of bounds, never written, or changed by another wave since the last barrier.
        """
        places, unit = self._places(waves, addresses, size, "reads")
        kind = _KINDS[unit]
        data, known = self._bytes.view(kind)[places], self._written.view(kind)[places]
        if not (known == 0x01010101 & np.iinfo(kind).max).all():
            access = int(np.argmax((known != 0x01010101 & np.iinfo(kind).max).any(1)))
            raise KernelFault(f"reads LDS at {int(addresses[access]):#x} that was never written", access=access)
        if self._waves > 1:
            self._read(waves, addresses, places, unit)
        elements: Array = data.view(_KINDS[min(size, 4)])
        return elements

    def scatter(self, waves: Array, addresses: Array, data: Array, size: int) -> None:
        """Write elements in the form that `gather` gives.

        Raises:
            KernelFault: out of bounds, or a change of what another wave touched since the last barrier.
        """
        places, unit = self._places(waves, addresses, size, "writes")
        kind = _KINDS[unit]
        store, values = self._bytes.view(kind), np.ascontiguousarray(data).view(kind)
        if self._waves > 1:
            self._write(waves, addresses, places, unit, values)
        store[places] = values
        self._written.view(kind)[places] = 0x01010101 & np.iinfo(kind).max

    def _places(self, waves: Array, addresses: Array, size: int, verb: str) -> tuple[Array, int]:
        """Where the units of each element are kept, int64 [k, n], and bytes of a unit."""
        if addresses.min() < 0 or addresses.max() > self.size - size:
            access = int(np.argmax((addresses < 0) | (addresses > self.size - size)))
            text = f"{verb} {size} bytes at {int(addresses[access]):#x} of LDS, out of bounds: it has {self.size} bytes"
            raise KernelFault(text, access=access)
        places = waves // self._waves * self._pitch + addresses
        unit = min(size, 4)
        lowest = int(np.bitwise_or.reduce(places)) if places.size else 0
        while lowest & (unit - 1):
            unit //= 2
        return (places // unit)[:, None] + np.arange(size // unit), unit

    def _mine(self, waves: Array) -> tuple[Array, Array]:
        """What marks a byte as touched by each access's wave now, int16 [k, 1], and the least mark of its epoch."""
        first = self._epoch[waves // self._waves] * np.int16(_STRIDE)
        return (first + (waves % self._waves).astype(np.int16))[:, None], first[:, None]

    def _read(self, waves: Array, addresses: Array, places: Array, unit: int) -> None:
        kind = _MARKS[unit]
        mark, first = self._mine(waves)
        writer = self._writer.view(kind)[places].view(np.int16)
        wrong = (writer >= first) & (writer != mark)
        if wrong.any():
            self._race(waves, addresses, wrong, "reads", "changed")
        readers = self._reader.view(kind)
        before = readers[places].view(np.int16)
        mine = np.where((before >= first) & (before != mark), first + np.int16(_MANY), mark)
        readers[places] = mine.view(kind)
        after = readers[places].view(np.int16)
        if (after != mine).any():  # several waves at once
            readers[places] = np.where(after != mine, first + np.int16(_MANY), mine).view(kind)

    def _write(self, waves: Array, addresses: Array, places: Array, unit: int, values: Array) -> None:
        kind = _MARKS[unit]
        mark, first = self._mine(waves)
        writers = self._writer.view(kind)
        writer, reader = writers[places].view(np.int16), self._reader.view(kind)[places].view(np.int16)
        others = ((writer >= first) & (writer != mark)) | ((reader >= first) & (reader != mark))
        if others.any():
            changed = self._bytes.view(_KINDS[unit])[places].view(np.uint8) != values.view(np.uint8)
            if (others & changed).any():
                self._race(waves, addresses, others & changed, "changes", "touched")
        writers[places] = np.broadcast_to(mark, writer.shape).astype(np.int16).view(kind)
        self._bytes.view(_KINDS[unit])[places] = values
        after = self._bytes.view(_KINDS[unit])[places]
        if (after != values).any():
            differs = (after != values) & (writers[places].view(np.int16) != mark).any(1)[:, None]
            if differs.any():
                self._race(waves, addresses, differs, "changes", "changed at once")

    def _race(self, waves: Array, addresses: Array, wrong: Array, verb: str, done: str) -> None:
        access = int(np.argmax(wrong.any(1)))
        text = f"{verb} LDS at {int(addresses[access]):#x}, {done} by another wave since the last barrier"
        raise KernelFault(text, access=access)
