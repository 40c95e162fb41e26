"""The memory that an NPU program sees: regions by base address, and which of their bytes were ever written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.emulator.stream import HazardError

__all__ = ["Extent", "Memory"]

_POISON = 0x5A


@dataclass(frozen=True, slots=True)
class Extent:
    """Elements at base + Σ index · stride of a region.

    Attributes:
        region: base address register.
        base: address of the first element.
        shape, strides: of the index, strides in bytes.
        itemsize: bytes of an element.
    """

    region: int
    base: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int

    @property
    def reach(self) -> tuple[int, int]:
        """Lowest address, and the one behind the highest."""
        steps = [(size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)]
        low = self.base + sum(step for step in steps if step < 0)
        return low, self.base + sum(step for step in steps if step > 0) + self.itemsize

    def view(self, store: NDArray[Any]) -> NDArray[Any]:
        """The extent's bytes in a region's, [*shape, itemsize].

        Raises:
            HazardError: it reaches beyond the region.
        """
        low, high = self.reach
        if low < 0 or high > store.size:
            raise HazardError(f"reaches beyond region {self.region}: {low:#x} to {high:#x}")
        shape, strides = (*self.shape, self.itemsize), (*self.strides, 1)
        return np.ndarray(shape, store.dtype, store, self.base, strides)  # as_strided takes ten times as long


class Memory:
    """Bytes of each region, and for each byte whether it was written.

    Never-written memory holds a pattern that is no likely result, so that a program which reads it and gets away with
    it once still shows in the numbers.
    """

    def __init__(self, sizes: Mapping[int, int], constants: Mapping[int, NDArray[np.uint8]]) -> None:
        self._bytes: dict[int, NDArray[np.uint8]] = dict(constants)
        self._written: dict[int, NDArray[np.bool_]] = {}
        for region, size in sizes.items():
            self._bytes[region] = np.full(size, _POISON, np.uint8)
            self._written[region] = np.zeros(size, np.bool_)

    def load(self, region: int, address: int, size: int) -> NDArray[np.uint8]:
        """A view of consecutive bytes that must have been written."""
        view = self._range(region, address, size)
        written = self._written.get(region)
        if written is not None and not written[address : address + size].all():
            raise HazardError(f"reads memory that was never written: region {region}, {size} bytes at {address:#x}")
        return view

    def store(self, region: int, address: int, data: NDArray[np.uint8]) -> None:
        """Write consecutive bytes."""
        written = self._writable(region)
        self._range(region, address, data.size)[:] = data
        written[address : address + data.size] = True

    def copy(self, source: tuple[int, int], target: tuple[int, int], size: int) -> None:
        """Copy bytes between (region, address) pairs; what was never written stays so."""
        marks = self._writable(target[0])
        data = self._range(*source, size).copy()
        self._range(*target, size)[:] = data
        written = self._written.get(source[0])
        known = True if written is None else written[source[1] : source[1] + size].copy()
        marks[target[1] : target[1] + size] = known

    def read(self, extent: Extent, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Elements, all of which must have been written."""
        view = extent.view(self._known(extent.region))
        written = self._written.get(extent.region)
        if written is not None and not extent.view(written).all():
            raise HazardError(f"reads memory that was never written: region {extent.region}, near {extent.base:#x}")
        return np.ascontiguousarray(view).view(dtype)[..., 0]

    def write(self, extent: Extent, values: NDArray[Any]) -> None:
        """Write elements, in the extent's shape."""
        written = self._writable(extent.region)
        extent.view(self._known(extent.region))[...] = np.ascontiguousarray(values)[..., None].view(np.uint8)
        extent.view(written)[...] = True

    def marks(self, region: int) -> NDArray[np.uint8]:
        """Zeros, one for each byte of a region, to mark extents on."""
        return np.zeros(self._known(region).size, np.uint8)

    def _range(self, region: int, address: int, size: int) -> NDArray[np.uint8]:
        if address < 0 or address + size > self._known(region).size:
            raise HazardError(f"reaches beyond region {region}: {address:#x} to {address + size:#x}")
        return self._bytes[region][address : address + size]

    def _writable(self, region: int) -> NDArray[np.bool_]:
        self._known(region)
        if region not in self._written:
            raise HazardError(f"writes to region {region}, which is read-only")
        return self._written[region]

    def _known(self, region: int) -> NDArray[np.uint8]:
        if region not in self._bytes:
            raise HazardError(f"there is no region {region}")
        return self._bytes[region]
