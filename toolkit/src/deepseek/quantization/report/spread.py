"""Where the values of a tensor lie, and the range that its codes cover."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from deepseek_core import QParams, QuantizedModel
from deepseek_core.calibration import Calibration, TensorStats
from deepseek_core.ir.units import Q, is_q_or_dq, qparams_of

__all__ = ["Spread", "spreads_of"]

_BARS = 64


@dataclass(frozen=True, slots=True)
class Spread:
    """Histogram of a tensor with the range of its codes.

    Attributes:
        name: of the value.
        start, width: of the first bar, in real units.
        counts: values in each bar.
        low, high: smallest and largest value that the codes stand for.
        clipped: share of the values in bars beyond them.
    """

    name: str
    start: float
    width: float
    counts: tuple[int, ...]
    low: float
    high: float
    clipped: float


def spreads_of(model: QuantizedModel, calibration: Calibration, names: tuple[str, ...]) -> Iterator[Spread]:
    """Spreads of quantized values, those that calibration knows."""
    params = _parameters(model)
    for name in names:
        if name in params and name in calibration and calibration[name].count:
            yield _spread(name, calibration[name], params[name])


def _parameters(model: QuantizedModel) -> Mapping[str, QParams]:
    found = {}
    for node in model.graph.all_nodes():
        value = node.inputs[0] if node.inputs else None
        if node.op_type == Q and is_q_or_dq(node) and value is not None:
            params = qparams_of(node)
            if params is not None and params.scale.ndim == 0:
                found[value.name or ""] = params
    return found


def _spread(name: str, stats: TensorStats, params: QParams) -> Spread:
    counts, width = stats.ascending(), stats.width
    middle = len(counts) // 2
    used = np.flatnonzero(counts)
    first, last = int(used[0]), int(used[-1]) + 1
    step = max(1, -(-(last - first) // _BARS))
    padded = np.pad(counts[first:last], (0, -(last - first) % step)).reshape(-1, step).sum(axis=1)
    scale, zero = float(params.scale), float(params.zero_point)
    low, high = (params.scheme.qmin - zero) * scale, (params.scheme.qmax - zero) * scale
    edges = (np.arange(len(counts)) - middle) * width
    outside = int(counts[(edges + width < low) | (edges > high)].sum())
    start = (first - middle) * width
    return Spread(name, start, step * width, tuple(map(int, padded)), low, high, outside / stats.count)
