"""Resize by whole factors: codes repeated, or interpolated by small convolutions, one for each phase.

The NPU's own resampling only doubles; repeating and interleaving are copies, and any whole factor is one of them.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.lowering.convolution import convolve, finish
from deepseek_backend_npu.lowering.elementwise import to_output
from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_backend_npu.lowering.numbers import constant, scale_zero
from deepseek_backend_npu.lowering.windows import Window, as_image
from deepseek_backend_npu.tosa import Tensor
from deepseek_core import Role, Unit
from deepseek_core.lowering import channels_last, shape_of

__all__ = ["LOWERINGS", "interleave", "resize_problem"]

_LARGEST = 16
_LARGEST_LINEAR = 5
"""Products of two interpolation weights, in units of 1 / (2 · factor) each, must fit int8."""


def resize_problem(unit: Unit) -> str | None:
    """Why the NPU cannot resize like this; None when it can."""
    x, y = unit.operands(Role.DATA)[0], unit.outputs[0]
    before, after = shape_of(x), shape_of(y)
    if before[:2] != after[:2]:
        return "samples and channels cannot be resized"
    ratios = [Fraction(o, i) for i, o in zip(before[2:], after[2:], strict=True)]
    scales = constant(unit, 2)
    if scales is not None and scales.size and [float(s) for s in scales[2:]] != [float(ratio) for ratio in ratios]:
        return "sizes are not the input's times the scales"
    if any(ratio.denominator != 1 for ratio in ratios):
        return "only whole factors are resized"
    most = _LARGEST_LINEAR if _is_linear(unit) else _LARGEST
    if max(ratios) > most:
        return f"factors above {most} are not resized"
    return None


def interleave(emitter: Emitter, parts: list[Tensor], axis: int) -> Tensor:
    """Images [N, H, W, C] whose rows (axis 1) or columns (2) follow each other in turn."""
    samples, height, width, channels = parts[0].shape
    outer = samples * height if axis == 1 else samples * height * width
    inner = width * channels if axis == 1 else channels
    flat = [emitter.reshape(part, (1, outer, 1, inner)) for part in parts]
    shape = [samples, height, width, channels]
    shape[axis] *= len(parts)
    return emitter.reshape(emitter.concat(flat, 2), shape)


def _resize(unit: Unit, emitter: Emitter) -> None:
    x, y = unit.operands(Role.DATA)[0], unit.outputs[0]
    image = as_image(emitter, emitter.codes(x, channels_last(len(shape_of(x)))))
    shape = shape_of(y)
    height, width = (1, shape[2]) if len(shape) == 3 else (shape[2], shape[3])
    factors = height // image.shape[1], width // image.shape[2]
    if _is_linear(unit):
        codes = _interpolated(unit, emitter, image, factors)
    else:
        codes = to_output(emitter, x, image, y)
        for axis in (2, 1):
            codes = interleave(emitter, [codes] * factors[axis - 1], axis)
    order = channels_last(len(shape))
    emitter.define(y.value, emitter.reshape(codes, [shape[axis] for axis in order]), order)


def _is_linear(unit: Unit) -> bool:
    return unit.node.attributes.get_string("mode", "nearest") == "linear"


def _interpolated(unit: Unit, emitter: Emitter, image: Tensor, factors: tuple[int, int]) -> Tensor:
    """Output f · i + r lies at i + (2r + 1 − f) / 2f: between the neighbours of i, the edge repeated outside."""
    for axis in (1, 2):
        image = _edged(emitter, image, axis)
    rows = []
    for row in range(factors[0]):
        columns = [
            _phase(unit, emitter, image, np.outer(_taps(row, factors[0]), _taps(column, factors[1])))
            for column in range(factors[1])
        ]
        rows.append(interleave(emitter, columns, 2))
    return interleave(emitter, rows, 1)


def _taps(phase: int, factor: int) -> NDArray[np.int64]:
    """Weights of the neighbour before, the element itself and the neighbour behind, in units of 1 / 2f."""
    offset = 2 * phase + 1 - factor
    return np.array([max(-offset, 0), 2 * factor - abs(offset), max(offset, 0)])


def _phase(unit: Unit, emitter: Emitter, image: Tensor, kernel: NDArray[np.int64]) -> Tensor:
    """One phase of the output: a depthwise convolution with a 3 × 3 kernel, divided by the kernel's sum."""
    x, y = unit.operands(Role.DATA)[0], unit.outputs[0]
    channels, zero = image.shape[3], scale_zero(x)[1]
    weights = np.broadcast_to(kernel[:, :, None, None], (3, 3, channels, 1))
    window = Window((3, 3), (1, 1), (1, 1), ((0, 0), (0, 0)))
    total = convolve(emitter, image, weights, np.zeros(channels, np.int64), window, zero=zero, depthwise=True)
    ratio = float(scale_zero(x)[0] / scale_zero(y)[0])
    return finish(emitter, unit, total, [ratio / int(kernel.sum())])


def _edged(emitter: Emitter, image: Tensor, axis: int) -> Tensor:
    """The image with its first and last row or column once more."""
    size = [1 if place == axis else n for place, n in enumerate(image.shape)]
    ends = [[at if place == axis else 0 for place in range(4)] for at in (0, image.shape[axis] - 1)]
    first, last = (emitter.slice(image, start, size) for start in ends)
    return emitter.concat([first, image, last], axis)


LOWERINGS = {"Resize": _resize}
