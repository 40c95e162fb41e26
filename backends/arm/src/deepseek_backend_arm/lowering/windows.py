"""How a kernel's window lies on an image: numbers for each spatial axis.

Kernels of the runtime walk two axes. An image of one axis has height 1; of three, the first is walked here (`unfold`).
"""

from __future__ import annotations

from collections.abc import Sequence

from deepseek_backend_arm.lowering.emitter import Emitter
from deepseek_backend_arm.lowering.tensor import SIZES, Tensor
from deepseek_core.lowering import Axis, canonical, channels_last, strides_of

__all__ = ["fits", "flat", "is_point", "spatial", "unfold", "window_values"]


_ONE = Axis(1, 1)


def fits(axes: Sequence[Axis]) -> bool:
    """Whether the window has a place on the input at all."""
    return all(axis.positions > 0 for axis in axes)


def is_point(axes: Sequence[Axis]) -> bool:
    """Whether each position reads one element, and no padding."""
    return all(axis.kernel == 1 and axis.begin == 0 and (axis.positions - 1) * axis.stride < axis.size for axis in axes)


def window_values(axes: Sequence[Axis]) -> dict[str, int]:
    """Numbers of one or two axes, as the kernels' arguments name them."""
    values: dict[str, int] = {}
    for suffix, first, axis in zip("hw", ("top", "left"), (_ONE, *axes)[-2:], strict=True):
        values |= {suffix: axis.size, f"o{suffix}": axis.positions, f"k{suffix}": axis.kernel}
        values |= {f"s{suffix}": axis.stride, f"d{suffix}": axis.dilation, first: axis.begin}
    return values


def spatial(axes: Sequence[Axis]) -> tuple[int, ...]:
    """Sizes of the output."""
    return tuple(axis.positions for axis in axes)


def flat(x: Tensor) -> Tensor:
    """[N, C, D, H, W] with channels last as an image for each of N and D."""
    n, c, d, *rest = x.shape
    return Tensor(x.dtype, (n * d, c, *rest), channels_last(4), x.memory)


def unfold(emitter: Emitter, x: Tensor, axis: Axis, groups: int, fill: int) -> Tensor:
    """[N, C, D, H, W] as images [N · positions, taps · C, H, W]: what a window along D covers becomes channels.

    The channels of a group stay together, those of the first kernel element first.

    Args:
        fill: byte of padding.
    """
    n, c, _, h, w = x.shape
    inner, taps = c // groups, axis.kernel
    source = emitter.ordered(x, channels_last(5))
    result = emitter.new(x.dtype, (n * axis.positions, taps * c, h, w), channels_last(4))
    count = result.count * SIZES[x.dtype]
    emitter.emit("fill", {"y": result}, {"size": 1, "count": count, "value": fill, "high": 0})
    strides = dict(zip("ncdhw", source.strides, strict=True))
    to = strides_of((n, axis.positions, h, w, groups, taps, inner), canonical(7))
    for tap in range(taps):
        places = axis.inside(tap)
        if not len(places):
            continue
        first = places.start * axis.stride - axis.begin + tap * axis.dilation
        emitter.move(
            source,
            result,
            (n, len(places), h, w, groups, inner),
            (strides["n"], axis.stride * strides["d"], strides["h"], strides["w"], inner, 1),
            (to[0], to[1], to[2], to[3], to[4], to[6]),
            source_offset=first * strides["d"],
            target_offset=places.start * to[1] + tap * to[5],
        )
    return result
