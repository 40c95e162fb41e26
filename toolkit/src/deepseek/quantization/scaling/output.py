"""Output error of quantized matrix products, on places that were kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.scaling.apply import scaled
from deepseek.quantization.scaling.noise import relative_shares
from deepseek.quantization.scaling.observe import ChannelStats
from deepseek.quantization.scaling.products import Products
from deepseek_core import QParams, QuantizedModel, Recipe
from deepseek_core.calibration import weight_qparams
from deepseek_core.ir.query import constant

__all__ = ["output_error"]

_TINY = float(np.finfo(np.float32).tiny)
_SHARES = (1.0, 0.8, 0.6)


def output_error(
    candidate: Products,
    model: QuantizedModel,
    recipe: Recipe,
    stats: Mapping[str, ChannelStats],
    factors: NDArray[np.float64],
) -> float:
    """Mean over places of |Q(x t) Q(W / t) − x W|² / |x W|², summed over the products.

    Args:
        candidate: the products.
        model: float, without the factors.
        recipe: schemes.
        stats: of the tensor that they read.
        factors: float64 [V].
    """
    group, seen = candidate.group, stats[candidate.value]
    t = group.expand(factors, group.values[candidate.value].reshape(-1))
    nodes = {node.name or "": node for node in model.graph}
    pairs = []
    for touch in group.readers:
        array = constant(nodes[touch.node].inputs[touch.position])
        assert array is not None
        changed = scaled(array, [touch], np.append(factors, 1.0))
        rounded = weight_qparams(changed, recipe.weights[touch.node, touch.position]).fake_quantize(changed)
        flipped = touch.ids.shape[0] == 1 and touch.ids.size > 1
        pairs.append((array.T, rounded.T) if flipped else (array, rounded))
    rows = seen.rows * t.astype(np.float32)
    scheme = recipe.activations[_root(candidate.value, recipe)].scheme
    low, high = float((seen.low * t).min()), float((seen.high * t).max())
    inputs = [QParams.from_range(scheme, low * share, high * share).fake_quantize(rows) for share in _SHARES]
    errors = [_relative(seen, w, [x @ r for x in inputs]) for w, r in pairs]
    return float(np.sum(errors, axis=0).min())


def _relative(
    seen: ChannelStats, weight: NDArray[np.float32], found: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """Error of each of `found`, relative to what it should be."""
    right = seen.rows @ weight
    power = np.einsum("nm,nm->n", right, right).astype(np.float64)
    places = relative_shares(seen.shares, power) / max(float(seen.shares @ power), _TINY)
    errors = (other - right for other in found)
    return np.asarray([places @ np.einsum("nm,nm->n", error, error) for error in errors])


def _root(name: str, recipe: Recipe) -> str:
    while name in recipe.shared:
        name = recipe.shared[name]
    return name
