"""Forms of Gemm and MatMul."""

from __future__ import annotations

from collections.abc import Iterator

from deepseek_core.conformance.forms.base import Family, Form, Settings, Variant

__all__ = ["FAMILIES"]


def _gemm_base(rank: int | None) -> Settings:
    """K = N, so that an ignored transB or a wrong channel axis fits and must show in the numbers."""
    return Settings((3, 7), 7, {"transA": 0, "transB": 0, "alpha": 1.0, "beta": 1.0})


def _gemm(settings: Settings) -> Form:
    rows, depth = settings.shape[0], settings.shape[-1]
    data = (depth, rows) if settings.attributes.get("transA") else (rows, depth)
    columns = settings.channels
    weight = (columns, depth) if settings.attributes.get("transB") else (depth, columns)
    return Form("Gemm", (data,), weight, columns, attributes=settings.attributes, reduced=depth)


def _gemm_variants(base: Settings) -> Iterator[Variant]:
    yield Variant("trans_b", "a transposed weight: its channel axis moves too", base.but(transB=1))
    yield Variant("trans_a", "transposed data", base.but(transA=1))
    yield Variant("alpha", "alpha scales the product, not the bias", base.but(alpha=0.5))
    yield Variant("beta", "beta scales the bias, not the product", base.but(beta=2.0))
    yield Variant("single_element", "every dimension is 1", base.but(shape=(1, 1), channels=1))
    yield Variant("odd_sizes", "33 × 17 → 5", base.but(shape=(33, 17), channels=5))
    yield Variant("vector", "one row: the matrix-vector path", base.but(shape=(1, 33), channels=9))


def _matmul_base(rank: int | None) -> Settings:
    return Settings((*(2, 3, 4)[: (rank or 3) - 1], 7), 7)


def _matmul(settings: Settings) -> Form:
    depth = settings.shape[-1]
    return Form("MatMul", (settings.shape,), (depth, settings.channels), attributes=settings.attributes, reduced=depth)


def _matmul_variants(base: Settings) -> Iterator[Variant]:
    lead = base.shape[:-1]
    yield Variant("single_element", "every dimension is 1", base.but(shape=(1,) * len(base.shape), channels=1))
    yield Variant("odd_sizes", "depth 17, 5 columns", base.but(shape=(*lead, 17), channels=5))
    yield Variant("vector", "one row: the matrix-vector path", base.but(shape=(*(1 for _ in lead), 33), channels=9))


def _product(settings: Settings) -> Form:
    """MatMul of two activations."""
    *batch, rows, depth = settings.shape
    second = (*batch, depth, settings.channels)
    return Form("MatMul", ((*batch, rows, depth), second), attributes=settings.attributes, reduced=depth)


def _product_variants(base: Settings) -> Iterator[Variant]:
    yield from _matmul_variants(base)


FAMILIES = {
    "Gemm": Family(_gemm_base, _gemm, _gemm_variants, ranks=(2,)),
    "MatMul": Family(_matmul_base, _matmul, _matmul_variants, ranks=(2, 3, 4)),
}

DATA_ONLY = {"MatMul": Family(_matmul_base, _product, _product_variants, ranks=(2, 3, 4))}
"""Families of ops whose weight position may hold data too: rules without a weight."""
