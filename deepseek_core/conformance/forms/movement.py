"""Forms of ops that move values, where codes must come out as they went in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from deepseek_core.conformance.forms.base import (
    Array,
    AttributeValue,
    Family,
    Form,
    Settings,
    Shape,
    Variant,
    no_variants,
)
from deepseek_core.conformance.forms.elementwise import shape_of_rank

__all__ = ["FAMILIES"]

Aux = Callable[[Settings], Mapping[int, Array]]


def _ints(*values: int) -> Array:
    return np.array(values, np.int64)


def _no_aux(settings: Settings) -> Mapping[int, Array]:
    return {}


def _family(
    op: str,
    *,
    shape: Shape | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
    aux: Aux = _no_aux,
    outputs: int = 1,
    more: Callable[[Settings], Iterable[Variant]] = no_variants,
    batched: bool = True,
) -> Family:
    """An op of one data input and constants at the other positions, all sizes from the data's shape."""

    def base(rank: int | None) -> Settings:
        return Settings(shape or shape_of_rank(rank), attributes=attributes or {})

    def form(settings: Settings) -> Form:
        return Form(op, (settings.shape,), aux=aux(settings), attributes=settings.attributes, outputs=outputs)

    return Family(base, form, more, () if shape else (3, 4), batched=batched)


def _constant(**positions: Array) -> Aux:
    """The same constants whatever the data's shape; `_1` is input position 1."""
    aux = {int(name.removeprefix("_")): array for name, array in positions.items()}

    def give(settings: Settings) -> Mapping[int, Array]:
        return aux

    return give


def _transpose_variants(base: Settings) -> Iterator[Variant]:
    rank = len(base.shape)
    yield Variant("reversed", "no perm: axes in reverse", base.but(perm=None))
    yield Variant("channels_last", "channels move to the end", base.but(perm=(0, *range(2, rank), 1)))


def _flatten_variants(base: Settings) -> Iterator[Variant]:
    yield Variant("axis_0", "axis 0 makes one row", base.but(axis=0))


def _slice_aux(settings: Settings) -> Mapping[int, Array]:
    """[…, 1::2 on the second axis, last axis backwards]."""
    last = len(settings.shape) - 1
    return {1: _ints(1, -1), 2: _ints(2**31 - 1, -(2**31)), 3: _ints(1, last), 4: _ints(2, -1)}


def _split_aux(settings: Settings) -> Mapping[int, Array]:
    size = settings.shape[-1]
    return {1: _ints(size // 3, size - size // 3)}


def _element_indices(settings: Settings) -> Mapping[int, Array]:
    """Different indices along axis 1 in every row; some count from the end."""
    size = settings.shape[1]
    return {1: (np.arange(np.prod(settings.shape)).reshape(settings.shape) * 5 % (2 * size) - size).astype(np.int64)}


def _lengths(settings: Settings) -> Mapping[int, Array]:
    return {1: np.resize([1, settings.shape[0]], settings.shape[1]).astype(np.int64)}


def _pads(settings: Settings) -> Mapping[int, Array]:
    rank = len(settings.shape)
    pads = (*([0] * (rank - 1)), 1, *([0] * (rank - 2)), 2, 1)
    return {1: _ints(*pads)}


def _resize_aux(settings: Settings) -> Mapping[int, Array]:
    scales = np.array([1, 1, *(2.0 for _ in settings.shape[2:])], np.float32)
    return {2: scales}


def _resize_variants(base: Settings) -> Iterator[Variant]:
    yield Variant(
        "linear", "interpolation between codes", base.but(mode="linear", coordinate_transformation_mode="half_pixel")
    )


_COORDINATES = np.array([[0, 2], [-1, 0], [1, 1]], np.int64)
_INDICES = np.array([[2, 0], [-1, 1]], np.int64)

FAMILIES: dict[str, Family] = {
    "Reshape": _family("Reshape", aux=_constant(_1=_ints(0, -1)), batched=False),
    "Transpose": _family("Transpose", shape=(2, 3, 7, 11), attributes={"perm": (0, 3, 1, 2)}, more=_transpose_variants),
    "Squeeze": _family("Squeeze", shape=(17, 1, 17, 1), aux=_constant(_1=_ints(1, -1))),
    "Unsqueeze": _family("Unsqueeze", aux=_constant(_1=_ints(1, -1))),
    "Flatten": _family("Flatten", attributes={"axis": 2}, more=_flatten_variants, batched=False),
    "Slice": _family("Slice", aux=_slice_aux),
    "Gather": _family("Gather", attributes={"axis": 1}, aux=_constant(_1=_INDICES)),
    "GatherElements": _family("GatherElements", attributes={"axis": 1}, aux=_element_indices, batched=False),
    "GatherND": _family("GatherND", aux=_constant(_1=_COORDINATES), batched=False),
    "ReverseSequence": _family(
        "ReverseSequence", attributes={"batch_axis": 1, "time_axis": 0}, aux=_lengths, batched=False
    ),
    "Split": _family("Split", attributes={"axis": -1}, aux=_split_aux, outputs=2),
    "Expand": _family("Expand", shape=(17, 1, 17), aux=_constant(_1=_ints(3, 1, 4, 1)), batched=False),
    "Tile": _family("Tile", aux=lambda s: {1: _ints(*(1 for _ in s.shape[:-1]), 3)}),
    "DepthToSpace": _family("DepthToSpace", shape=(2, 12, 3, 5), attributes={"blocksize": 2, "mode": "DCR"}),
    "SpaceToDepth": _family("SpaceToDepth", shape=(2, 3, 4, 12), attributes={"blocksize": 2}),
    "Pad": _family("Pad", attributes={"mode": "constant"}, aux=_pads),
    "Resize": _family(
        "Resize",
        shape=(2, 3, 7, 11),
        attributes={"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        aux=_resize_aux,
        more=_resize_variants,
    ),
}
