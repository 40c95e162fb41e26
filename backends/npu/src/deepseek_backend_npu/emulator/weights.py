"""Weights and scales: decoded, and put back from the order in which the hardware reads them.

The order is that of `ethos_u55_weight_encoder.cpp` in ethos-u-vela (Apache-2.0).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.emulator.stream import HazardError
from deepseek_backend_npu.worker import call

__all__ = ["Order", "Scales", "decode", "positions", "scales_of"]

_SCALE_BYTES = 10
_SUBKERNEL = 8


@dataclass(frozen=True, slots=True)
class Order:
    """What determines the order of a stream of weights.

    Attributes:
        outputs, inputs: channels of the stream (one input for a depthwise convolution).
        kernel: window height and width.
        dilation: of the window.
        block: output channels of a block.
        output_unit, input_unit: channels of the hardware's smallest blocks.
        wide: whether the input has 16 bits.
        depthwise, part_first: the traversal; neither is channels first.
    """

    outputs: int
    inputs: int
    kernel: tuple[int, int]
    dilation: tuple[int, int]
    block: int
    output_unit: int
    input_unit: int
    wide: bool
    depthwise: bool
    part_first: bool

    @property
    def round_up(self) -> int:
        """Window elements are padded to a multiple of this."""
        if self.depthwise:
            return 4
        return (2 if self.wide else 4) if self.part_first else 1


@functools.lru_cache(maxsize=512)
def positions(order: Order) -> NDArray[np.int64]:
    """Where each element of a stream belongs in [outputs, height, width, inputs], flat; -1 for a filler."""
    depth = order.input_unit if order.depthwise else (16 if order.part_first or order.wide else 32)
    parts = []
    for start in range(0, order.outputs, order.block):
        outputs = min(order.block, order.outputs - start)
        for first in range(0, 1 if order.depthwise else order.inputs, depth):
            inputs = min(depth, order.inputs - first) if order.part_first and not order.depthwise else depth
            parts += _subkernels(order, start, outputs, first, inputs)
    return np.concatenate(parts)


def _subkernels(order: Order, start: int, outputs: int, first: int, inputs: int) -> list[NDArray[np.int64]]:
    """All of one block of outputs and inputs, by parts of at most 8 × 8 of the window."""
    parts = []
    step_y, step_x = (_SUBKERNEL // dilation for dilation in order.dilation)
    for y in range(0, order.kernel[0], step_y):
        height = min(step_y, order.kernel[0] - y)
        for x in range(0, order.kernel[1], step_x):
            width = min(step_x, order.kernel[1] - x)
            parts.append(_part(order, (start, outputs), (first, inputs), (y, height), (x, width)))
    return parts


def _part(
    order: Order, outputs: tuple[int, int], inputs: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> NDArray[np.int64]:
    """Axes, outermost first: outer inputs, output units, window elements, inner inputs, outputs, inputs of a unit."""
    elements = -(-rows[1] * columns[1] // order.round_up) * order.round_up
    unit = 1 if order.depthwise else order.input_unit
    steps = np.arange(0, inputs[1], order.input_unit)
    outer, inner = (steps, np.zeros(1, np.int64)) if order.part_first else (np.zeros(1, np.int64), steps)
    element = np.arange(elements)
    o = outputs[0] + np.arange(0, outputs[1], order.output_unit)
    i = np.arange(unit)
    axes = np.ix_(outer, o, element, inner, np.arange(order.output_unit), i)
    channel = inputs[0] + axes[0] + axes[3] + axes[5]
    output = axes[1] + axes[4]
    row, column = rows[0] + axes[2] // columns[1], columns[0] + axes[2] % columns[1]
    inside = (channel < order.inputs) & (output < order.outputs) & (axes[2] < rows[1] * columns[1])
    flat = ((output * order.kernel[0] + row) * order.kernel[1] + column) * order.inputs + channel
    return np.where(inside, flat, -1).reshape(-1)


@functools.lru_cache(maxsize=4096)
def decode(data: bytes, order: Order) -> NDArray[np.float32]:
    """int9 weights [outputs, height, width, inputs] as float32, from a compressed stream.

    The decoder is Arm's own; it ends its process on corrupt data, so it runs in a child.

    Raises:
        BackendError: the stream is corrupt.
    """
    (values,) = call("decoder_worker", [data])
    stream = np.frombuffer(values, np.int16)
    places = positions(order)
    weights = np.zeros((order.outputs, *order.kernel, order.inputs), np.float32)
    used = np.flatnonzero(places >= 0)
    if used.size and used[-1] >= len(stream):
        raise HazardError(f"a stream of {len(stream)} weights ends before its last one, at {used[-1]}")
    weights.reshape(-1)[places[used]] = stream[used]
    return weights


@dataclass(frozen=True, slots=True)
class Scales:
    """Bias, scale and shift of each output channel."""

    bias: NDArray[np.int64]
    scale: NDArray[np.int64]
    shift: NDArray[np.int64]


def scales_of(data: NDArray[np.uint8], channels: int) -> Scales:
    """From records of ten bytes: a bias of 40 bits, a scale of 32, a shift of 6."""
    records: NDArray[Any] = data[: channels * _SCALE_BYTES].reshape(channels, _SCALE_BYTES).astype(np.int64)
    bias = sum(records[:, place] << 8 * place for place in range(5))
    scale = sum(records[:, 5 + place] << 8 * place for place in range(4))
    signed = np.where(bias >= 1 << 39, bias - (1 << 40), bias)
    return Scales(signed, np.asarray(scale), records[:, 9] & 63)
