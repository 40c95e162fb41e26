"""LRN.

onnx.reference normalises as many channels as there are samples, and only four axes.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deepseek_core.reference.values import Value, real

__all__ = ["lrn"]


def lrn(node: ir.Node, x: Value) -> Value:
    """LRN-13 of [N, C, positions…]: x / (bias + alpha / size · Σ x²)^beta over `size` channels around each."""
    data, attributes = real(x), node.attributes
    size = attributes.get_int("size", 1)
    before, after = (size - 1) // 2, size // 2
    pads = [(0, 0), (before, after), *((0, 0) for _ in data.shape[2:])]
    squares = np.pad(np.square(data), pads)
    sums = np.lib.stride_tricks.sliding_window_view(squares, size, axis=1).sum(-1)
    share = np.asarray(attributes.get_float("alpha", 1e-4) / size, data.dtype)
    base = np.asarray(attributes.get_float("bias", 1.0), data.dtype) + share * sums
    return np.asarray(data / base ** np.asarray(attributes.get_float("beta", 0.75), data.dtype))
