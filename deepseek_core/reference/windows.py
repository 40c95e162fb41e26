"""Sliding windows: how kernel, stride, dilation and padding of convolutions and pools place themselves on an input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from deepseek_core.errors import ModelError

__all__ = ["Window", "padding", "steps"]

Array = NDArray[Any]
Sizes = tuple[int, ...]
_SAME = ("SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True, slots=True)
class Window:
    """A window over the spatial axes; one entry per axis everywhere.

    Attributes:
        kernel, strides, dilations: in elements.
        begin, end: elements of padding before and after the input.
        positions: number of places the window takes. In ceil mode the last ones reach beyond the padding.
    """

    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    begin: Sizes
    end: Sizes
    positions: Sizes

    @classmethod
    def over(cls, node: ir.Node, spatial: Sizes, kernel: Sizes) -> Window:
        """The window that a node's attributes let slide over an input with these spatial sizes.

        Raises:
            ModelError: the window is larger than the padded input, or an attribute has another length.
        """
        strides, dilations = steps(node, spatial, kernel)
        positions = tuple(-(-n // s) for n, s in zip(spatial, strides, strict=True))
        begin, end = padding(node, spatial, positions, kernel)
        if node.attributes.get_string("auto_pad", "NOTSET") not in _SAME:
            rows = zip(spatial, begin, end, _extent(kernel, dilations), strict=True)
            room = [n + b + e - x for n, b, e, x in rows]
            positions = tuple(r // s + 1 for r, s in zip(room, strides, strict=True))
            if node.attributes.get_int("ceil_mode", 0):
                # One more where elements are left over, unless it would start in the padding behind the input.
                ends = [n + b for n, b in zip(spatial, begin, strict=True)]
                starts = zip(positions, strides, room, ends, strict=True)
                positions = tuple(p + (r % s > 0 and p * s < end) for p, s, r, end in starts)
        if min(positions, default=1) < 1:
            raise ModelError(
                f"node '{node.name}' ({node.op_type}): window {list(kernel)} is larger than its padded input "
                f"{list(spatial)}",
                fix="feed a larger input",
            )
        return cls(kernel, strides, dilations, begin, end, positions)

    @classmethod
    def behind(cls, node: ir.Node, spatial: Sizes, kernel: Sizes) -> Window:
        """The window of a ConvTranspose: it slides over the *output*, with one position per input element.

        Its padding is what `cut` takes off; negative padding is what `cut` adds.
        """
        strides, dilations = steps(node, spatial, kernel)
        rows = zip(spatial, strides, _extent(kernel, dilations), strict=True)
        reach = [(n - 1) * s + e for n, s, e in rows]
        extra = _sizes(node, "output_padding", len(kernel), 0)
        mode = node.attributes.get_string("auto_pad", "NOTSET")
        output = tuple(node.attributes.get_ints("output_shape", ()))[-len(kernel) :]
        if not output and mode in _SAME:
            output = tuple(n * s for n, s in zip(spatial, strides, strict=True))
        if output:
            total = [r + x - o for r, x, o in zip(reach, extra, output, strict=True)]
            begin, end = _halves(total, odd_at_end=mode == "SAME_UPPER")
        else:
            begin, end = _pads(node, mode, len(kernel))
        end = tuple(e - x for e, x in zip(end, extra, strict=True))
        return cls(kernel, strides, dilations, begin, end, spatial)

    @property
    def reach(self) -> Sizes:
        """Elements from the begin of the first position to the end of the last."""
        rows = zip(self.positions, self.strides, _extent(self.kernel, self.dilations), strict=True)
        return tuple((p - 1) * s + e for p, s, e in rows)

    def pad(self, x: Array, value: float = 0) -> Array:
        """`x` [N, C, spatial…] with `value` in its padding and wherever else a position reaches."""
        if any(self.begin) or any(self.end):
            x = np.pad(x, [(0, 0), (0, 0), *zip(self.begin, self.end, strict=True)], constant_values=value)
        return self.extend(x, value)

    def extend(self, padded: Array, value: float = 0) -> Array:
        """A padded input with `value` behind it where the last positions of ceil mode reach."""
        missing = [max(0, r - n) for r, n in zip(self.reach, padded.shape[2:], strict=True)]
        if not any(missing):
            return padded
        return np.pad(padded, [(0, 0), (0, 0), *((0, m) for m in missing)], constant_values=value)

    def cut(self, x: Array) -> Array:
        """`x` [N, C, reach…] without its padding."""
        rows = zip(self.begin, self.end, x.shape[2:], strict=True)
        kept = x[:, :, *(slice(max(b, 0), n - max(e, 0)) for b, e, n in rows)]
        missing = [(max(-b, 0), max(-e, 0)) for b, e in zip(self.begin, self.end, strict=True)]
        return np.pad(kept, [(0, 0), (0, 0), *missing]) if any(map(any, missing)) else kept

    def unfold(self, padded: Array) -> Array:
        """A view [N, C, positions…, kernel…] of a padded input."""
        view = sliding_window_view(padded, _extent(self.kernel, self.dilations), tuple(range(2, padded.ndim)))
        places = (slice(0, (p - 1) * s + 1, s) for p, s in zip(self.positions, self.strides, strict=True))
        return view[:, :, *places, *(slice(None, None, d) for d in self.dilations)]

    def taps(self) -> Iterator[tuple[Sizes, tuple[slice, ...]]]:
        """Each kernel element with the slices of the padded input that it meets over all positions."""
        for tap in np.ndindex(*self.kernel):
            rows = zip(tap, self.dilations, self.positions, self.strides, strict=True)
            yield tap, tuple(slice(t * d, t * d + (p - 1) * s + 1, s) for t, d, p, s in rows)


def steps(node: ir.Node, spatial: Sequence[int], kernel: Sequence[int]) -> tuple[Sizes, Sizes]:
    """Strides and dilations of a window.

    Raises:
        ModelError: an attribute, or the kernel, has another length than the spatial sizes.
    """
    if len(spatial) != len(kernel):
        raise ModelError(
            f"node '{node.name}' ({node.op_type}): {len(kernel)}-D window on {len(spatial)} spatial axes",
            fix="correct kernel_shape or the shape of the input",
        )
    return _sizes(node, "strides", len(kernel), 1), _sizes(node, "dilations", len(kernel), 1)


def padding(
    node: ir.Node, spatial: Sequence[int], positions: Sequence[int], kernel: Sequence[int]
) -> tuple[Sizes, Sizes]:
    """Elements of padding before and after an input: as given, none, or what `positions` places of the window need.

    Raises:
        ModelError: an attribute, or the kernel, has another length than the spatial sizes.
    """
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode not in _SAME:
        return _pads(node, mode, len(kernel))
    strides, dilations = steps(node, spatial, kernel)
    rows = zip(positions, strides, _extent(kernel, dilations), spatial, strict=True)
    return _halves([max(0, (p - 1) * s + e - n) for p, s, e, n in rows], odd_at_end=mode == "SAME_UPPER")


def _extent(kernel: Sequence[int], dilations: Sizes) -> Sizes:
    """Elements that a dilated kernel spans."""
    return tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))


def _pads(node: ir.Node, mode: str, rank: int) -> tuple[Sizes, Sizes]:
    pads = (0,) * 2 * rank if mode == "VALID" else _sizes(node, "pads", 2 * rank, 0)
    return pads[:rank], pads[rank:]


def _halves(total: Sequence[int], *, odd_at_end: bool) -> tuple[Sizes, Sizes]:
    """Padding split between begin and end."""
    small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return (small, large) if odd_at_end else (large, small)


def _sizes(node: ir.Node, name: str, length: int, default: int) -> Sizes:
    sizes = tuple(node.attributes.get_ints(name, ())) or (default,) * length
    if len(sizes) != length:
        raise ModelError(
            f"node '{node.name}' ({node.op_type}): attribute '{name}' has {len(sizes)} entries, not {length}",
            fix="correct the attribute",
        )
    return sizes
