"""Device memory: allocations in one address space, with the bytes that were ever written."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.faults import KernelFault

__all__ = ["BASE", "GUARD", "Memory", "Window"]

BASE = 0x7F0000000000
"""Address of the first allocation."""
GUARD = 4096
"""Bytes between allocations that nobody may touch."""
_ALIGNMENT = 256
_POISON = 0xA5
_KINDS: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.uint32}


@dataclass(frozen=True, slots=True)
class Window:
    """A range that a kernel may read.

    Attributes:
        address, size: of its bytes.
        writes: whether it may write there, too.
        name: of what is there.
    """

    address: int
    size: int
    writes: bool = True
    name: str = "memory"


class Memory:
    """Allocations, found by address.

    Bytes that were never written hold a pattern, and reading them is a fault. A launch sees windows: all allocations,
    or just those ranges that it was given.
    """

    def __init__(self, poison: int = _POISON) -> None:
        self._poison = poison
        self._bytes = np.full(1 << 20, poison, np.uint8)
        self._written = np.zeros(1 << 20, np.bool_)
        self._end = GUARD
        self._sizes: dict[int, int] = {}
        self._readable: list[tuple[int, int]] = []
        self._writable: list[tuple[int, int]] = []
        self._complete: list[tuple[int, int]] = []
        self._windows: Sequence[Window] = ()
        self.limit()

    def allocate(self, size: int) -> int:
        """Address of new memory."""
        room = -(-max(size, 1) // _ALIGNMENT) * _ALIGNMENT
        start = self._end
        self._end = start + room + GUARD
        if self._end > self._bytes.size:
            self._grow(max(self._end, 2 * self._bytes.size))
        self._bytes[start : start + room] = self._poison
        self._written[start : start + room] = False
        self._sizes[BASE + start] = size
        self.limit()
        return BASE + start

    def _grow(self, size: int) -> None:
        data, written = np.empty(size, np.uint8), np.zeros(size, np.bool_)
        data[: self._bytes.size], written[: self._written.size] = self._bytes, self._written
        self._bytes, self._written = data, written

    def free(self, address: int) -> None:
        """Give memory back.

        Raises:
            KernelFault: nothing was allocated there, or it was freed.
        """
        if address not in self._sizes:
            raise KernelFault(f"nothing is allocated at {address:#x}", fix="free what was allocated, once")
        del self._sizes[address]
        last = max((start + size - BASE for start, size in self._sizes.items()), default=0)
        self._end = -(-last // _ALIGNMENT) * _ALIGNMENT + GUARD
        self.limit()

    def forget(self, address: int, size: int) -> None:
        """Make bytes of an allocation as they were before anything was written."""
        start = self._inside(address, size)
        self._bytes[start : start + size] = self._poison
        self._written[start : start + size] = False

    def store(self, address: int, data: Array) -> None:
        """Copy bytes in, uint8 [n].

        Raises:
            KernelFault: they reach beyond an allocation.
        """
        start = self._inside(address, data.size)
        self._bytes[start : start + data.size] = data
        self._written[start : start + data.size] = True

    def load(self, address: int, size: int) -> Array:
        """A copy of bytes, uint8 [size].

        Raises:
            KernelFault: they reach beyond an allocation.
        """
        start = self._inside(address, size)
        return self._bytes[start : start + size].copy()

    def _inside(self, address: int, size: int) -> int:
        for start, room in self._sizes.items():
            if start <= address and address + size <= start + room:
                return address - BASE
        raise KernelFault(f"{size} bytes at {address:#x} are not allocated", fix="copy within an allocation")

    def limit(self, windows: Sequence[Window] | None = None) -> None:
        """Let kernels see these ranges alone; without any, all allocations."""
        if windows is None:
            windows = [Window(start, size, True, "an allocation") for start, size in self._sizes.items()]
        self._windows = windows
        self._readable = _merged([(w.address, w.address + w.size) for w in windows])
        self._complete = [(low, high) for low, high in self._readable if self._written[low - BASE : high - BASE].all()]
        self._writable = _merged([(w.address, w.address + w.size) for w in windows if w.writes])

    def gather(self, addresses: Array, size: int) -> Array:
        """Elements of 1, 2 or 4 · n bytes: uint8 [k, 1], uint16 [k, 1] or uint32 [k, n], from addresses uint64 [k].

        Raises:
            KernelFault: some are not in any window, or were never written.
        """
        low, high = int(addresses.min()), int(addresses.max()) + size
        places = self._places(addresses, size, (low, high), "reads")
        data = self._elements(self._bytes, places, size)
        if _holder(self._complete, low, high) is None:
            known = self._elements(self._written, places, size)
            if not (known.view(np.uint8) == 1).all():
                self._report_unwritten(addresses, known, size)
        return data

    def scatter(self, addresses: Array, data: Array, size: int) -> None:
        """Write elements in the form that `gather` gives; of those with one address, the last.

        Raises:
            KernelFault: some are not in any window that is writable.
        """
        low, high = int(addresses.min()), int(addresses.max()) + size
        places = self._places(addresses, size, (low, high), "writes")
        unit = min(size, 4)
        kind = _KINDS[unit]
        if (places & (unit - 1)).any():
            spread = places[:, None] + np.arange(size)
            self._bytes[spread] = np.ascontiguousarray(data).view(np.uint8)
            self._written[spread] = True
            return
        store, marks = self._bytes.view(kind), self._written.view(np.uint8).view(kind)
        where = places // unit
        for part in range(size // unit):
            store[where + part] = data[:, part]
            marks[where + part] = 0x01010101 & np.iinfo(kind).max

    def _elements(self, source: Array, places: Array, size: int) -> Array:
        unit = min(size, 4)
        kind = _KINDS[unit]
        if (places & (unit - 1)).any():
            spread = source.view(np.uint8)[places[:, None] + np.arange(size)]
            return np.ascontiguousarray(spread).view(kind)
        where = places // unit
        units: Array = source.view(np.uint8).view(kind)
        elements: Array = units[where][:, None] if size <= 4 else units[where[:, None] + np.arange(size // 4)]
        return elements

    def _places(self, addresses: Array, size: int, span: tuple[int, int], verb: str) -> Array:
        """Where the bytes are kept, int64 [k]."""
        ranges = self._readable if verb == "reads" else self._writable
        if _holder(ranges, *span) is None:
            self._check_each(addresses, size, ranges, verb)
        places: Array = (addresses - np.uint64(BASE)).view(np.int64)
        return places

    def _check_each(self, addresses: Array, size: int, ranges: list[tuple[int, int]], verb: str) -> None:
        starts = np.array([0, *(low for low, _ in ranges)], np.uint64)
        ends = np.array([0, *(high for _, high in ranges)], np.uint64)
        index = np.searchsorted(starts, addresses, "right") - 1
        # An address near 2^64 wraps around with its size; the first comparison catches it.
        wrong = (addresses >= ends[index]) | (addresses + np.uint64(size) > ends[index])
        if wrong.any():
            access = int(np.argmax(wrong))
            raise KernelFault(self._outside(int(addresses[access]), size, verb), access=access)

    def _outside(self, address: int, size: int, verb: str) -> str:
        text = f"{verb} {size} bytes at {address:#x}, out of bounds"
        if not self._windows:
            return f"{text}: nothing is allocated"

        def distance(window: Window) -> int:
            return max(window.address - address, address + size - window.address - window.size, 0)

        near = min(self._windows, key=lambda window: (distance(window), window.writes))
        if distance(near) == 0:
            return f"{text}: {near.name} at {near.address:#x} is read-only"
        side = "before" if address < near.address else "beyond"
        return f"{text}: {distance(near)} bytes {side} {near.name}, {near.size} bytes at {near.address:#x}"

    def _report_unwritten(self, addresses: Array, known: Array, size: int) -> None:
        wrong = (known.view(np.uint8).reshape(len(addresses), -1) != 1).any(1)
        access = int(np.argmax(wrong))
        text = f"reads {size} bytes at {int(addresses[access]):#x} that were never written"
        raise KernelFault(text, access=access)


def _holder(ranges: list[tuple[int, int]], low: int, high: int) -> int | None:
    """Which of some ranges, in order, has all of this one."""
    index = bisect.bisect_right(ranges, (low, 1 << 64)) - 1
    return index if index >= 0 and high <= ranges[index][1] else None


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges by address, those that touch in one."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged
