"""How a kernel's window lies on an image: one row of numbers for each spatial axis, one-dimensional images included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import onnx_ir as ir

from deepseek_core.lowering import Axis, window_axes

__all__ = ["Window", "window_of"]


@dataclass(frozen=True, slots=True)
class Window:
    """A window over height and width; an image of one axis has height 1.

    Attributes:
        size: of the input.
        positions: places the window takes.
        kernel, strides, dilations: in elements.
        begin, end: padding.
    """

    size: tuple[int, int]
    positions: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    begin: tuple[int, int]
    end: tuple[int, int]

    def values(self) -> dict[str, int]:
        """As the kernels' arguments name them."""
        return {
            **dict(zip(("h", "wide"), self.size, strict=True)),
            **dict(zip(("oh", "ow"), self.positions, strict=True)),
            **dict(zip(("kh", "kw"), self.kernel, strict=True)),
            **dict(zip(("sh", "sw"), self.strides, strict=True)),
            **dict(zip(("dh", "dw"), self.dilations, strict=True)),
            **dict(zip(("top", "left"), self.begin, strict=True)),
        }

    @property
    def is_point(self) -> bool:
        """Whether each position reads one element, and no padding."""
        return self.kernel == (1, 1) and self.begin == (0, 0) and self.end == (0, 0)

    @property
    def fits(self) -> bool:
        """Whether it has a place on the input at all."""
        return min(self.positions) > 0


def window_of(node: ir.Node, size: Sequence[int], positions: Sequence[int], kernel: Sequence[int]) -> Window:
    """The window of a Conv or pooling node.

    Args:
        size, positions: spatial sizes of its input and output.
        kernel: of the weights, or as the attribute has it.
    """
    axes = (Axis(1, 1), *window_axes(node, size, positions, kernel))[-2:]
    return Window(*zip(*map(astuple, axes), strict=True))
