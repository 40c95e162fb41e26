"""Forms of elementwise ops: unary functions, binary ops with broadcasting, variadic ops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

import numpy as np

from deepseek_core.conformance.forms.base import Array, AttributeValue, Family, Form, Settings, Shape, Variant

__all__ = ["FAMILIES"]


def shape_of_rank(rank: int | None) -> Shape:
    """An odd shape without two equal dimensions, and with more elements than an 8-bit type has codes."""
    return {1: (289,), 2: (17, 19), 3: (3, 7, 17), 5: (2, 3, 2, 5, 7)}.get(rank or 4, (2, 3, 7, 11))


def _sizes(base: Settings) -> Iterator[Variant]:
    rank = len(base.shape)
    yield Variant("single_element", "one element", base.but(shape=(1,) * rank))
    yield Variant("odd_sizes", "1,037 elements: no vector width divides it", base.but(shape=(*(1,) * (rank - 1), 1037)))


def unary(
    op: str, attributes: Mapping[str, AttributeValue] | None = None, aux: Mapping[int, Array] | None = None
) -> Family:
    """An op of one data input whose output has its shape."""

    def form(settings: Settings) -> Form:
        return Form(op, (settings.shape,), aux=aux or {}, attributes=settings.attributes)

    return Family(lambda rank: Settings(shape_of_rank(rank), attributes=attributes or {}), form, _sizes, (1, 2, 3, 4))


def _binary(op: str) -> Family:
    def form(settings: Settings) -> Form:
        constant = frozenset(range(1, 2)) if settings.attributes.get("constant") else frozenset[int]()
        attributes = {name: value for name, value in settings.attributes.items() if name != "constant"}
        data = (settings.shape, *(settings.others or (settings.shape,)))
        return Form(op, data, attributes=attributes, constant=constant)

    return Family(_base, form, _binary_variants, (1, 2, 3, 4))


def _binary_variants(base: Settings) -> Iterator[Variant]:
    shape = base.shape
    yield from _sizes(base)
    yield Variant("broadcast_scalar", "the second input is a scalar", base.but(others=((),)))
    yield Variant("constant_operand", "the second input is a constant of the model", base.but(constant=1))
    if len(shape) < 2:
        return
    channel = tuple(n if axis == 1 else 1 for axis, n in enumerate(shape))
    stretched = tuple(1 if axis % 2 else n for axis, n in enumerate(shape))
    other = tuple(n if axis % 2 else 1 for axis, n in enumerate(shape))
    yield Variant("broadcast_channel", "one value for each channel", base.but(others=(channel,)))
    yield Variant("broadcast_first", "the first input is the smaller one", base.but(shape=channel, others=(shape,)))
    yield Variant("broadcast_both", "both inputs stretch", base.but(shape=stretched, others=(other,)))
    yield Variant("broadcast_rank", "the second input has a lower rank", base.but(others=(shape[1:],)))


def _variadic(op: str) -> Family:
    def form(settings: Settings) -> Form:
        return Form(op, (settings.shape, *settings.others), attributes=settings.attributes)

    def variants(base: Settings) -> Iterator[Variant]:
        shape = base.shape
        yield Variant("two_inputs", "two inputs", base.but(others=(shape,)))
        yield Variant("broadcast", "inputs of different rank", base.but(others=(shape[1:], (*shape[:-1], 1))))

    def base(rank: int | None) -> Settings:
        shape = shape_of_rank(rank)
        return Settings(shape, others=(shape, shape))

    return Family(base, form, variants, (1, 2, 3, 4))


def _base(rank: int | None) -> Settings:
    return Settings(shape_of_rank(rank))


def _concat_base(rank: int | None) -> Settings:
    return Settings(shape_of_rank(rank), attributes={"axis": 0 if rank == 1 else 1})


def _concat_form(settings: Settings) -> Form:
    axis = settings.attributes["axis"]
    assert isinstance(axis, int)
    shape = settings.shape
    grown = tuple(n + 1 if i == axis % len(shape) else n for i, n in enumerate(shape))
    return Form("Concat", (shape, grown, shape), attributes=settings.attributes)


def _concat_variants(base: Settings) -> Iterator[Variant]:
    yield from _sizes(base)
    if len(base.shape) > 1:
        yield Variant("last_axis", "the innermost axis", base.but(axis=len(base.shape) - 1))
        yield Variant("negative_axis", "an axis counted from the end", base.but(axis=-len(base.shape) + 1))


def _prelu(settings: Settings) -> Form:
    return Form("PRelu", (settings.shape,), _slope(settings), attributes=settings.attributes)


def _slope(settings: Settings) -> Shape:
    return (settings.shape[1], *(1 for _ in settings.shape[2:])) if len(settings.shape) > 1 else settings.shape


def _where(settings: Settings) -> Form:
    pattern = (np.arange(prod(settings.shape)) % 3 == 0).reshape(settings.shape)
    return Form("Where", (settings.shape, *(settings.others or (settings.shape,))), aux={0: pattern})


def _batch_norm(settings: Settings) -> Form:
    channels = settings.shape[1] if len(settings.shape) > 1 else 1
    ramp = np.arange(channels, dtype=np.float32)
    aux: dict[int, Array] = {1: 1 + ramp / 2, 2: ramp - 1, 3: ramp / 4, 4: 0.25 + ramp}
    return Form("BatchNormalization", (settings.shape,), aux=aux, attributes=settings.attributes)


_CLIP: dict[int, Array] = {1: np.array(-0.75, np.float32), 2: np.array(1.5, np.float32)}

FAMILIES: dict[str, Family] = {
    **{op: _binary(op) for op in ("Add", "Sub", "Mul", "Div")},
    **{op: _variadic(op) for op in ("Max", "Min", "Sum", "Mean")},
    **{
        op: unary(op)
        for op in (
            "Abs",
            "Ceil",
            "Erf",
            "Exp",
            "Floor",
            "HardSwish",
            "Identity",
            "Mish",
            "Neg",
            "Relu",
            "Round",
            "Sigmoid",
            "Sign",
            "Softplus",
            "Softsign",
            "Tanh",
            "Elu",
            "Selu",
            "Sin",
            "Cos",
            "QuantizeLinear",
            "DequantizeLinear",
        )
    },
    "LeakyRelu": unary("LeakyRelu", {"alpha": 0.3}),
    "HardSigmoid": unary("HardSigmoid", {"alpha": 0.25, "beta": 0.4}),
    "Gelu": unary("Gelu", {"approximate": "none"}),
    "Clip": unary("Clip", aux=_CLIP),
    "Concat": Family(_concat_base, _concat_form, _concat_variants, (1, 2, 3, 4)),
    "PRelu": Family(_base, _prelu, _sizes, (2, 3, 4)),
    "Where": Family(_base, _where, _sizes, (1, 2, 3, 4), batched=False),
    "BatchNormalization": Family(_base, _batch_norm, _sizes, (2, 3, 4)),
}
