"""Forms of pooling and reduction ops."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deepseek_core.conformance.forms.base import AttributeValue, Family, Form, Settings, Variant
from deepseek_core.conformance.forms.elementwise import shape_of_rank

__all__ = ["FAMILIES", "reduce"]

_SPATIAL = (9, 7, 5)


def _pool_base(op: str, rank: int | None) -> Settings:
    n = max((rank or 4) - 2, 1)
    attributes: dict[str, AttributeValue] = {
        "kernel_shape": (3,) * n,
        "strides": (1,) * n,
        "pads": (0,) * (2 * n),
        "dilations": (1,) * n,
        "ceil_mode": 0,
    }
    if op == "AveragePool":
        attributes["count_include_pad"] = 0
    return Settings((2, 3, *_SPATIAL[:n]), attributes=attributes)


def _pool(op: str) -> Family:
    def form(settings: Settings) -> Form:
        return Form(op, (settings.shape,), attributes=settings.attributes)

    def variants(base: Settings) -> Iterator[Variant]:
        n = len(base.shape) - 2
        begin, end = (1, 0, 1)[:n], (0, 1, 1)[:n]
        yield Variant("strides", "a different stride for each axis", base.but(strides=(2, 1, 3)[:n]))
        yield Variant("padding", "padding takes no part in the window", base.but(pads=(1,) * (2 * n)))
        yield Variant("asymmetric_pads", "begin and end pads differ", base.but(pads=(*begin, *end)))
        yield Variant("ceil_mode", "the last window hangs over the edge", base.but(ceil_mode=1, strides=(3,) * n))
        yield Variant("dilations", "a window with holes", base.but(dilations=(2, 1, 1)[:n]))
        yield Variant("odd_sizes", "17 channels", base.but(shape=(1, 17, *base.shape[2:])))
        yield Variant("window_1x1", "a window of one element", base.but(kernel_shape=(1,) * n))
        if op == "AveragePool":
            yield Variant(
                "count_include_pad", "padding counts as zeros", base.but(pads=(1,) * (2 * n), count_include_pad=1)
            )

    return Family(lambda rank: _pool_base(op, rank), form, variants, (3, 4, 5))


def _global_pool(op: str) -> Family:
    def form(settings: Settings) -> Form:
        return Form(op, (settings.shape,), attributes=settings.attributes)

    def variants(base: Settings) -> Iterator[Variant]:
        spatial = base.shape[2:]
        yield Variant("window_1x1", "a window of one element", base.but(shape=(2, 3, *(1 for _ in spatial))))
        yield Variant("odd_sizes", "17 channels, batch 1", base.but(shape=(1, 17, *spatial)))
        yield Variant("large_window", "289 summands", base.but(shape=(1, 2, *(1 for _ in spatial[1:]), 289)))

    def base(rank: int | None) -> Settings:
        return Settings((2, 3, *_SPATIAL[: max((rank or 4) - 2, 1)]))

    return Family(base, form, variants, (3, 4, 5))


def reduce(op: str) -> Family:
    """An op that folds axes."""

    def form(settings: Settings) -> Form:
        attributes = dict(settings.attributes)
        axes = attributes.pop("axes", None)
        aux = {} if axes is None else {1: np.array(axes, np.int64)}
        return Form(op, (settings.shape,), aux=aux, attributes=attributes)

    def variants(base: Settings) -> Iterator[Variant]:
        yield Variant("negative_axis", "an axis counted from the end", base.but(axes=(-2,)))
        yield Variant("all_axes", "no axes: everything", base.but(axes=None))
        yield Variant("dropped_axis", "keepdims = 0", base.but(keepdims=0))

    def base(rank: int | None) -> Settings:
        shape = shape_of_rank(rank)
        return Settings(shape, attributes={"axes": (len(shape) - 1,), "keepdims": 1})

    return Family(base, form, variants, (2, 3, 4), batched=False)


FAMILIES: dict[str, Family] = {
    **{op: _pool(op) for op in ("MaxPool", "AveragePool")},
    **{op: _global_pool(op) for op in ("GlobalAveragePool", "GlobalMaxPool")},
    **{op: reduce(op) for op in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")},
}
