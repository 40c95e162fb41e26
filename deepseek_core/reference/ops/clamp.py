"""Relu and Clip: bounds that a requantization behind them takes over."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from deepseek_core.reference.values import Accumulated, Value, real

__all__ = ["clip", "relu"]


def relu(node: ir.Node, x: Value) -> Value:
    """Relu-14: max(x, 0). Behind an integer accumulation codes are cut off at the code of 0."""
    if isinstance(x, Accumulated):
        return x.clipped(0.0, np.inf)
    values = real(x)
    return np.asarray(np.maximum(values, values.dtype.type(0)))


def clip(node: ir.Node, x: Value, low: Value = None, high: Value = None) -> Value:
    """Clip-13 (and 6, with attributes): min(max(x, low), high).

    Behind an integer accumulation codes are cut off at the codes of the bounds.
    """
    bounds = [_bound(node, "min", low), _bound(node, "max", high)]
    if isinstance(x, Accumulated):
        lower, upper = bounds
        return x.clipped(-np.inf if lower is None else float(lower), np.inf if upper is None else float(upper))
    values = real(x)
    if bounds[0] is not None:
        values = np.maximum(values, np.asarray(bounds[0]).astype(values.dtype))
    if bounds[1] is not None:
        values = np.minimum(values, np.asarray(bounds[1]).astype(values.dtype))
    return np.asarray(values)


def _bound(node: ir.Node, name: str, given: Value) -> Any:
    if given is not None:
        return real(given).reshape(())
    return node.attributes.get_float(name)
