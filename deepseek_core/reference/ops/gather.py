"""GatherElements: onnx.reference takes 64 elements of the axis at most (`numpy.choose`), and is wrong beyond."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deepseek_core.reference.values import Array, Value, real

__all__ = ["gather_elements"]


def gather_elements(node: ir.Node, data: Value, indices: Value) -> Value:
    """out[i][j][k] = data[i][indices[i][j][k]][k] for axis 1 (ONNX, GatherElements).

    Args:
        indices: of the data's rank, with no more of any other axis; negative ones count from the end.
    """
    picked = real(indices)
    places = list(np.indices(picked.shape, sparse=True))
    places[node.attributes.get_int("axis", 0)] = picked
    found: Array = real(data)[tuple(places)]
    return found
