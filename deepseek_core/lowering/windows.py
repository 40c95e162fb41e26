"""How the window of a convolution or pooling lies on its input, axis by axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from deepseek_core.reference.windows import Window, padding, steps

__all__ = ["Axis", "transposed_axes", "window_axes"]


@dataclass(frozen=True, slots=True)
class Axis:
    """A window along one spatial axis.

    Attributes:
        size: of the input.
        positions: places the window takes.
        kernel, stride, dilation: in elements.
        begin, end: padding; below 0, elements that are left out.
    """

    size: int
    positions: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    begin: int = 0
    end: int = 0

    def inside(self, tap: int) -> range:
        """Positions at which a kernel element lies on the input."""
        first = self.begin - tap * self.dilation
        low = max(0, -(-first // self.stride))
        high = min(self.positions, (self.size - 1 + first) // self.stride + 1)
        return range(low, max(low, high))


def window_axes(
    node: ir.Node, size: Sequence[int], positions: Sequence[int], kernel: Sequence[int]
) -> tuple[Axis, ...]:
    """The window that a node's attributes let slide over an input, one entry for each spatial axis.

    Args:
        size, positions: spatial sizes of its input and output.
        kernel: of the weights, or as the attribute has it.

    Raises:
        ModelError: an attribute has another length than the kernel.
    """
    strides, dilations = steps(node, size, kernel)
    begin, end = padding(node, size, positions, kernel)
    return tuple(map(Axis, size, positions, kernel, strides, dilations, begin, end))


def transposed_axes(
    node: ir.Node, size: Sequence[int], positions: Sequence[int], kernel: Sequence[int]
) -> tuple[Axis, ...]:
    """The window of a ConvTranspose: it slides over the output, and each of its positions is an element of the input.

    Args:
        size, positions: spatial sizes of its output and input.
        kernel: of the weights.

    Raises:
        ModelError: an attribute has another length than the kernel.
    """
    window = Window.behind(node, tuple(positions), tuple(kernel))
    rows = (window.kernel, window.strides, window.dilations, window.begin, window.end)
    return tuple(map(Axis, size, positions, *rows))
