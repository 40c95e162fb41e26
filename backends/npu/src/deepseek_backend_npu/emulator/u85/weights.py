"""Weights and scales of Ethos-U85, decoded and put back from the order in which the hardware reads them.

Orders and formats are those of `ethos_u85_weight_encoder.cpp` and `mlw_encode_fwd.cpp` in the sources of ethos-u-vela
(Apache-2.0).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.emulator.stream import HazardError
from deepseek_backend_npu.emulator.weights import Scales
from deepseek_backend_npu.worker import call

__all__ = ["SCALE_BYTES", "Order", "decode", "scales_of"]

SCALE_BYTES = 10
_STREAMS = {128: 1, 256: 1, 512: 2, 1024: 4, 2048: 4}
_LANES = 4
_SUBKERNEL = 8
_HEADER, _LUT_AT, _LUT_BITS, _ENTRIES = 256, 112, 9, 16
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Order:
    """What determines the order of weights.

    Attributes:
        macs: of the variant.
        outputs, inputs: channels (one input for a depthwise convolution).
        kernel, stride, dilation: of the window, height and width.
        block: output channels of a block.
        unit: output channels of the smallest block.
        wide: whether the input has 16 bits.
        depthwise, part_first: the traversal; neither is channels first.
        sparse: whether of four weights two are 0.
        fast: whether the weights of all streams are one, in the format without entropy coding.
    """

    macs: int
    outputs: int
    inputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    block: int
    unit: int
    wide: bool
    depthwise: bool
    part_first: bool
    sparse: bool
    fast: bool

    @property
    def streams(self) -> int:
        """Parts of the weights that are read beside each other."""
        return _STREAMS[self.macs]

    @property
    def input_block(self) -> int:
        """Input channels of a block."""
        if self.part_first or self.depthwise:
            return 16
        if self.macs <= 256 and self.unit == 16 and not self.sparse:
            return 32
        return 128 if self.sparse and not self.wide else 64

    @property
    def input_unit(self) -> int:
        """Input channels that go through the window together."""
        if self.depthwise:
            return 1
        return 8 if self.part_first and self.wide and not self.sparse else self.input_block

    @property
    def round_up(self) -> int:
        """Window elements are padded to a multiple of this."""
        if self.depthwise:
            return 10
        return (10 if self.wide or self.sparse else 5) if self.part_first else 1

    @property
    def gap(self) -> int:
        """Fillers of a depthwise convolution behind each group of window elements, for each channel."""
        if not self.depthwise or (self.macs <= 256 and not self.wide):
            return 0
        return 2 if self.macs <= 512 else 6


@functools.lru_cache(maxsize=512)
def positions(order: Order, stream: int) -> Integers:
    """Where each element of a stream belongs in [outputs, height, width, inputs], flat; -1 for a filler."""
    parts: list[Integers] = []
    backwards = False
    for start in range(0, order.outputs, order.block):
        depth = min(order.block, order.outputs - start)
        blocks = range(0, 1 if order.depthwise else order.inputs, order.input_block)
        for first in reversed(blocks) if backwards else blocks:
            for part in _subkernels(order):
                inputs = 1 if order.depthwise else min(order.input_block, order.inputs - first)
                for outer in range(first, first + inputs, order.input_unit):
                    for output in range(start, start + depth, order.unit):
                        parts += _unit(order, stream, output, outer, part)
        backwards = not backwards
    return np.concatenate(parts)


def _subkernels(order: Order) -> Iterator[tuple[range, range]]:
    """Rows and columns of parts of at most 8 × 8 of the window, columns outermost."""
    step_y, step_x = (_SUBKERNEL // dilation for dilation in order.dilation)
    for x in range(0, order.kernel[1], step_x):
        for y in range(0, order.kernel[0], step_y):
            yield range(y, min(y + step_y, order.kernel[0])), range(x, min(x + step_x, order.kernel[1]))


def _unit(order: Order, stream: int, output: int, first: int, part: tuple[range, range]) -> list[Integers]:
    """One unit of outputs and inputs: window elements by phase of the stride, in lines there and back."""
    parts: list[Integers] = []
    left = -(-len(part[0]) * len(part[1]) // order.round_up) * order.round_up
    places = _places(order, stream, output, first)
    for y, x in _elements(order, *part):
        parts.append(np.where(places < 0, -1, places + (y * order.kernel[1] + x) * order.inputs))
        left -= 1
        if order.gap and left % order.round_up == 0:
            parts.append(np.full(order.gap * order.unit // order.streams, -1))
    if left > 0:
        fillers = (left + order.gap) * order.input_unit * order.unit // order.streams
        parts.append(np.full(fillers, -1))
    return parts


def _elements(order: Order, rows: range, columns: range) -> Iterator[tuple[int, int]]:
    steps = order.stride if order.part_first or order.depthwise else (1, 1)
    for row in range(steps[0]):
        for column in range(steps[1]):
            lines, line = rows[row :: steps[0]], columns[column :: steps[1]]
            for number, y in enumerate(lines):
                for x in reversed(line) if number % 2 else line:
                    yield y, x


@functools.lru_cache(maxsize=4096)
def _places(order: Order, stream: int, output: int, first: int) -> Integers:
    """Flat places of the window's first element: inner inputs, groups of four outputs, outputs, inputs."""
    step = 1 if order.depthwise else (16 if order.sparse else 8)
    inner = np.arange(0, order.input_unit, step)
    groups = np.arange(stream * _LANES, order.unit, _LANES * order.streams)
    axes = np.ix_(inner, groups, np.arange(_LANES), np.arange(step))
    channel, out = first + axes[0] + axes[3], output + axes[1] + axes[2]
    inside = (channel < order.inputs) & (out < order.outputs)
    area = order.kernel[0] * order.kernel[1] * order.inputs
    return np.where(inside, out * area + channel, -1).reshape(-1)


