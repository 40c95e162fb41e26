"""How a kernel's window lies on an image: one row of numbers for each spatial axis, one-dimensional images included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

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
    rank = len(kernel)
    strides = _list(node, "strides", rank)
    dilations = _list(node, "dilations", rank)
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    pads = tuple(node.attributes.get_ints("pads", ())) or (0,) * 2 * rank
    begin, end = ((0,) * rank,) * 2 if mode == "VALID" else (pads[:rank], pads[rank:])
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        rows = zip(positions, strides, kernel, dilations, size, strict=True)
        totals = [max(0, (p - 1) * s + (k - 1) * d + 1 - n) for p, s, k, d, n in rows]
        less, more = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
        begin, end = (less, more) if mode == "SAME_UPPER" else (more, less)
    return Window(
        _pair(size, 1),
        _pair(positions, 1),
        _pair(kernel, 1),
        _pair(strides, 1),
        _pair(dilations, 1),
        _pair(begin, 0),
        _pair(end, 0),
    )


def _list(node: ir.Node, name: str, rank: int) -> tuple[int, ...]:
    return tuple(node.attributes.get_ints(name, ())) or (1,) * rank


def _pair(values: Sequence[int], first: int) -> tuple[int, int]:
    """Two axes: those that are there, behind `first`."""
    height, width = (*(first for _ in range(2 - len(values))), *values)
    return int(height), int(width)
