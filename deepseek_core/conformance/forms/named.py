"""Forms of ops that few targets run: tested where a table has a rule of theirs; `any_float` does not promise them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from deepseek_core.conformance.forms.base import Array, AttributeValue, Family, Form, Settings, Shape, Variant
from deepseek_core.conformance.forms.elementwise import shape_of_rank
from deepseek_core.conformance.forms.pooling import reduce

__all__ = ["FAMILIES"]

_IMAGE: Shape = (2, 3, 7, 9)


class _Change(NamedTuple):
    """A variant: its name, what it probes, and what it changes of the base."""

    name: str
    probes: str
    changes: Mapping[str, Any]


def _named(
    op: str,
    shape: Shape,
    *changes: _Change,
    aux: Callable[[Settings], dict[int, Array]] | None = None,
    others: tuple[Shape, ...] = (),
    **attributes: AttributeValue,
) -> Family:
    """An op of one form, with constants made from its settings."""

    def form(settings: Settings) -> Form:
        constants = {} if aux is None else aux(settings)
        return Form(op, (settings.shape, *settings.others), aux=constants, attributes=settings.attributes)

    def variants(base: Settings) -> Iterator[Variant]:
        return (Variant(change.name, change.probes, base.but(**change.changes)) for change in changes)

    def base(_: int | None) -> Settings:
        return Settings(shape, attributes=attributes, others=others)

    return Family(base, form, variants, batched=False)


def _function(op: str, **attributes: float) -> Family:
    odd = _Change("odd_sizes", "289 elements", {"shape": (289,)})
    return _named(op, shape_of_rank(4), odd, aux=None, others=(), **attributes)


def _choice(op: str) -> Family:
    return _named(
        op,
        _IMAGE,
        _Change("dropped_axis", "keepdims = 0", {"keepdims": 0}),
        _Change("last_index", "the last one of equal values", {"select_last_index": 1}),
        axis=1,
        keepdims=1,
    )


def _top() -> Family:
    """Values and places of the best; rows have equal ones."""

    def form(settings: Settings) -> Form:
        return Form("TopK", (settings.shape,), aux={1: np.array([5])}, attributes=settings.attributes, outputs=2)

    def variants(base: Settings) -> Iterator[Variant]:
        yield Variant("smallest", "the smallest ones", base.but(largest=0))
        yield Variant("innermost", "along the innermost axis", base.but(axis=-1, shape=(3, 289)))

    return Family(lambda _: Settings((3, 17, 7), attributes={"axis": 1, "largest": 1}), form, variants, batched=False)


def _rows(settings: Settings) -> dict[int, Array]:
    """Places and numbers for every other row."""
    places = np.arange(0, settings.shape[0], 2, dtype=np.int64)[::-1, np.newaxis]
    return {1: places, 2: _ramp((len(places), *settings.shape[1:]))}


def _elements(settings: Settings) -> dict[int, Array]:
    """Places along the axis, counted from the end, and numbers for two of its elements."""
    axis = settings.attributes["axis"]
    assert isinstance(axis, int)
    shape = tuple(2 if i == axis else n for i, n in enumerate(settings.shape))
    places = np.broadcast_to(-np.arange(1, 3).reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)
    return {1: places.astype(np.int64), 2: _ramp(shape)}


def _ramp(shape: Shape) -> Array:
    return (np.arange(prod(shape), dtype=np.float32).reshape(shape) - 7) / 4


def _grid(settings: Settings) -> dict[int, Array]:
    """Places inside the image and outside of it."""
    places = np.linspace(-1.3, 1.3, settings.shape[0] * 5 * 6 * 2, dtype=np.float32)
    return {1: np.random.default_rng(0).permutation(places).reshape(settings.shape[0], 5, 6, 2)}


def _regions(settings: Settings) -> dict[int, Array]:
    corners = np.array([[0, 0, 5, 5], [1, 2, 6, 7], [-1, -1, 3, 3]], np.float32)
    return {1: corners, 2: np.array([0, 1, 0], np.int64)}


def _pooled(settings: Settings) -> dict[int, Array]:
    """For each element of the pooled image, the last place of its window of 2 × 2 in the whole one."""
    n, c, h, w = settings.shape
    places = np.arange(n * c * 4 * h * w, dtype=np.int64).reshape(n, c, 2 * h, 2 * w)
    return {1: places[:, :, 1::2, 1::2]}


def _channels(settings: Settings) -> dict[int, Array]:
    ramp = np.arange(settings.shape[1], dtype=np.float32)
    return {1: 0.5 + ramp / 4, 2: ramp / 8 - 0.5}


def _axis(settings: Settings) -> dict[int, Array]:
    return {1: np.array(1, np.int64)}


def _size(settings: Settings) -> dict[int, Array]:
    return {1: np.array([settings.shape[0], 3, 5, 6], np.int64)}


_SCAN = (
    _Change("exclusive", "each sum without its own element", {"exclusive": 1}),
    _Change("reverse", "sums from the end", {"reverse": 1}),
)
_SAMPLING = (
    _Change("nearest", "the nearest pixel", {"mode": "nearest"}),
    _Change("border", "the border goes on outside", {"padding_mode": "border"}),
    _Change("reflection", "the image is mirrored outside", {"padding_mode": "reflection"}),
    _Change("corners", "places are those of corner pixels", {"align_corners": 1}),
    _Change("cubic", "16 pixels", {"mode": "cubic"}),
)
_POOL = (
    _Change("asymmetric_pads", "begin and end pads differ", {"pads": (1, 0, 0, 1)}),
    _Change("strides", "a different stride for each axis", {"strides": (2, 1)}),
    _Change("p_1", "sums of magnitudes", {"p": 1}),
)
_REGIONS = (
    _Change("scale", "regions of a larger image", {"spatial_scale": 0.5}),
    _Change("adaptive", "as many samples as pixels", {"sampling_ratio": 0}),
)
_REDUCED = _Change("reduction", "numbers are added to what is there", {"reduction": "add"})

FAMILIES: dict[str, Family] = {
    **{op: _function(op) for op in ("Asinh", "Atan", "Sinh", "Cosh", "Tan", "Acos", "Asin", "Acosh", "Atanh", "IsNaN")},
    **{op: _choice(op) for op in ("ArgMax", "ArgMin")},
    "AffineGrid": _named("AffineGrid", (2, 2, 3), aux=_size, align_corners=0),
    "CumSum": _named("CumSum", (3, 7, 17), *_SCAN, aux=_axis),
    "Einsum": _named("Einsum", (2, 3, 5), others=((2, 7, 5),), equation="bij,bkj->bik"),
    "GlobalLpPool": _named("GlobalLpPool", _IMAGE, _Change("p_1", "sums of magnitudes", {"p": 1}), p=2),
    "GridSample": _named("GridSample", _IMAGE, *_SAMPLING, aux=_grid, mode="linear", padding_mode="zeros"),
    "GroupNormalization": _named("GroupNormalization", (2, 6, 5, 7), aux=_channels, num_groups=3),
    "Hardmax": _named("Hardmax", _IMAGE, _Change("axis_1", "not the innermost axis", {"axis": 1}), axis=-1),
    "LRN": _named("LRN", (2, 8, 5, 7), _Change("wide", "five channels", {"size": 5}), size=3, alpha=0.5, bias=1.5),
    "LpPool": _named("LpPool", _IMAGE, *_POOL, kernel_shape=(3, 2), strides=(1, 1), pads=(0,) * 4, p=2),
    "MaxUnpool": _named("MaxUnpool", (2, 3, 4, 5), aux=_pooled, kernel_shape=(2, 2), strides=(2, 2)),
    "MeanVarianceNormalization": _named("MeanVarianceNormalization", _IMAGE, axes=(0, 2, 3)),
    "ReduceLogSumExp": reduce("ReduceLogSumExp"),
    "RoiAlign": _named("RoiAlign", _IMAGE, *_REGIONS, aux=_regions, output_height=2, output_width=3, sampling_ratio=2),
    "ScatterElements": _named("ScatterElements", (3, 7, 5), _REDUCED, aux=_elements, axis=1, reduction="none"),
    "ScatterND": _named("ScatterND", (7, 3, 5), _REDUCED, aux=_rows, reduction="none"),
    "Shrink": _function("Shrink", lambd=0.75, bias=0.25),
    "TopK": _top(),
}
"""By op key."""
