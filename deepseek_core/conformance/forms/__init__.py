"""Shapes and attributes that the kit tests, by op."""

from __future__ import annotations

from deepseek_core.conformance.forms import convolution, elementwise, matrix, movement, named, normalization, pooling
from deepseek_core.conformance.forms.base import Family, Form, Settings, Shape, Variant, fit, with_subject

__all__ = ["FAMILIES", "Family", "Form", "Settings", "Shape", "Variant", "family", "fit", "with_subject"]

FAMILIES: dict[str, Family] = {
    **convolution.FAMILIES,
    **matrix.FAMILIES,
    **elementwise.FAMILIES,
    **pooling.FAMILIES,
    **movement.FAMILIES,
    **normalization.FAMILIES,
}
"""Ops that a target with `any_float` runs; those of `named` are asked for by rules alone."""


def family(op: str, *, weight: bool) -> Family | None:
    """Family of an op key; `weight` tells whether its weight position holds a constant weight."""
    if not weight and op in matrix.DATA_ONLY:
        return matrix.DATA_ONLY[op]
    return FAMILIES.get(op) or named.FAMILIES.get(op)
