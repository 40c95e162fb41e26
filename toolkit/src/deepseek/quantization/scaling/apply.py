"""Put factors into the constants of a model."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.edit import set_constant
from deepseek.quantization.scaling.sweep import Freedom, Touch
from deepseek_core import QuantizedModel
from deepseek_core.ir.query import constant

__all__ = ["rescale", "scaled"]


def rescale(model: QuantizedModel, found: Freedom, factors: NDArray[np.float64]) -> QuantizedModel:
    """A copy of the model whose tensors are multiplied by factors, with the same outputs.

    Args:
        model: the float model that `found` is about; not changed.
        found: its variables.
        factors: float64 [found.count], positive; 1 for variable 0.
    """
    result = model.clone()
    nodes = {node.name: node for node in result.graph}
    wanted: defaultdict[tuple[str, int], list[Touch]] = defaultdict(list)
    for touch in found.touches:
        if (factors[touch.ids] != 1).any():
            wanted[touch.node, touch.position].append(touch)
    for (name, position), touches in wanted.items():
        node = nodes[name]
        array = constant(node.inputs[position])
        assert array is not None
        set_constant(result.model, node, position, scaled(array, touches, factors))
    return result


def scaled(array: NDArray[np.float32], touches: list[Touch], factors: NDArray[np.float64]) -> NDArray[np.float32]:
    """A constant with its factors; the shape grows where they do."""
    result: NDArray[np.float64] = array.astype(np.float64)
    for touch in touches:
        result = result * factors[touch.ids] ** touch.power
    return result.astype(np.float32)
