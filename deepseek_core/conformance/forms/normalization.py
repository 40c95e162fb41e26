"""Forms of softmax and normalisations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deepseek_core.conformance.forms.base import Array, Family, Form, Settings, Variant
from deepseek_core.conformance.forms.elementwise import shape_of_rank

__all__ = ["FAMILIES"]


def _softmax(op: str) -> Family:
    def form(settings: Settings) -> Form:
        return Form(op, (settings.shape,), attributes=settings.attributes)

    def variants(base: Settings) -> Iterator[Variant]:
        yield Variant("axis_1", "not the innermost axis", base.but(axis=1))
        yield Variant("one_class", "a single class has probability 1", base.but(shape=(*base.shape[:-1], 1)))

    return Family(lambda rank: Settings(shape_of_rank(rank), attributes={"axis": -1}), form, variants, (2, 3, 4))


def _scale_and_shift(size: int) -> dict[int, Array]:
    ramp = np.arange(size, dtype=np.float32)
    return {1: 0.5 + ramp / 4, 2: ramp / 8 - 0.5}


def _layer_norm(settings: Settings) -> Form:
    aux = _scale_and_shift(settings.shape[-1])
    return Form("LayerNormalization", (settings.shape,), aux=aux, attributes=settings.attributes)


def _instance_norm(settings: Settings) -> Form:
    aux = _scale_and_shift(settings.shape[1])
    return Form("InstanceNormalization", (settings.shape,), aux=aux, attributes=settings.attributes)


FAMILIES: dict[str, Family] = {
    "Softmax": _softmax("Softmax"),
    "LogSoftmax": _softmax("LogSoftmax"),
    "LayerNormalization": Family(
        lambda rank: Settings(shape_of_rank(rank), attributes={"axis": -1, "epsilon": 1e-5}),
        _layer_norm,
        ranks=(2, 3, 4),
    ),
    "InstanceNormalization": Family(
        lambda rank: Settings(shape_of_rank(rank), attributes={"epsilon": 1e-5}), _instance_norm, ranks=(3, 4)
    ),
}
