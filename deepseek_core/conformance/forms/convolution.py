"""Forms of Conv and ConvTranspose."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from deepseek_core.conformance.forms.base import AttributeValue, Family, Form, Settings, Shape, Variant

__all__ = ["FAMILIES"]

_SPATIAL = (7, 5, 4)


def _base(rank: int | None) -> Settings:
    """Weights are square (3 → 3 channels, 3 × 3 taps): a wrong channel axis fits and must show in the numbers."""
    n = max((rank or 4) - 2, 1)
    attributes: dict[str, AttributeValue] = {
        "kernel_shape": (3,) * n,
        "strides": (1,) * n,
        "dilations": (1,) * n,
        "pads": (0,) * (2 * n),
        "group": 1,
    }
    return Settings((2, 3, *_SPATIAL[:n]), 3, attributes)


def _kernel(settings: Settings) -> Shape:
    kernel = settings.attributes["kernel_shape"]
    assert isinstance(kernel, tuple)
    return tuple(int(k) for k in kernel)


def _group(settings: Settings) -> int:
    group = settings.attributes["group"]
    assert isinstance(group, int)
    return group


def _conv(settings: Settings) -> Form:
    group, kernel = _group(settings), _kernel(settings)
    shape = (settings.shape[0], _multiple(settings.shape[1], group), *settings.shape[2:])
    outputs = _multiple(settings.channels, group)
    weight = (outputs, shape[1] // group, *kernel)
    return Form("Conv", (shape,), weight, outputs, attributes=settings.attributes, reduced=prod(weight[1:]))


def _conv_transpose(settings: Settings) -> Form:
    group, kernel = _group(settings), _kernel(settings)
    shape = (settings.shape[0], _multiple(settings.shape[1], group), *settings.shape[2:])
    outputs = _multiple(settings.channels, group)
    weight = (shape[1], outputs // group, *kernel)
    reduced = shape[1] // group * prod(kernel)
    return Form("ConvTranspose", (shape,), weight, outputs, attributes=settings.attributes, reduced=reduced)


def _multiple(value: int, of: int) -> int:
    return -(-value // of) * of


def _shared_variants(base: Settings) -> Iterator[Variant]:
    n = len(base.shape) - 2
    one = (1,) * n
    spatial = tuple(max(s, 9) for s in base.shape[2:])
    begin, end = (1, 0, 2)[:n], (2, 1, 0)[:n]
    kernel = _kernel(base)
    yield Variant("pointwise", "a 1 × 1 kernel, where there is no window to hide in", base.but(kernel_shape=one))
    yield Variant(
        "single_element",
        "every dimension is 1",
        base.but(shape=(1,) * (n + 2), channels=1, kernel_shape=one),
    )
    yield Variant("odd_sizes", "17 channels and sizes no vector width divides", base.but(shape=(3, 17, *spatial[:n])))
    yield Variant("strides", "a different stride for each axis", base.but(strides=(2, 1, 3)[:n]))
    yield Variant("dilations", "a different dilation for each axis", _dilated(base, spatial, n))
    yield Variant(
        "padding", "padding is the real value 0, not the code 0", base.but(pads=tuple(k // 2 for k in kernel) * 2)
    )
    yield Variant("asymmetric_pads", "begin and end pads differ on every axis", base.but(pads=(*begin, *end)))
    yield Variant(
        "strides_dilations_pads",
        "strides, dilations and asymmetric pads at once",
        _dilated(base, spatial, n).but(strides=(3, 2, 1)[:n], pads=(*begin, *end)),
    )
    yield Variant("group", "two groups", base.but(shape=(2, 4, *base.shape[2:]), channels=6, group=2))
    yield Variant(
        "depthwise", "one channel in each group", base.but(shape=(2, 5, *base.shape[2:]), channels=5, group=5)
    )
    yield Variant(
        "depthwise_multiplier",
        "two output channels for each input channel",
        base.but(shape=(2, 3, *base.shape[2:]), channels=6, group=3),
    )
    yield Variant("auto_pad_upper", "SAME_UPPER puts the odd pad behind", _auto_pad(base, "SAME_UPPER"))
    yield Variant("auto_pad_lower", "SAME_LOWER puts the odd pad in front", _auto_pad(base, "SAME_LOWER"))


def _dilated(base: Settings, spatial: Shape, n: int) -> Settings:
    return base.but(shape=(*base.shape[:2], *spatial), dilations=(1, 2, 2)[:n] if n > 1 else (2,))


def _auto_pad(base: Settings, mode: str) -> Settings:
    n = len(base.shape) - 2
    return base.but(auto_pad=mode, pads=None, dilations=None, strides=(2,) * n, kernel_shape=(2,) * n)


def _transpose_variants(base: Settings) -> Iterator[Variant]:
    n = len(base.shape) - 2
    yield from (v for v in _shared_variants(base) if not v.name.startswith("auto_pad"))
    yield Variant(
        "output_padding",
        "output_padding adds at the end only",
        base.but(strides=(2, 3, 2)[:n], output_padding=(1, 2, 1)[:n]),
    )
    doubled = base.but(strides=(2,) * n, pads=None, dilations=None)
    yield Variant("auto_pad_upper", "SAME_UPPER cuts the odd element off behind", doubled.but(auto_pad="SAME_UPPER"))
    yield Variant("auto_pad_lower", "SAME_LOWER cuts the odd element off in front", doubled.but(auto_pad="SAME_LOWER"))
    sizes = tuple(2 * size for size in base.shape[2:])
    yield Variant("output_shape", "output_shape says what is cut off", doubled.but(output_shape=sizes))


FAMILIES = {
    "Conv": Family(_base, _conv, _shared_variants, ranks=(3, 4, 5)),
    "ConvTranspose": Family(_base, _conv_transpose, _transpose_variants, ranks=(3, 4, 5)),
}
