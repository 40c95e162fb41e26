"""Windows of convolutions and poolings: pads, strides and sizes as TOSA wants them, exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_backend_npu.tosa import Tensor
from deepseek_core import Unit
from deepseek_core.lowering import Axis, shape_of, transposed_axes, window_axes

__all__ = ["Window", "as_image", "exact_input", "spread_kernel", "window_of"]


_LONGEST_STRIDE = 3


@dataclass(frozen=True, slots=True)
class Window:
    """A two-dimensional window; one dimension is one of height 1.

    Attributes:
        kernel, stride, dilation: height and width.
        pads: in front and behind, for height and width.
        ceil: whether a last window may hang over the edge.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]
    ceil: bool = False

    def span(self, axis: int) -> int:
        """Input positions from the window's first to its last."""
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1

    def output(self, axis: int, size: int) -> int:
        """Positions of the window over an axis of `size` elements."""
        front, behind = self.pads[axis]
        room = size + front + behind - self.span(axis)
        count = room // self.stride[axis] + 1
        if self.ceil and room % self.stride[axis] and count * self.stride[axis] < size + front:
            count += 1
        return count

    def exact(self, size: tuple[int, int]) -> tuple[Window, tuple[int, int]]:
        """The window with pads behind that end where the last position ends, and how much of the input it reads."""
        pads, used = [], []
        for axis in (0, 1):
            front = self.pads[axis][0]
            end = (self.output(axis, size[axis]) - 1) * self.stride[axis] + self.span(axis) - front
            pads.append((front, max(end - size[axis], 0)))
            used.append(min(end, size[axis]))
        return Window(self.kernel, self.stride, self.dilation, (pads[0], pads[1])), (used[0], used[1])

    def narrow(self) -> Window:
        """The same with a dilation that the hardware has, 1 or 2, and a larger kernel with holes in it."""
        steps = self.steps
        kernel = [(self.kernel[axis] - 1) * steps[axis] + 1 for axis in (0, 1)]
        dilation = [self.dilation[axis] // steps[axis] for axis in (0, 1)]
        return replace(self, kernel=(kernel[0], kernel[1]), dilation=(dilation[0], dilation[1]))

    @property
    def steps(self) -> tuple[int, int]:
        """Distance of the elements of this window in those of `narrow`."""
        first, second = (d if d % 2 or self.is_coarse else d // 2 for d in self.dilation)
        return first, second

    @property
    def is_coarse(self) -> bool:
        """Whether a stride is one that the hardware does not have; Vela 5.2.0 takes it without pads and dilation."""
        return max(self.stride) > _LONGEST_STRIDE

    @property
    def tosa_pads(self) -> list[int]:
        return [*self.pads[0], *self.pads[1]]


def window_of(unit: Unit, kernel: tuple[int, ...], size: tuple[int, ...]) -> Window:
    """The window of a node with `kernel`, over spatial axes of `size`."""
    output = shape_of(unit.outputs[0])[2:]
    if unit.op == "ConvTranspose":
        axes = transposed_axes(unit.node, output, size, kernel)
    else:
        axes = window_axes(unit.node, size, output, kernel)
    down, across = (Axis(1, 1), *axes)[-2:]
    return Window(
        (down.kernel, across.kernel),
        (down.stride, across.stride),
        (down.dilation, across.dilation),
        ((down.begin, down.end), (across.begin, across.end)),
        bool(unit.node.attributes.get_int("ceil_mode", 0)),
    )


def spread_kernel(kernels: NDArray[Any], window: Window) -> NDArray[Any]:
    """Kernels [..., H, W] with zeros between their elements, for `window.narrow()`."""
    steps, narrow = window.steps, window.narrow()
    if steps == (1, 1):
        return kernels
    wide = np.zeros((*kernels.shape[:-2], *narrow.kernel), kernels.dtype)
    wide[..., :: steps[0], :: steps[1]] = kernels
    return wide


def as_image(emitter: Emitter, x: Tensor) -> Tensor:
    """[N, L, C] as [N, 1, L, C]; an image stays."""
    return emitter.reshape(x, (x.shape[0], 1, *x.shape[1:])) if len(x.shape) == 3 else x


def exact_input(
    emitter: Emitter, x: Tensor, window: Window, code: int, *, longest: int | None = None
) -> tuple[Tensor, Window]:
    """The part of [N, H, W, C] that is read, and the window over it.

    Pads as long as the window become codes of their own, since the hardware's pads lie within one; so do those above
    `longest`, those of strides that the hardware does not have, and those of several samples: Vela 5.2.0 misplaces some
    where it cuts a tensor up itself.
    """
    exact, used = window.exact((x.shape[1], x.shape[2]))
    x = emitter.slice(x, (0, 0, 0, 0), (x.shape[0], *used, x.shape[3]))
    limit = [exact.span(axis) if longest is None else min(exact.span(axis), longest + 1) for axis in (0, 1)]
    if x.shape[0] == 1 and not exact.is_coarse and all(max(exact.pads[axis]) < limit[axis] for axis in (0, 1)):
        return x, exact
    x = emitter.pad(x, ((0, 0), *exact.pads, (0, 0)), code)
    return x, Window(exact.kernel, exact.stride, exact.dilation, ((0, 0), (0, 0)))
