"""Feature maps as the registers describe them: up to four tiles, NHWC or bricks of 16 channels."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.emulator.isa import Format
from deepseek_backend_npu.emulator.memory import Extent, Memory
from deepseek_backend_npu.emulator.stream import Registers, known

__all__ = ["Box", "FeatureMap"]

_BRICK = 16
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Box:
    """A range of rows, columns and channels, each from start to end."""

    rows: Range
    columns: Range
    channels: Range

    @property
    def shape(self) -> tuple[int, int, int]:
        return (
            self.rows[1] - self.rows[0],
            self.columns[1] - self.columns[0],
            self.channels[1] - self.channels[0],
        )

    @property
    def index(self) -> tuple[slice, slice, slice]:
        return slice(*self.rows), slice(*self.columns), slice(*self.channels)


@dataclass(frozen=True)
class FeatureMap:
    """Where the elements of [height, width, depth] are.

    Attributes:
        region: base address register.
        dtype: of the elements.
        layout: of the bytes.
        bases: addresses of the four tiles.
        tile: height of tiles 0 and 2, of tiles 1 and 3, and width of tiles 0 and 2.
        strides: bytes from row to row, column to column, and (bricks) from brick to brick.
        shape: height, width, depth.
        zero: zero point.
    """

    region: int
    dtype: np.dtype[Any]
    layout: Format
    bases: tuple[int, ...]
    tile: tuple[int, int, int]
    strides: tuple[int, int, int]
    shape: tuple[int, int, int]
    zero: int

    @classmethod
    def of(cls, registers: Registers, name: str, shape: tuple[int, int, int]) -> FeatureMap:
        """The feature map `IFM`, `IFM2` or `OFM`."""
        precision = registers[f"{name}_PRECISION"]
        bits = 8 << (precision >> (1 if name == "OFM" else 2) & 3)
        layout = known(Format, precision >> 6 & 3)
        dtype = np.dtype(f"{'i' if precision & 1 else 'u'}{bits // 8}")
        x_stride = registers.stride(f"{name}_STRIDE_X") if layout is Format.NHWC else _BRICK * dtype.itemsize
        tile = [registers[f"{name}_{size}_M1"] + 1 for size in ("HEIGHT0", "HEIGHT1", "WIDTH0")]
        return cls(
            registers[f"{name}_REGION"] & 7,
            dtype,
            layout,
            tuple(registers.address(f"{name}_BASE{number}") for number in range(4)),
            (tile[0], tile[1], tile[2]),
            (registers.stride(f"{name}_STRIDE_Y"), x_stride, registers.stride(f"{name}_STRIDE_C")),
            shape,
            registers.signed(f"{name}_ZERO_POINT"),
        )

    def read(self, memory: Memory) -> NDArray[Any]:
        """All elements, [height, width, depth]."""
        pieces = self._whole
        if len(pieces) == 1:
            return memory.read(pieces[0][1], self.dtype)
        out = np.empty(self.shape, self.dtype)
        for box, extent in pieces:
            out[box.index] = memory.read(extent, self.dtype)
        return out

    def write(self, memory: Memory, values: NDArray[Any]) -> None:
        """Write all elements."""
        for box, extent in self._whole:
            memory.write(extent, values[box.index])

    def mark(self, marks: NDArray[np.uint8], box: Box, bit: int) -> None:
        """Set a bit on every byte of a box."""
        for _, extent in self.pieces(box):
            view = extent.view(marks)
            np.bitwise_or(view, np.uint8(bit), out=view)

    def marked(self, marks: NDArray[np.uint8], box: Box) -> int:
        """All bits that are set on any byte of a box."""
        found = 0
        for _, extent in self.pieces(box):
            found |= int(np.bitwise_or.reduce(extent.view(marks), axis=None))
        return found

    @functools.cached_property
    def hull(self) -> Range:
        """Lowest address, and the one behind the highest."""
        reaches = [extent.reach for _, extent in self._whole]
        return min(low for low, _ in reaches), max(high for _, high in reaches)

    @property
    def extents(self) -> tuple[Extent, ...]:
        """All elements, by tile and brick."""
        return tuple(extent for _, extent in self._whole)

    @functools.cached_property
    def _whole(self) -> tuple[tuple[Box, Extent], ...]:
        height, width, depth = self.shape
        return tuple(self.pieces(Box((0, height), (0, width), (0, depth))))

    def pieces(self, box: Box) -> Iterator[tuple[Box, Extent]]:
        """Parts of a box that lie in one tile and, in brick format, in one brick."""
        size = self.dtype.itemsize
        strides = (self.strides[0], self.strides[1], size)
        for rows, columns, base in self._tiles(box):
            for channels in self._bricks(box.channels):
                part = Box(rows, columns, channels)
                if self.layout is Format.NHWC:
                    start = base + channels[0] * size
                else:
                    start = base + channels[0] // _BRICK * self.strides[2] + channels[0] % _BRICK * size
                yield part, Extent(self.region, start, part.shape, strides, size)

    def _bricks(self, channels: Range) -> Iterator[Range]:
        if self.layout is Format.NHWC:
            yield channels
            return
        start, end = channels
        while start < end:
            stop = min(end, start - start % _BRICK + _BRICK)
            yield start, stop
            start = stop

    def _tiles(self, box: Box) -> Iterator[tuple[Range, Range, int]]:
        """Rows, columns and the address of channel 0 of each part of a box in one tile."""
        left, right, width = self.tile
        for columns, height, bases, x0 in (
            ((0, min(width, self.shape[1])), left, self.bases[::2], 0),
            ((width, self.shape[1]), right, self.bases[1::2], width),
        ):
            for rows, base, y0 in (
                ((0, min(height, self.shape[0])), bases[0], 0),
                ((height, self.shape[0]), bases[1], height),
            ):
                y, x = _overlap(rows, box.rows), _overlap(columns, box.columns)
                if y[0] < y[1] and x[0] < x[1]:
                    yield y, x, base + (y[0] - y0) * self.strides[0] + (x[0] - x0) * self.strides[1]


def _overlap(one: Range, other: Range) -> Range:
    return max(one[0], other[0]), min(one[1], other[1])