def decode(data: Sequence[bytes], order: Order) -> NDArray[np.float32]:
    """Weights [outputs, height, width, inputs] from the stream of each part; see `emulator.weights.decode`."""
    return _decoded(tuple(data), order)


@functools.lru_cache(maxsize=4096)
def _decoded(data: tuple[bytes, ...], order: Order) -> NDArray[np.float32]:
    weights = np.zeros((order.outputs, *order.kernel, order.inputs), np.float32)
    if order.fast:
        streams, places = [_fast(data[0])], [_interleaved(order)]
    else:
        streams = [np.frombuffer(call("decoder_worker", [part])[0], np.int16) for part in data]
        places = [positions(order, number) for number in range(len(data))]
    for stream, place in zip(streams, places, strict=True):
        used = np.flatnonzero(place >= 0)
        if used.size and used[-1] >= len(stream):
            raise HazardError(f"a stream of {len(stream)} weights ends before its last one, at {used[-1]}")
        weights.reshape(-1)[place[used]] = stream[used]
    return weights


def _interleaved(order: Order) -> Integers:
    """Blocks of all streams in turn."""
    size = order.unit * order.input_unit * order.round_up // order.streams
    parts = [positions(order, number).reshape(-1, size) for number in range(order.streams)]
    return np.stack(parts, axis=1).reshape(-1)


def _fast(data: bytes) -> NDArray[np.int16]:
    """Weights without entropy coding: of 8 bits with an offset, or places of 2 or 4 bits in a list of 16."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    if len(bits) < _HEADER:
        raise HazardError("a stream of weights without a header")
    raw, small = bool(bits[0]), bool(bits[1])
    body = bits[_HEADER:]
    if raw:
        adjust = int(np.packbits(bits[104:112], bitorder="little").view(np.int8)[0])
        return np.asarray(np.packbits(body, bitorder="little").view(np.int8).astype(np.int16) - adjust)
    folded = _numbers(bits[_LUT_AT:_HEADER], _LUT_BITS)
    listed = np.where(folded & 1, -(folded >> 1), folded >> 1)
    return listed[_numbers(body, 2 if small else 4)].astype(np.int16)


def _numbers(bits: NDArray[np.uint8], size: int) -> Integers:
    rows = bits[: len(bits) // size * size].reshape(-1, size)
    return rows.astype(np.int64) @ (1 << np.arange(size))


def scales_of(data: NDArray[np.uint8], channels: int, *, wide: bool) -> Scales:
    """From records of ten bytes: a bias of 32 (wide: 48) bits, a scale of 31 (15), a shift of 6."""
    records = data[: channels * SCALE_BYTES].reshape(channels, SCALE_BYTES).astype(np.int64)
    size = 6 if wide else 4
    bias = np.asarray(sum(records[:, place] << 8 * place for place in range(size)))
    scale = np.asarray(sum(records[:, size + place] << 8 * place for place in range(8 - size)))
    return Scales(bias << 64 - 8 * size >> 64 - 8 * size, scale, records[:, 8] & 63)
