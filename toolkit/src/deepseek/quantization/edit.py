"""Changes of a float model's constants; names stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.ir.canonical.edit import Editor

__all__ = ["set_constant"]


def set_constant(model: ir.Model, node: ir.Node, position: int, array: NDArray[Any]) -> None:
    """Let `node` read `array` in place of the constant at an input.

    The initializer keeps its name, unless somebody else reads it too: then the node gets one of its own.
    """
    value = node.inputs[position]
    assert value is not None
    data = np.ascontiguousarray(array)
    if len(value.uses()) == 1 and not value.is_graph_output():
        value.const_value = ir.tensor(data, name=value.name)
        value.shape = ir.Shape(data.shape)
        return
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    node.replace_input_with(position, Editor(model).initializer(graph, f"{value.name}_{node.name}", data))
