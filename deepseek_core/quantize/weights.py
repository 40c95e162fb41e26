"""Weights whose codes an algorithm chose (GPTQ, learned rounding), in place of rounding to nearest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core.errors import ModelError
from deepseek_core.ir.qparams import QParams, expand, numpy_dtype
from deepseek_core.recipe import Recipe, TensorRecipe

__all__ = ["QuantizedWeight", "check_known", "check_weight"]


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedWeight:
    """A constant tensor as codes.

    Attributes:
        codes: of the float tensor's shape, in the dtype that stores the scheme's type (`ir.qparams.numpy_dtype`:
            int8, ml_dtypes.int4, ml_dtypes.float8_e4m3fn…).
        params: what the codes mean.
    """

    codes: NDArray[Any]
    params: QParams


def check_known(given: Iterable[tuple[str, int]], recipe: Recipe) -> None:
    """Check that the recipe quantizes every weight that is given.

    Raises:
        ModelError: it does not quantize one of them.
    """
    for node, position in given:
        if (node, position) not in recipe.weights:
            raise ModelError(
                f"a weight is given for input {position} of node '{node}', which the recipe does not quantize",
                fix="leave it out, or add it to the recipe",
            )


def check_weight(
    weight: QuantizedWeight, recipe: TensorRecipe, shape: tuple[int, ...], name: tuple[str, int]
) -> QuantizedWeight:
    """`weight` itself, when it is what the recipe asks for.

    Args:
        shape: of the float tensor that it stands for.
        name: node and input position; for messages.

    Raises:
        ModelError: its scheme, dtype, shape, scales or a code differ from what the recipe says.
    """
    codes, params = weight.codes, weight.params
    stored = numpy_dtype(recipe.scheme.dtype)
    where = f"weight given for input {name[1]} of node '{name[0]}'"
    if params.scheme != recipe.scheme:
        raise ModelError(f"the {where} is {params.scheme}", fix=f"quantize it as the recipe says: {recipe.scheme}")
    if codes.shape != shape or codes.dtype != stored:
        raise ModelError(
            f"the {where} has codes {codes.dtype}{list(codes.shape)}", fix=f"give them as {stored}{list(shape)}"
        )
    try:
        expand(params.scale, shape, params.scheme)
    except ModelError as error:
        raise ModelError(f"the {where} has {error.message}", fix=error.fix) from None
    numbers = codes.astype(np.float32)
    low, high = recipe.scheme.qmin, recipe.scheme.qmax
    # NaN, which float8 has, fails the comparison too.
    if not ((numbers >= low) & (numbers <= high)).all():
        raise ModelError(
            f"the {where} has codes outside {low:g} to {high:g}", fix=f"clip them to the codes of {recipe.scheme}"
        )
    return weight
